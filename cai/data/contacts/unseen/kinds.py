"""The kinds of organisation that no training example is about, and the syllables of their names."""

from __future__ import annotations

from typing import Final

from cai.data.contacts.kinds import Kind, NamePart


def _parts(lines: str) -> tuple[NamePart, ...]:
    """Name parts from pairs of words, Hangul first."""
    words = lines.split()
    return tuple(NamePart(*pair) for pair in zip(words[::2], words[1::2], strict=True))


NAME_HEADS: Final = _parts("""
    구름 gureum 느루 neuru 다래 darae 들찬 deulchan 마음 maeum 먼동 meondong 미리 miri 바다 bada 벼리 byeori
    버들 beodeul 서리 seori 소라 sora 솔잎 sollip 수련 suryeon 아침 achim 어진 eojin 연두 yeondu 오름 oreum
    온유 onyu 이든 ideun 자람 jaram 잔디 jandi 조약 joyak 진솔 jinsol 차돌 chadol 타래 tarae 푸름 pureum
    호수 hosu 나무 namu 고운 goun 그루 geuru 새벽 saebyeok 단비 danbi 겨울 gyeoul 미소 miso 다정 dajeong
""")
"""Two syllables each, and one for each tail, as in training: so a stem is read in one way only."""

NAME_TAILS: Final = _parts("""
    눈 nun 달 dal 해 hae 잎 ip 논 non 곶 got 늪 neup 봉 bong 숨 sum 빈 bin 율 yul 찬 chan 온 on 움 um
    새 sae 물 mul 뜰 tteul 녘 nyeok 품 pum 채 chae 연 yeon 누 nu
""")

NATIONAL_PREFIXES: Final = ("1522", "1533", "1660", "1666", "1668", "1833", "1855", "1877")

WEB_PATTERNS: Final = ("http://{domain}", "https://m.{domain}", "https://{domain}/main")
DOMAIN_PATTERNS: Final = ("{stem}{kind}.test", "{kind}-{stem}.invalid", "{stem}.{kind}.example.org")
"""Ends that the rules of the Internet (RFC 2606) keep free for tests and examples."""

MAILBOXES: Final = ("admin", "service", "desk", "mail", "support", "webmaster", "reply")

_OFFICE: Final = ("월~금 08:30~17:30", "평일 오전 9시~오후 6시", "주중 9시~18시", "평일 8~17시")
_SHOP: Final = ("매일 10~22시", "월~토 9시~19시", "평일 10~21시", "매일 오전 9시~오후 8시")
_HALL: Final = ("화~일 9~17시", "매일 9시~18시", "수~월 10~18시", "화~일 오전 10시~오후 7시")
_ALWAYS: Final = ("365일 24시간", "하루 24시간")

KINDS: Final = (
    Kind(
        "{city} 한국문화원 {stem}분원",
        "kcenter",
        "abroad",
        _HALL,
        ("행사팀", "강좌팀"),
        ("한국어 강좌", "한국 영화 상영", "전통 공연"),
    ),
    Kind(
        "주한 {country}대사관저 {stem}사무실",
        "residence",
        "capital",
        _OFFICE,
        ("의전팀", "관리실"),
        ("행사 초청", "방문 신청", "정원 개방"),
    ),
    Kind(
        "{stem}한의원",
        "clinic",
        "region",
        _SHOP,
        ("접수실", "진료실", "약제실"),
        ("침 치료", "한방 진료", "추나 치료"),
    ),
    Kind("{stem}약국", "pharm", "region", _SHOP, ("조제실", "복약실"), ("처방 조제", "복약 상담", "의료기기 판매")),
    Kind(
        "{stem}미술관",
        "gallery",
        "region",
        _HALL,
        ("학예실", "매표소", "수집팀"),
        ("작품 관람", "미술 강좌", "해설 예약"),
    ),
    Kind(
        "{stem}수목원",
        "arbor",
        "region",
        _HALL,
        ("식물팀", "매표소", "숲해설팀"),
        ("숲 해설", "식물 분양", "생태 체험"),
    ),
    Kind(
        "{stem}체육관",
        "gym",
        "region",
        _SHOP,
        ("회원실", "시설팀", "강습팀"),
        ("수영 강습", "헬스 등록", "구장 예약"),
    ),
    Kind(
        "{stem}고등학교",
        "school",
        "region",
        _OFFICE,
        ("교무실", "행정실", "진로상담실"),
        ("전학 상담", "성적 증명", "교복 안내"),
    ),
    Kind(
        "{stem}등기소",
        "registry",
        "region",
        _OFFICE,
        ("등기과", "열람실", "접수 창구"),
        ("등기 신청", "인감 발급", "법인 등기"),
    ),
    Kind(
        "{district} {stem}복지관",
        "welfare",
        "region",
        _OFFICE,
        ("복지사업실", "상담실", "후원팀"),
        ("노인 돌봄", "무료 급식", "장애인 지원"),
    ),
    Kind(
        "{stem}연구원",
        "institute",
        "region",
        _OFFICE,
        ("연구지원실", "대외협력실", "기획조정실"),
        ("기술 자문", "시험 분석", "공동 연구"),
    ),
    Kind("{stem}호텔", "hotel", "region", _ALWAYS, ("프런트", "객실부", "연회부"), ("객실 예약", "연회 예약", "짐 보관")),
    Kind(
        "{stem}도시공사",
        "utility",
        "region",
        _OFFICE,
        ("사업처", "경영지원처", "고객지원처"),
        ("임대 상담", "주차장 관리", "분양 안내"),
        national=True,
    ),
    Kind(
        "{stem}은행",
        "bank",
        "region",
        _OFFICE,
        ("수신 창구", "대출 창구", "외환 창구"),
        ("계좌 개설", "대출 상담", "환전"),
        national=True,
    ),
    Kind(
        "{stem}물류",
        "cargo",
        "region",
        _ALWAYS,
        ("배차팀", "창고팀", "운송팀"),
        ("화물 운송", "창고 보관", "배송 조회"),
        national=True,
    ),
)
