"""Telephone numbers: which are found, which are valid, how they are written."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.data import telephones
from cai.errors import ConfigError


@pytest.mark.parametrize(
    "number",
    [
        "02-2112-1234",
        "02-730-5800",
        "(02) 730-5800",
        "(02)730-5800",
        "02)730-5800",
        "02 730 5800",
        "02.730.5800",
        "0221121234",
        "02-21121234",
        "031-228-3456",
        "064-710-2114",
        "010-1234-5678",
        "01012345678",
        "070-4123-5678",
        "080-123-4567",
        "0502-123-4567",
        "0505-123-4567",
        "1588-1234",
        "1577-1577",
        "+82-2-2112-1234",
        "+82 10-1234-5678",
        "+82 (0)2 2112 1234",
        "+1 415-555-2671",
        "+1 (415) 555-2671",
        "+32-2-379-21-11",
        "+81 3-3201-3331",
    ],
)
def test_a_valid_number_is_found(number: str) -> None:
    for text in (number, f"전화: {number}", f"문의는 {number}로", f"전화 {number}, 팩스 없음", f"{number}\n{number}"):
        valid, invalid = telephones.check(text)
        assert set(valid) == {number}
        assert not invalid


@pytest.mark.parametrize(
    "number",
    [
        "010-1234-567",
        "010-123-4567",
        "010-1234-56789",
        "011-234-5678",
        "016-234-5678",
        "019-9234-5678",
        "031-012-7641",
        "02-012-3456",
        "039-123-4567",
        "+82-2-12-3456",
        "+999-123-456-789",
    ],
)
def test_what_is_meant_as_a_number_but_reaches_no_one_is_invalid(number: str) -> None:
    assert telephones.check(f"전화: {number}") == ([], [number])
    assert telephones.format(f"전화: {number}") == f"전화: {number}"


@pytest.mark.parametrize("number", ["119", "112", "110", "120", "1345", "1330"])
def test_a_short_number_counts_after_a_label_or_alone(number: str) -> None:
    for text in (number, f"TEL: {number}", f"TEL:{number}", f"Tel. {number}", f"☎{number}", f"📞 {number}로"):
        assert telephones.check(text) == ([number], [])
        assert telephones.format(text) == text
    for text in (f"{number}명이 왔다", f"모두 {number}", f"{number}.5", f"TEL: {number}-1", f"전화 {number}통"):
        assert telephones.check(text) == ([], [])


def test_a_short_number_that_does_not_exist_is_invalid() -> None:
    assert telephones.check("TEL: 199") == ([], ["199"])


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-05",
        "2024.01.05",
        "2024/01/05 10:30",
        "05-01-2024",
        "20240105",
        "010105",
        "1,588,000원",
        "15,881,234원",
        "0.02 1234",
        "3.02-123-4567",
        "우편번호 06236",
        "(135-080)",
        "사업자등록번호 123-45-67890",
        "주민등록번호 010101-3234567",
        "농협 302-1234-5678-91",
        "국민 012345-67-890123",
        "신한 110-123-456789",
        "우리 1002-123-456789",
        "카카오뱅크 3333-01-1234567",
        "기업 010-123456-01-012",
        "하나 123-456789-01234",
        "1592-1598",
        "박팽년(1417-1456), 나혜석(1899-1948)",
        "1577-1588",
        "1588.1234",
        "ISBN 978-89-364-3426-7",
        "https://x.kr/01012345678",
        "https://x.kr/?tel=0212345678&n=1",
        "a02-123-4567",
        "02-123-4567x",
        "img_0212345678.png",
        "01012345678@x.kr",
        "192.168.010.123",
        "02-12-34",
        "3+1234567",
        "+5도",
        "02\n123\n4567",
    ],
)
def test_other_figures_are_no_telephone_numbers(text: str) -> None:
    assert telephones.check(text) == ([], [])
    assert telephones.format(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0221121234", "02-2112-1234"),
        ("02)2112-1234", "02-2112-1234"),
        ("(02) 2112-1234", "02-2112-1234"),
        ("전화(02)2112-1234", "전화 02-2112-1234"),
        ("전화: (02)2112-1234", "전화: 02-2112-1234"),
        ("(02-2112-1234)", "(02-2112-1234)"),
        ("(0221121234)", "(02-2112-1234)"),
        ("02.2112.1234", "02-2112-1234"),
        ("010 1234 5678", "010-1234-5678"),
        ("01012345678로 문의", "010-1234-5678로 문의"),
        ("031-2283456", "031-228-3456"),
        ("15881234", "15881234"),
        ("1588-1234", "1588-1234"),
        ("0502-123-4567", "0502-123-4567"),
        ("+82-502-123-4567", "+82-502-123-4567"),
        ("+82-2-2112-1234", "02-2112-1234"),
        ("+82 10 1234 5678 2024년", "010-1234-5678 2024년"),
        ("+14155552671", "+1 415-555-2671"),
        ("+32-2-379-21-11", "+32 2 379 21 11"),
        ("02 2112 1234/010 1234 5678", "02-2112-1234/010-1234-5678"),
        ("02-2112-1234~6", "02-2112-1234~6"),
        ("0221121234, 010-1234-567", "02-2112-1234, 010-1234-567"),
        ("전화 없음", "전화 없음"),
    ],
)
def test_valid_numbers_get_one_form_and_nothing_else_changes(text: str, expected: str) -> None:
    assert telephones.format(text) == expected
    assert telephones.format(expected) == expected


def test_numbers_come_in_order() -> None:
    text = "본관 02-2112-1234, 별관 031-012-7641, 당직 010-1234-5678, 야간 010-1234-567"
    assert telephones.check(text) == (["02-2112-1234", "010-1234-5678"], ["031-012-7641", "010-1234-567"])


PARTS = ["02", "010", "0502", "1588", "+82", "+1", "415", "2112", "1234", "123", "5678", "(02)", "119", "TEL: ", "☎"]
SIGNS = ["-", " ", ".", ")", "(", "/", "~", ",", "\n", "가", "a", "", "", "", "-", "-"]


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from(SIGNS)), max_size=8))
def test_formatting_keeps_the_digits_of_korean_numbers_and_settles(parts: list[tuple[str, str]]) -> None:
    text = "".join(part + sign for part, sign in parts)
    once = telephones.format(text)
    if "+" not in text:  # +82 becomes 0, before which other digits may stand
        assert telephones.format(once) == once
        assert [c for c in once if c.isdigit()] == [c for c in text if c.isdigit()]
    assert once.count("\n") == text.count("\n")


@pytest.mark.parametrize("unit", ["0", "02-", "02 ", "(02)", "+8", "+82 ", "+ ", "010-123 ", "1588-", "TEL: 1", "- "])
def test_time_grows_with_the_length_of_a_hostile_line_alone(unit: str) -> None:
    def seconds(length: int) -> float:
        line = unit * (length // len(unit))
        times = []
        for _ in range(3):
            start = time.process_time()
            telephones.check(line)
            times.append(time.process_time() - start)
        return min(times)

    # 8 times the text: 8 if linear, 64 if quadratic. The constant covers what is too quick to measure.
    assert seconds(40_000) < 24 * seconds(5_000) + 0.002


@pytest.mark.parametrize("mode", ["check", "format"])
def test_without_the_library_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(ConfigError) as caught:
        getattr(telephones, mode)("02-2112-1234")
    assert f"data.clean.telephones={mode} needs the package phonenumbers" in str(caught.value)
    assert 'pip install "cai[contacts]"' in str(caught.value)
