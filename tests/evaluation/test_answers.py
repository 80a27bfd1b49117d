"""Judging one answer: each way of being right and of being wrong, by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from unicodedata import normalize

import pytest

from cai.data.answers import ABSENT, Answer
from cai.data.cases import Case
from cai.evaluation.answers import Judgement, repetition, score

DOCUMENT = "가온병원\nTEL 02-2345-6789 (야간 031-222-3333)\n주소: 서울특별시 중구 강변로 135\n누리집은 https://gaon.example/ko입니다."
FIELDS = {"TEL": "02-2345-6789", "ADDR": "서울특별시 중구 강변로 135", "WEB": "https://gaon.example/ko", "EMAIL": ABSENT}
CASE = Case((), DOCUMENT, FIELDS, refuses=False)
GOOD = Answer(
    summary="전화번호는 02-2345-6789입니다.",
    checklist=("접수처에 문의하기",),
    name="가온병원",
    contacts={"tel": FIELDS["TEL"], "address": FIELDS["ADDR"], "web": FIELDS["WEB"]},
    details="담당 부서는 접수처입니다.",
)
REFUSAL = "이메일은 문서에 없습니다."


def judged(text: str = "", case: Case = CASE, **changes: object) -> Judgement:
    return score(case, text or replace(GOOD, **changes).render(), closed=True)  # type: ignore[arg-type]


def with_contacts(**contacts: str) -> Judgement:
    return judged(contacts={**GOOD.contacts, **contacts})


def test_a_right_answer_is_right_in_everything() -> None:
    assert judged() == Judgement(
        right={"TEL": True, "ADDR": True, "WEB": True},
        all_three=True,
        invented=(),
        refused=False,
        refusal=None,
        well_formed=True,
        closed=True,
        repetition=0.0,
        holds_answer=None,
    )


def test_closed_is_what_the_caller_says() -> None:
    assert not score(CASE, GOOD.render(), closed=False).closed


@pytest.mark.parametrize("change", [lambda text: normalize("NFD", text), lambda text: text.replace("\n", " \t\n") + " \n\n"])
def test_another_normal_form_and_blanks_at_line_ends_change_nothing(change: Callable[[str], str]) -> None:
    assert judged(change(GOOD.render())) == judged()
    other = Case((), change(DOCUMENT), {label: normalize("NFD", value) for label, value in FIELDS.items()}, refuses=False)
    assert judged(GOOD.render(), other) == judged()


class TestLines:
    @pytest.mark.parametrize(
        "tel",
        ["02-2345-6780", "02-2345-678", "2345-6789", "02 2345 6789", "031-222-3333", "02-2345-6789 ", "02-2345-6789번"],
    )
    def test_nothing_but_the_same_string_is_right(self, tel: str) -> None:
        """Another number of the document is not invented, but it is not the right one either."""
        judgement = with_contacts(tel=tel)
        assert judgement.right == {"TEL": tel.rstrip() == FIELDS["TEL"], "ADDR": True, "WEB": True}
        assert judgement.all_three is judgement.right["TEL"]

    def test_a_missing_value_is_wrong(self) -> None:
        judgement = judged(contacts={})
        assert judgement.right == {"TEL": False, "ADDR": False, "WEB": False}
        assert judgement.invented == ()

    def test_a_missing_line_is_wrong(self) -> None:
        judgement = judged(re.sub("- WEB.*\n", "", GOOD.render()))
        assert judgement.right == {"TEL": True, "ADDR": True, "WEB": False}
        assert (judgement.all_three, judgement.well_formed) == (False, False)

    def test_an_empty_line_is_wrong_and_invents_nothing(self) -> None:
        judgement = judged(GOOD.render().replace("- TEL: 02-2345-6789", "- TEL: "))
        assert (judgement.right["TEL"], judgement.invented, judgement.well_formed) == (False, (), False)

    def test_a_second_line_that_says_something_else_makes_it_wrong(self) -> None:
        text = GOOD.render().replace("- ADDR", "- TEL: 031-222-3333\n- ADDR")
        assert not judged(text).right["TEL"]
        assert judged(text.replace("031-222-3333", FIELDS["TEL"])).right["TEL"]

    @pytest.mark.parametrize(
        "line", ["TEL: 02-2345-6789", "-TEL: 02-2345-6789", "- TEL : 02-2345-6789", "- tel: 02-2345-6789"]
    )
    def test_a_line_in_another_form_is_none(self, line: str) -> None:
        assert not judged(GOOD.render().replace("- TEL: 02-2345-6789", line)).right["TEL"]

    def test_a_value_where_the_document_has_none_is_against_all_three(self) -> None:
        without = replace(
            CASE, document="가온병원 02-2345-6789", fields=dict.fromkeys(FIELDS, ABSENT) | {"TEL": "02-2345-6789"}
        )
        assert judged(case=without, contacts={"tel": "02-2345-6789"}).all_three
        filled = judged(case=without, contacts={"tel": "02-2345-6789", "web": "가온병원"})
        assert filled.right == {"TEL": True}
        assert filled.all_three is False

    def test_the_mail_line_is_not_one_of_the_three(self) -> None:
        judgement = with_contacts(email="help@gaon.example")
        assert (judgement.all_three, judgement.invented) == (True, ("help@gaon.example",))

    @pytest.mark.parametrize("fields", [{}, {"TEL": "02-2345-6789"}, {"TEL": ABSENT, "EMAIL": ABSENT}])
    def test_a_case_that_does_not_state_the_three_is_not_asked_for_them(self, fields: dict[str, str]) -> None:
        judgement = judged(case=replace(CASE, fields=fields))
        assert judgement.all_three is None
        assert judgement.right == ({"TEL": True} if "02-2345-6789" in fields.values() else {})
        assert judgement.well_formed is (True if fields else None)


class TestRefusals:
    MUST = replace(CASE, refuses=True)

    def test_a_right_one(self) -> None:
        judgement = judged(case=self.MUST, summary=REFUSAL)
        assert (judgement.refused, judgement.refusal) == (True, True)

    def test_an_answer_where_there_is_none(self) -> None:
        judgement = judged(case=self.MUST)
        assert (judgement.refused, judgement.refusal) == (False, False)

    def test_a_refusal_where_there_is_an_answer(self) -> None:
        judgement = judged(summary=REFUSAL)
        assert (judgement.refused, judgement.refusal) == (True, None)

    def test_a_refusal_with_an_invention_in_the_line_is_none(self) -> None:
        judgement = judged(case=self.MUST, summary=REFUSAL, contacts={**GOOD.contacts, "email": "help@gaon.example"})
        assert (judgement.refused, judgement.refusal) == (True, False)
        loosely = replace(GOOD, summary=REFUSAL).render().replace("- EMAIL: 문서에 없음", "EMAIL:help@gaon.example")
        assert judged(loosely, self.MUST).refusal is False

    def test_a_refusal_with_another_value_of_the_document_in_the_line_is_none(self) -> None:
        contacts = {**GOOD.contacts, "email": "031-222-3333"}
        judgement = judged(case=self.MUST, summary=REFUSAL, contacts=contacts)
        assert (judgement.refused, judgement.refusal, judgement.invented) == (True, False, ())

    def test_a_mistake_in_another_line_is_another_matter(self) -> None:
        judgement = judged(case=self.MUST, summary=REFUSAL, contacts={**GOOD.contacts, "tel": "02-999-1111"})
        assert (judgement.refusal, judgement.invented) == (True, ("02-999-1111",))

    def test_a_case_without_lines_is_refused_in_the_summary(self) -> None:
        case = Case((), DOCUMENT, {}, refuses=True)
        assert judged(f"요약:\n- {REFUSAL}", case).refusal is True
        assert judged(f"{REFUSAL}", case).refusal is False
        assert judged(f"요약:\n- {REFUSAL}\n- TEL: 119", case).refusal is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0.0),
        ("가 나 다", 0.0),
        ("가 나 다 라", 0.0),
        ("가 나 다 라 마", 0.0),
        ("가 나 다 라 가 나 다 라", 1 - 4 / 5),
        ("가\n가 가\t가  가 가 가", 1 - 1 / 4),
    ],
)
def test_repetition_is_the_share_of_4_grams_that_are_not_new(text: str, expected: float) -> None:
    assert repetition(text) == pytest.approx(expected)
    assert score(CASE, text, closed=True).repetition == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answers", "holds"),
    [
        (("접수처",), True),
        (("없는 말", "02-2345-6789"), True),
        ((normalize("NFD", "접수처 "),), True),
        (("없는 말",), False),
        (("2-2345-678",), False),
        (("6789",), False),
        ((), None),
    ],
)
def test_an_answer_holds_one_of_the_texts_of_the_case(answers: tuple[str, ...], holds: bool | None) -> None:
    assert judged(GOOD.render(), replace(CASE, answers=answers)).holds_answer is holds
