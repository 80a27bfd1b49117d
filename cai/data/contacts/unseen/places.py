"""Where the organisations of the second world are: other districts and roads of the same regions, other cities abroad."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cai.data.contacts.places import REGIONS as TRAINING_REGIONS
from cai.data.contacts.places import City, District, Region

_KNOWN: Final = {region.name: region for region in TRAINING_REGIONS}


def _elsewhere(region: str, *districts: str) -> Region:
    """A region, its seat and its area code as in training, with districts from lines of the form "district road road"."""
    words = [line.split() for line in districts]
    return replace(_KNOWN[region], districts=tuple(District(first, tuple(roads)) for first, *roads in words))


CAPITAL: Final = _elsewhere(
    "서울특별시",
    "성동구 왕십리로 고산자로",
    "광진구 능동로 자양로",
    "노원구 노해로 동일로",
    "강서구 공항대로 화곡로",
    "서초구 서초대로 반포대로",
    "영등포구 여의대로 당산로",
    "중랑구 망우로 봉화산로",
)

REGIONS: Final = (
    CAPITAL,
    _elsewhere("부산광역시", "기장군 기장대로 차성로", "금정구 금정로", "사상구 사상로 학감대로", "연제구 연수로 과정로"),
    _elsewhere("대구광역시", "달성군 비슬로 논공로", "군위군 군청로"),
    _elsewhere("인천광역시", "계양구 계양대로 장제로", "미추홀구 미추홀대로 소성로", "강화군 강화대로"),
    _elsewhere("대전광역시", "대덕구 한밭대로 신탄진로"),
    _elsewhere("울산광역시", "울주군 구영로 언양로"),
    _elsewhere("세종특별자치시", "부강면 부강외천로", "전의면 운주산로", "연서면 도신고복로"),
    _elsewhere(
        "경기도", "광명시 오리로", "김포시 김포대로 돌문로", "파주시 혜음로 경의로", "이천시 부악로", "안성시 안성맞춤대로"
    ),
    _elsewhere("강원특별자치도", "동해시 천곡로", "삼척시 오십천로 척주로", "홍천군 홍천로", "태백시 태백로 황지로"),
    _elsewhere("충청북도", "진천군 상산로 문진로", "음성군 무극로", "단양군 단양로"),
    _elsewhere("충청남도", "논산시 계백로 논산대로", "보령시 성주산로 대천로", "당진시 반촌로", "홍성군 충절로 조양로"),
    _elsewhere("전북특별자치도", "정읍시 정읍사로", "김제시 벽골제로", "부안군 부풍로 매창로"),
    _elsewhere("전라남도", "나주시 빛가람로 나주로", "광양시 백운로 중마중앙로", "해남군 명량로 땅끝해안로"),
    _elsewhere("경상북도", "영주시 영주로 구성로", "문경시 당교로 모전로", "상주시 경상대로"),
    _elsewhere("경상남도", "통영시 통영해안로", "사천시 사천대로", "밀양시 밀양대로 북성로", "양산시 물금로 양산역로"),
)
"""Without Gwangju and Jeju: training has the names of all their districts."""

GENERIC_ROADS: Final = (
    "고개로",
    "나루로",
    "들꽃로",
    "미래로",
    "벚꽃로",
    "솔밭로",
    "시냇물로",
    "아침로",
    "장터로",
    "하늘로",
    "향나무로",
    "호수로",
)

_NUMBER_FIRST: Final = "{number} {street}, {city}"
_NUMBER_LAST: Final = "{street} {number}, {city}"

CITIES: Final = (
    City("뮌헨", "DE", "독일", "+49-89-99998-###", _NUMBER_LAST, ("Birkenweg", "Rosenweg", "Waldstrasse")),
    City("리옹", "FR", "프랑스", "+33-4-6571-####", _NUMBER_FIRST, ("rue des Lilas", "rue Verte")),
    City("에든버러", "GB", "영국", "+44-131-496-0###", _NUMBER_FIRST, ("Birch Lane", "Castle Lane")),
    City("맨체스터", "GB", "영국", "+44-161-496-0###", _NUMBER_FIRST, ("Mill Lane", "Garden Lane")),
    City("보스턴", "US", "미국", "+1-617-555-01##", _NUMBER_FIRST, ("Cedar Avenue", "Harbor Avenue")),
    City("밴쿠버", "CA", "캐나다", "+1-604-555-01##", _NUMBER_FIRST, ("Pine Avenue", "Bay Avenue")),
    City("멜버른", "AU", "호주", "+61-3-5550-####", _NUMBER_FIRST, ("Wattle Lane", "Beach Lane")),
    City("말뫼", "SE", "스웨덴", "+46-40-628-04-##", _NUMBER_LAST, ("Storgatan", "Rosengatan")),
    City("나고야", "JP", "일본", "+81-52-N##-####", _NUMBER_LAST, ("모미지길", "유리길")),
    City("빈", "AT", "오스트리아", "+43-1-5N#-####", _NUMBER_LAST, ("Tulpengasse", "Wiesengasse")),
    City("브뤼셀", "BE", "벨기에", "+32-2-5N#-##-##", _NUMBER_LAST, ("rue du Parc", "rue des Roses")),
    City("코펜하겐", "DK", "덴마크", "+45-33-N#-##-##", _NUMBER_LAST, ("Rosenvej", "Skovvej")),
    City("헬싱키", "FI", "핀란드", "+358-9-4N#-####", _NUMBER_LAST, ("Puistotie", "Rantatie")),
    City("리스본", "PT", "포르투갈", "+351-21-3N#-####", _NUMBER_LAST, ("Rua das Flores", "Rua do Jardim")),
    City("프라하", "CZ", "체코", "+420-2-2N##-####", _NUMBER_LAST, ("Zahradni", "Lesni")),
    City("부다페스트", "HU", "헝가리", "+36-1-3N#-####", _NUMBER_LAST, ("Tulipan utca", "Park utca")),
    City("아테네", "GR", "그리스", "+30-21-0N##-####", _NUMBER_LAST, ("Odos Anemon", "Odos Rodon")),
    City("뉴델리", "IN", "인도", "+91-11-2N##-####", _NUMBER_FIRST, ("Lotus Marg", "Neem Marg")),
    City("산티아고", "CL", "칠레", "+56-2-2N##-####", _NUMBER_LAST, ("Calle Los Pinos", "Calle Las Rosas")),
    City("오슬로", "NO", "노르웨이", "+47-22-N#-##-##", _NUMBER_LAST, ("Bjerkeveien", "Fjordveien")),
)
