"""Which telephone numbers an answer may state and still be a whole one."""

from __future__ import annotations

import pytest

from cai.data.answers import Answer, parse_answer

ANSWER = Answer("전화번호는 아래와 같습니다.", ("확인하기",), "가온병원", {"tel": "02-2345-6789"}, "안내입니다.")


def with_tel(tel: str) -> Answer | None:
    return parse_answer(ANSWER.render().replace("- TEL: 02-2345-6789", f"- TEL: {tel}"))


@pytest.mark.parametrize(
    "tel",
    [
        *("02-2345-6789", "1588-1234", "+82-2-2345-6789", "+56-2-2733-9200"),
        *("119", "15", "+86 (0) 20 8314 3000", "(02) 2345-6789", "02)2345-6789", "+1 (555) 123-4567"),
        *("+82 2-2345-6789", "+33 1 02 03 04 05", "+49 (0)30 26065-0"),
    ],
)
def test_a_number_as_the_world_writes_it_is_one(tel: str) -> None:
    found = with_tel(tel)
    assert found is not None
    assert found.contacts == {"tel": tel}


@pytest.mark.parametrize(
    "tel",
    [
        *("", " ", "1", "-", "+", "()", "가", "문서", "help@a.example"),
        *("02-2345-6789 02-2345", "02-2345-6789번", "02-2345-", "02-2345-6789 ", "02-2345-6789 (", "-2345-6789"),
        *("02-2345-6789, 119", "02-2345-6789 / 119", "0" * 16, "02 2345 6789 02 2345 6789"),
    ],
)
def test_what_is_no_number_or_more_than_one_is_none(tel: str) -> None:
    assert with_tel(tel) is None
