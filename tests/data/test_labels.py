"""Contact labels: what is one, and above all what is none."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.data.labels import standardise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("전화: 02-2112-1234", "TEL: 02-2112-1234"),
        ("전화 : 064-710-2114", "TEL: 064-710-2114"),
        ("전화：031-120", "TEL: 031-120"),
        ("전화 02-123-4567", "TEL: 02-123-4567"),
        ("전화 (02) 123-4567", "TEL: (02) 123-4567"),
        ("전화 031)228-3456", "TEL: 031)228-3456"),
        ("전화 0221121234", "TEL: 0221121234"),
        ("Tel: 02-730-5800", "TEL: 02-730-5800"),
        ("Tel. 02-730-5800", "TEL: 02-730-5800"),
        ("TEL 1588-1234", "TEL: 1588-1234"),
        ("tel: 02-730-5800", "TEL: 02-730-5800"),
        ("Tel +82-2-2112-1234", "TEL: +82-2-2112-1234"),
        ("☎02-123-4567", "TEL: 02-123-4567"),
        ("☎️ 02-123-4567", "TEL: 02-123-4567"),
        ("☎ 119", "TEL: 119"),
        ("문의 ☎ 1577-1366", "문의 TEL: 1577-1366"),
        ("📞 010-1234-5678", "TEL: 010-1234-5678"),
        ("📞 전화: 02-123-4567", "📞 TEL: 02-123-4567"),
        ("주소: 서울특별시 중구 세종대로 110", "ADDR: 서울특별시 중구 세종대로 110"),
        ("주소 제주특별자치도 제주시 문연로 6", "ADDR: 제주특별자치도 제주시 문연로 6"),
        ("- 주소 경기 수원시 팔달구", "- ADDR: 경기 수원시 팔달구"),
        ("Address: 110 Sejong-daero", "ADDR: 110 Sejong-daero"),
        ("Addr: 부산광역시 연제구", "ADDR: 부산광역시 연제구"),
        ("address: 대전 서구 둔산로 100", "ADDR: 대전 서구 둔산로 100"),
        ("홈페이지: https://www.seoul.go.kr", "WEB: https://www.seoul.go.kr"),
        ("홈페이지 www.jeju.go.kr", "WEB: www.jeju.go.kr"),
        ("웹사이트: 준비 중", "WEB: 준비 중"),
        ("Web http://lib.go.kr", "WEB: http://lib.go.kr"),
        ("Homepage: www.x.kr", "WEB: www.x.kr"),
        ("이메일: help@seoul.go.kr", "EMAIL: help@seoul.go.kr"),
        ("이메일 help@seoul.go.kr", "EMAIL: help@seoul.go.kr"),
        ("E-mail : a.b@c.or.kr", "EMAIL: a.b@c.or.kr"),
        ("email: a.b@c.or.kr", "EMAIL: a.b@c.or.kr"),
        ("카카오톡: 제주관광", "KAKAO: 제주관광"),
        ("카카오: jeju", "KAKAO: jeju"),
        ("카톡:jeju", "KAKAO: jeju"),
        ("• 전화: 02-1", "• TEL: 02-1"),
        ("**전화:** 02-1", "**TEL:** 02-1"),
        ("1. 전화: 02-1", "1. TEL: 02-1"),
        ("-전화: 02-1", "-TEL: 02-1"),
        ("  전화:\t02-1", "  TEL:\t02-1"),
        ("시청\t전화: 02-1\t주소: 서울", "시청\tTEL: 02-1\tADDR: 서울"),
        ("시청 (전화: 02-120)", "시청 (TEL: 02-120)"),
        ("홍길동  전화: 02-1", "홍길동  TEL: 02-1"),
        ("| 전화: 02-1 | 이메일: a@b.kr |", "| TEL: 02-1 | EMAIL: a@b.kr |"),
        ("전화: 02-1, 주소: 서울; 홈페이지: x", "TEL: 02-1, ADDR: 서울; WEB: x"),
        ("전화: 02-123-4567/이메일: a@b.kr", "TEL: 02-123-4567/EMAIL: a@b.kr"),
        ("전화: 02-123-4567/E-mail: a@b.kr", "TEL: 02-123-4567/EMAIL: a@b.kr"),
        ("전화: 02-1 · 카톡: 서울", "TEL: 02-1 · KAKAO: 서울"),
        ("한라도서관\n전화: 064-710-8666\n주소: 제주시\n", "한라도서관\nTEL: 064-710-8666\nADDR: 제주시\n"),
        ("전화:\n주소:\n", "TEL:\nADDR:\n"),
        ("전화\u00a0: 02-1,\u3000주소: 서울", "TEL: 02-1,\u3000ADDR: 서울"),
    ],
)
def test_a_label_gets_its_one_spelling(text: str, expected: str) -> None:
    assert standardise(text) == expected
    assert standardise(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "전화번호: 02-123-4567",
        "주소록: 10명",
        "홈페이지주소: x",
        "이메일주소: a@b.kr",
        "https://web.x",
        "https://web: 8080",
        "hotel@x",
        "hotel: 02-123-4567",
        "web.example.com",
        "email@x.kr",
        "telephone",
        "Telephone 02-123-4567",
        "전화를 걸었다",
        "주소를 옮기다",
        "주소 이전 신고는 14일 안에 합니다.",
        "전화 5대를 샀다",
        "전화 2024-01-05에 받음",
        "전화 10-20분",
        "☎",
        "대표전화: 02-123-4567",
        "대표 전화: 02-123-4567",
        "그가 전화: 하고 말했다",
        "홈페이지 주소 알려 줘",
        "홈페이지 개편 안내",
        "Web 2.0: 무엇이 다른가",
        "Web::Client",
        "web://x",
        "카카오 주가: 5만 원",
        "카카오 농장",
        "이메일 보내기",
        "[전화](tel:02-123-4567)",
        "(02)123-4567 전화",
        "home-web: https://x.kr",
        "x.kr/Web: 1",
        "def send(email: str, web: bool, address: Address) -> None:",
        "services:\n  web:\n    image: nginx",
        '{"tel": "02-123-4567", "email": "a@b.kr"}',
        "전화\n02-123-4567",
        "주소\n: 서울",
        "",
    ],
)
def test_what_only_looks_like_a_label_stays(text: str) -> None:
    assert standardise(text) == text


def test_a_text_without_labels_is_the_same_object() -> None:
    text = "전화번호부를 펴고 주소를 옮겨 적었다."
    assert standardise(text) is text


WORDS = [
    "전화",
    "주소",
    "홈페이지",
    "이메일",
    "카톡",
    "카카오톡",
    "☎",
    "📞",
    "Tel",
    "TEL.",
    "E-mail",
    "Web",
    "address",
    "tel",
]
VALUES = ["02-123-4567", "(02)", "010 1234 5678", "서울 중구", "www.x.kr", "a@b.kr", "119", "https://", "+82 2 2112 1234"]
SIGNS = [" ", "  ", "\t", "\n", "\u00a0", "\u2028", "\r", "-", "/", ":", "：", "::", ",", "(", ")", "•", "·", "|", ".", "가"]
pieces = st.lists(
    st.one_of(st.sampled_from([*WORDS, *VALUES, *SIGNS, "](", "번호"]), st.characters(exclude_categories=["Cs"])),
    max_size=14,
)


@given(pieces.map("".join))
def test_twice_is_once_and_no_line_is_touched_by_another(text: str) -> None:
    once = standardise(text)
    assert standardise(once) == once
    assert "\n".join(map(standardise, text.split("\n"))) == once


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_ordinary_text_without_a_label_word_is_left_alone(text: str) -> None:
    lowered = text.lower()
    if not any(word.lower().rstrip(".") in lowered for word in [*WORDS, "addr", "home", "카카오", "웹사이트", "email", "☏"]):
        assert standardise(text) == text


@pytest.mark.parametrize(
    "unit",
    [
        " ",
        "\u00a0",
        "전화",
        "전화 ",
        "전화:",
        "전화 0",
        "전화 02-",
        "전화 +1",
        "tel.",
        "/web:",
        "- ",
        "☎ ",
        "주소 서울 ",
        "주소 서울 중",
        "이메일 a",
        "E-",
        "홈페이지 a.",
        "홈페이지 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.",
    ],
)
@pytest.mark.parametrize("first", ["", "전화", "홈페이지 ", "이메일 ", "주소 서울"])
def test_time_grows_with_the_length_of_a_hostile_line_alone(unit: str, first: str) -> None:
    def seconds(length: int) -> float:
        line = first + unit * (length // len(unit))
        times = []
        for _ in range(5):
            start = time.process_time()
            standardise(line)
            times.append(time.process_time() - start)
        return min(times)

    # 8 times the text: 8 if linear, 64 if quadratic. The constant covers what is too quick to measure.
    assert seconds(100_000) < 24 * seconds(12_500) + 0.002
