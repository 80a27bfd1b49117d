"""The reference answers of both worlds are perfect, and what is damaged in them is found."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import pytest

from cai.data.answers import ABSENT
from cai.data.cases import case_of_example
from cai.data.contacts.examples import Example, make_examples
from cai.data.contacts.organisations import make_organisation
from cai.data.contacts.tables import TRAINING_TABLES, Tables
from cai.data.contacts.unseen.tables import EVALUATION_TABLES
from cai.evaluation.answers import Judgement, score

WORLDS = pytest.mark.parametrize("world", [TRAINING_TABLES, EVALUATION_TABLES], ids=["training", "evaluation"])


@functools.cache
def _examples(index: int) -> list[Example]:
    tables, seed = ((TRAINING_TABLES, 1337), (EVALUATION_TABLES, 5))[index]
    organisations = [make_organisation(i, seed, tables) for i in range(100)]
    return [example for each in organisations for example in make_examples(each, 2, seed, tables)]


def examples(world: Tables) -> list[Example]:
    """200 of them."""
    return _examples(0 if world is TRAINING_TABLES else 1)


def judgements(world: Tables, change: Callable[[str, int], str] = lambda text, _: text) -> list[Judgement]:
    return [score(case_of_example(each), change(each.answer, i), closed=True) for i, each in enumerate(examples(world))]


@WORLDS
def test_the_reference_answers_are_perfect(world: Tables) -> None:
    found = judgements(world)
    assert len(found) == 200
    for example, judgement in zip(examples(world), found, strict=True):
        assert all(judgement.right.values())
        assert judgement.all_three
        assert judgement.invented == ()
        assert judgement.refused is not example.answerable
        assert judgement.refusal is (None if example.answerable else True)
        assert judgement.well_formed
        assert judgement.repetition < 0.1
    assert 40 < sum(judgement.refused for judgement in found) < 80  # about UNANSWERABLE_SHARE
    assert {label for judgement in found for label in judgement.right} == {"TEL", "ADDR", "WEB", "EMAIL"}


@WORLDS
@pytest.mark.parametrize("place", [0, -1])
def test_a_digit_changed_in_the_telephone_line_is_caught(world: Tables, place: int) -> None:
    def change(text: str, _: int) -> str:
        def other(match: re.Match[str]) -> str:
            digits = [i for i, char in enumerate(match[2]) if char.isdigit()]
            at = digits[place]
            return match[1] + match[2][:at] + str((int(match[2][at]) + 1) % 10) + match[2][at + 1 :]

        return re.sub(r"(- TEL: )([+0-9-]+)", other, text)

    for judgement, case in zip(judgements(world, change), map(case_of_example, examples(world)), strict=True):
        has_number = case.fields["TEL"] != ABSENT
        assert judgement.right.get("TEL", False) is False
        assert bool(judgement.invented) is has_number
        assert judgement.all_three is not has_number


@WORLDS
def test_the_contacts_of_another_example_are_caught_in_every_line(world: Tables) -> None:
    others = [case_of_example(each).fields for each in examples(world)]

    def change(text: str, number: int) -> str:
        fields = others[number - 20]  # of another organisation
        return re.sub(r"(?m)^- (TEL|ADDR|WEB|EMAIL): .*$", lambda match: f"- {match[1]}: {fields[match[1]]}", text)

    for number, judgement in enumerate(judgements(world, change)):
        assert not any(judgement.right.values())
        assert set(judgement.invented) >= set(others[number - 20].values()) - {ABSENT}


@WORLDS
def test_a_number_of_another_example_in_the_details_is_caught(world: Tables) -> None:
    for judgement in judgements(world, lambda text, _: f"{text} 문의는 02-7777-1234번입니다."):
        assert judgement.all_three
        assert judgement.invented == ("02-7777-1234",)
        assert judgement.well_formed


@WORLDS
@pytest.mark.parametrize("section", ["체크리스트:", "연락처(공공정보):", "상세 설명:"])
def test_a_missing_section_is_caught(world: Tables, section: str) -> None:
    def change(text: str, _: int) -> str:
        return "\n\n".join(each for each in text.split("\n\n") if not each.startswith(section))

    for judgement in judgements(world, change):
        assert judgement.well_formed is False
        assert judgement.all_three is (section != "연락처(공공정보):")


@WORLDS
def test_a_repeated_paragraph_is_caught(world: Tables) -> None:
    for before, after in zip(judgements(world), judgements(world, lambda text, _: f"{text}\n\n{text}"), strict=True):
        assert after.repetition > before.repetition + 0.4
        assert after.well_formed is False
        assert after.all_three


@WORLDS
def test_an_answer_cut_short_is_caught(world: Tables) -> None:
    assert not any(judgement.well_formed for judgement in judgements(world, lambda text, _: text[:-3]))
