"""What kinds of organisation the training data knows, and the syllables their fictional names are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Kind:
    """A kind of organisation.

    ``name`` is a pattern over ``{stem}``, ``{hall}``, ``{district}``, ``{city}`` and ``{country}``; every kind ends in
    another suffix, so two kinds never share a name. ``slug`` becomes part of the web address. ``place`` says where it
    may be: anywhere in Korea, in the capital only, or abroad. ``national`` kinds may have a number without area code.
    """

    name: str
    slug: str
    place: Literal["region", "capital", "abroad"]
    hours: tuple[str, ...]
    departments: tuple[str, ...]
    services: tuple[str, ...]
    national: bool = False


@dataclass(frozen=True)
class NamePart:
    """A piece of a made-up name, in Hangul and in Latin letters."""

    hangul: str
    latin: str


def _parts(lines: str) -> tuple[NamePart, ...]:
    """Name parts from pairs of words, Hangul first."""
    words = lines.split()
    return tuple(NamePart(*pair) for pair in zip(words[::2], words[1::2], strict=True))


NAME_HEADS: Final = _parts("""
    가온 gaon 나래 narae 다온 daon 라온 raon 마루 maru 미르 mir 바른 bareun 보람 boram 새론 saeron 소담 sodam
    아라 ara 아람 aram 여울 yeoul 예솔 yesol 온새 onsae 우람 uram 이룸 irum 지음 jium 초롱 chorong 토담 todam
    파랑 parang 하람 haram 해담 haedam 한누 hannu 꽃담 kotdam 너울 neoul 노을 noeul 달빛 dalbit 도담 dodam 두루 duru
    모아 moa 물결 mulgyeol 별하 byeolha 빛가 bitga 산들 sandeul 슬기 seulgi 윤슬 yunseul 은가 eunga 잎새 ipsae
    찬별 chanbyeol 포근 pogeun 하늬 hani 햇귀 haetgwi 흰샘 hinsaem 다솜 dasom 새온 saeon 무늬 muni 가람 garam
""")
"""Each has two syllables and each tail one: so a stem is read in one way only, and all stems differ."""

NAME_TAILS: Final = _parts("""
    솔 sol 별 byeol 빛 bit 샘 saem 들 deul 뫼 moe 숲 sup 결 gyeol 봄 bom 터 teo 내 nae 울 ul 길 gil 섬 seom
    강 gang 꽃 kot 벌 beol 담 dam 골 gol 재 jae 돌 dol 밭 bat 못 mot 실 sil
""")

NATIONAL_PREFIXES: Final = (
    "1544",
    "1566",
    "1577",
    "1588",
    "1599",
    "1600",
    "1644",
    "1661",
    "1670",
    "1688",
    "1800",
    "1899",
)

WEB_PATTERNS: Final = ("https://www.{domain}", "https://{domain}", "https://{domain}/ko")
DOMAIN_PATTERNS: Final = ("{stem}-{kind}.example", "{kind}.{stem}.example")
MAILBOXES: Final = ("info", "help", "ask", "hello", "office", "contact")

_OFFICE: Final = ("평일 9~18시", "평일 9시~17시", "평일 09:00~18:00", "월~금 9~18시")
_LONG: Final = ("평일 9~20시", "매일 10~19시", "화~일 10~18시", "매일 9시~21시")
_ALWAYS: Final = ("24시간", "연중무휴 24시간")
_CLINIC: Final = ("평일 9~18시", "평일 9시~19시", "월~토 9~13시", "매일 8~20시", "화~토 10~18시")
_DESKS: Final = ("민원실", "안내실", "총무과", "기획과")
_BUSINESS: Final = ("고객센터", "홍보팀", "영업팀", "총무팀")

KINDS: Final = (
    Kind(
        "주{country} 한국대사관 {stem}분관",
        "embassy",
        "abroad",
        _OFFICE,
        ("영사과", "민원실", "정무과"),
        ("여권 발급", "비자 상담", "공증", "국민 보호"),
    ),
    Kind(
        "주{city} 한국영사관 {stem}출장소",
        "consulate",
        "abroad",
        _OFFICE,
        ("영사과", "민원실"),
        ("여권 발급", "비자 상담", "공증", "국민 보호"),
    ),
    Kind(
        "주한 {country}대사관 {stem}별실",
        "mission",
        "capital",
        _OFFICE,
        ("영사과", "비자과", "문화과"),
        ("비자 상담", "비자 발급", "유학 상담", "문화 교류"),
    ),
    Kind(
        "{stem}병원",
        "hospital",
        "region",
        _CLINIC,
        ("원무과", "진료과", "검진센터"),
        ("건강 검진", "내과 진료", "응급 진료"),
        national=True,
    ),
    Kind("{stem}치과", "dental", "region", _CLINIC, ("원무과", "예약실"), ("치과 진료", "교정 상담", "구강 검진")),
    Kind(
        "{stem}보건소",
        "health",
        "region",
        _OFFICE,
        ("민원실", "예방과", "검진센터"),
        ("예방 접종", "건강 검진", "금연 상담"),
    ),
    Kind(
        "{stem}경찰서",
        "police",
        "region",
        _ALWAYS,
        ("민원실", "교통과", "수사과"),
        ("사고 신고", "교통 민원", "분실물 접수"),
    ),
    Kind("{stem}지구대", "patrol", "region", _ALWAYS, ("순찰팀", "민원실"), ("사고 신고", "분실물 접수", "길 안내")),
    Kind(
        "{stem}소방서",
        "fire",
        "region",
        _ALWAYS,
        ("예방과", "구조과", "민원실"),
        ("화재 예방", "안전 교육", "구조 상담"),
    ),
    Kind("{hall} {stem}별관", "hall", "region", _OFFICE, _DESKS, ("민원 접수", "주택 상담", "교통 민원", "환경 민원")),
    Kind("{district} {stem}민원센터", "office", "region", _OFFICE, _DESKS, ("민원 접수", "증명서 발급", "세금 상담")),
    Kind(
        "{stem}동 주민센터",
        "dong",
        "region",
        _OFFICE,
        ("민원실", "복지팀", "총무팀"),
        ("전입 신고", "증명서 발급", "복지 상담"),
    ),
    Kind(
        "{stem}세무서",
        "tax",
        "region",
        _OFFICE,
        ("민원실", "소득과", "조사과"),
        ("세금 상담", "사업자 등록", "증명서 발급"),
    ),
    Kind(
        "{stem}도서관",
        "library",
        "region",
        _LONG,
        ("안내실", "자료실", "총무과"),
        ("도서 대출", "독서 교육", "자료 열람"),
    ),
    Kind(
        "{stem}문화센터",
        "culture",
        "region",
        _LONG,
        ("안내실", "교육팀", "운영팀"),
        ("강좌 접수", "공연 예매", "시설 대여"),
    ),
    Kind(
        "{stem}박물관",
        "museum",
        "region",
        _LONG,
        ("안내실", "교육팀", "전시팀"),
        ("전시 관람", "단체 예약", "문화 교육"),
    ),
    Kind(
        "{stem}우체국",
        "post",
        "region",
        _OFFICE,
        ("우편팀", "금융팀", "민원실"),
        ("우편 접수", "택배 접수", "예금 상담"),
    ),
    Kind(
        "{stem}대학교",
        "univ",
        "region",
        _OFFICE,
        ("입학과", "학사과", "총무과"),
        ("입학 상담", "증명서 발급", "장학 상담"),
    ),
    Kind(
        "{stem}과학대학",
        "college",
        "region",
        _OFFICE,
        ("입학과", "학사과", "교육팀"),
        ("입학 상담", "실습 교육", "장학 상담"),
    ),
    Kind("{stem}전자", "tech", "region", _OFFICE, _BUSINESS, ("제품 수리", "제품 상담", "부품 판매"), national=True),
    Kind("{stem}식품", "food", "region", _OFFICE, _BUSINESS, ("제품 상담", "단체 주문", "식품 판매"), national=True),
    Kind("{stem}여행사", "travel", "region", _LONG, _BUSINESS, ("여행 상담", "단체 예약", "비자 상담"), national=True),
)
