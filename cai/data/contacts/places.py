"""Where the fictional organisations of the training data are: Korean regions and cities abroad.

Regions, districts and area codes are real, so that "region and area code agree" means something. In a number pattern
``#`` stands for any digit and ``N`` for 2 to 8. Where a country keeps numbers free for fiction, the pattern uses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class District:
    """A district and the roads that run through it."""

    name: str
    roads: tuple[str, ...]


@dataclass(frozen=True)
class Region:
    """A Korean province or metropolitan city; ``number`` is the pattern of its fixed lines, ``hall`` its seat."""

    name: str
    hall: str
    number: str
    districts: tuple[District, ...]


@dataclass(frozen=True)
class City:
    """A city abroad. ``country`` is the ISO 3166 code, ``country_name`` its name in Korean."""

    name: str
    country: str
    country_name: str
    number: str
    address: str
    streets: tuple[str, ...]


def _region(name: str, hall: str, number: str, *districts: str) -> Region:
    """A region from lines of the form ``"district road road"``."""
    words = [line.split() for line in districts]
    return Region(name, hall, number, tuple(District(first, tuple(roads)) for first, *roads in words))


CAPITAL: Final = _region(
    "서울특별시",
    "서울시청",
    "02-N###-####",
    "종로구 율곡로 사직로",
    "마포구 월드컵로 마포대로",
    "강남구 테헤란로 봉은사로",
    "송파구 올림픽로 가락로",
    "은평구 연서로 통일로",
    "관악구 관악로 신림로",
)

REGIONS: Final = (
    CAPITAL,
    _region(
        "부산광역시",
        "부산시청",
        "051-N##-####",
        "해운대구 해운대로 좌동로",
        "동래구 충렬대로 명륜로",
        "사하구 낙동대로 다대로",
        "수영구 수영로 광안로",
    ),
    _region(
        "대구광역시",
        "대구시청",
        "053-N##-####",
        "수성구 달구벌대로 동대구로",
        "달서구 월배로 상화로",
        "북구 침산로 대현로",
    ),
    _region(
        "인천광역시",
        "인천시청",
        "032-N##-####",
        "연수구 청능대로 해돋이로",
        "부평구 부평대로 경원대로",
        "남동구 예술로 인주대로",
    ),
    _region("광주광역시", "광주시청", "062-N##-####", "서구 상무대로 죽봉대로", "북구 용봉로 우치로", "광산구 어등대로"),
    _region("대전광역시", "대전시청", "042-N##-####", "유성구 유성대로 대학로", "서구 둔산로 계룡로", "중구 보문로"),
    _region("울산광역시", "울산시청", "052-N##-####", "남구 삼산로 돋질로", "중구 번영로 종가로", "동구 봉수로"),
    _region("세종특별자치시", "세종시청", "044-N##-####", "조치원읍 새내로", "금남면 용포로", "장군면 장기로"),
    _region(
        "경기도",
        "경기도청",
        "031-N##-####",
        "하남시 미사대로 신평로",
        "구리시 경춘로 아차산로",
        "오산시 경기대로 성호대로",
        "의정부시 평화로 호국로",
        "양평군 양근로",
    ),
    _region(
        "강원특별자치도",
        "강원도청",
        "033-N##-####",
        "춘천시 영서로 중앙로",
        "강릉시 강릉대로 경강로",
        "원주시 원일로 서원대로",
        "속초시 동해대로",
    ),
    _region("충청북도", "충북도청", "043-N##-####", "충주시 중원대로 국원대로", "제천시 의림대로", "옥천군 중앙로"),
    _region("충청남도", "충남도청", "041-N##-####", "공주시 봉황로 무령로", "아산시 시민로 온천대로", "서산시 고운로"),
    _region("전북특별자치도", "전북도청", "063-N##-####", "군산시 해망로", "익산시 무왕로 인북로", "남원시 충정로"),
    _region("전라남도", "전남도청", "061-N##-####", "여수시 좌수영로", "순천시 장명로 팔마로", "목포시 양을로 영산로"),
    _region("경상북도", "경북도청", "054-N##-####", "경주시 태종로", "안동시 퇴계로 경동로", "구미시 송정대로"),
    _region("경상남도", "경남도청", "055-N##-####", "진주시 진주대로 동진로", "김해시 김해대로", "거제시 계룡로"),
    _region("제주특별자치도", "제주도청", "064-N##-####", "제주시 연삼로 노형로", "서귀포시 일주동로 중앙로"),
)

GENERIC_ROADS: Final = (
    "강변로",
    "공원로",
    "단풍로",
    "무지개로",
    "문화로",
    "바다로",
    "새벽로",
    "언덕로",
    "은행나무로",
    "평화로",
    "햇살로",
    "희망로",
)

_NUMBER_FIRST: Final = "{number} {street}, {city}"
_NUMBER_LAST: Final = "{street} {number}, {city}"

CITIES: Final = (
    City("베를린", "DE", "독일", "+49-30-23125-###", _NUMBER_LAST, ("Ahornweg", "Lindenweg", "Seeweg")),
    City("파리", "FR", "프랑스", "+33-1-9900-####", _NUMBER_FIRST, ("rue du Pont", "rue du Lac")),
    City("런던", "GB", "영국", "+44-20-7946-0###", _NUMBER_FIRST, ("Maple Road", "River Road", "Hill Road")),
    City("뉴욕", "US", "미국", "+1-212-555-01##", _NUMBER_FIRST, ("Maple Street", "River Street")),
    City("시카고", "US", "미국", "+1-312-555-01##", _NUMBER_FIRST, ("Hill Street", "Lake Street")),
    City("토론토", "CA", "캐나다", "+1-416-555-01##", _NUMBER_FIRST, ("Lake Road", "Maple Street")),
    City("시드니", "AU", "호주", "+61-2-5550-####", _NUMBER_FIRST, ("Hill Road", "Park Road")),
    City("스톡홀름", "SE", "스웨덴", "+46-8-465-004-##", _NUMBER_LAST, ("Parkgatan", "Skogsgatan")),
    City("도쿄", "JP", "일본", "+81-3-N###-####", _NUMBER_LAST, ("미도리길", "가와길")),
    City("오사카", "JP", "일본", "+81-6-6N##-####", _NUMBER_LAST, ("사쿠라길", "미나토길")),
    City("베이징", "CN", "중국", "+86-10-8N##-####", _NUMBER_LAST, ("허핑로", "베이후로")),
    City("하노이", "VN", "베트남", "+84-24-3N##-####", _NUMBER_FIRST, ("Hoa Sen", "Song Xanh")),
    City("방콕", "TH", "태국", "+66-2-N##-####", _NUMBER_FIRST, ("Mali Road", "Park Road")),
    City("마닐라", "PH", "필리핀", "+63-2-8N##-####", _NUMBER_FIRST, ("Palm Street", "Park Street")),
    City("자카르타", "ID", "인도네시아", "+62-21-5N##-####", _NUMBER_LAST, ("Jalan Melati", "Jalan Danau")),
    City("로마", "IT", "이탈리아", "+39-06-4N##-####", _NUMBER_LAST, ("Via del Lago", "Via Verde")),
    City("마드리드", "ES", "스페인", "+34-91-N##-####", _NUMBER_LAST, ("Calle del Lago", "Calle Verde")),
    City("상파울루", "BR", "브라질", "+55-11-3N##-####", _NUMBER_LAST, ("Rua do Lago", "Rua Verde")),
    City("바르샤바", "PL", "폴란드", "+48-22-N##-####", _NUMBER_LAST, ("Lipowa", "Parkowa")),
    City("앙카라", "TR", "튀르키예", "+90-312-4N#-####", _NUMBER_LAST, ("Park Sokak", "Lale Sokak")),
    City("카이로", "EG", "이집트", "+20-2-2N##-####", _NUMBER_FIRST, ("Lotus Street", "Park Street")),
    City("베른", "CH", "스위스", "+41-31-3N#-####", _NUMBER_LAST, ("Seeweg", "Lindenweg")),
)
