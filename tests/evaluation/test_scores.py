"""Scores: shares of what can be said, and nothing of what cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cai.evaluation.answers import Judgement
from cai.evaluation.scores import Count, Scores

PERFECT = Judgement(
    right={"TEL": True, "WEB": True},
    all_three=True,
    invented=(),
    refused=False,
    refusal=None,
    well_formed=True,
    closed=True,
    repetition=0.0,
    holds_answer=None,
)
WRONG = Judgement(
    right={"TEL": False, "ADDR": True},
    all_three=False,
    invented=("02-1", "02-2"),
    refused=True,
    refusal=None,
    well_formed=False,
    closed=False,
    repetition=0.5,
    holds_answer=False,
)
KEYS = [
    "answers/tel",
    "answers/addr",
    "answers/web",
    "answers/email",
    "answers/fields",
    "answers/all_three",
    "answers/invented",
    "answers/refusals",
    "answers/false_refusals",
    "answers/well_formed",
    "answers/closed",
    "answers/repetition",
    "answers/found",
]


def test_every_kind_is_counted_among_those_of_which_it_can_be_said() -> None:
    refused = replace(PERFECT, right={}, all_three=None, refused=True, refusal=True, well_formed=None, holds_answer=True)
    missed = replace(refused, refused=False, refusal=False)
    assert Scores.of([PERFECT, WRONG, refused, missed]) == Scores(
        tel=Count(1, 2),
        addr=Count(1, 1),
        web=Count(1, 1),
        email=Count(0, 0),
        fields=Count(3, 4),
        all_three=Count(1, 2),
        invented=Count(1, 4),
        refusals=Count(1, 2),
        false_refusals=Count(1, 2),
        well_formed=Count(1, 2),
        closed=Count(3, 4),
        answers=Count(2, 3),
        repetition=0.125,
    )


def test_figures_are_shares_and_leave_out_those_of_no_case() -> None:
    figures = Scores.of([PERFECT, WRONG]).figures()
    assert list(figures) == [key for key in KEYS if key not in ("answers/email", "answers/refusals")]
    assert figures["answers/fields"] == 0.75
    assert figures["answers/repetition"] == 0.25
    assert figures["answers/found"] == 0.0
    assert all(isinstance(value, float) for value in figures.values())


def test_counts_have_every_key_but_that_of_a_mean() -> None:
    counts = Scores.of([PERFECT, WRONG]).counts()
    assert list(counts) == [key for key in KEYS if key != "answers/repetition"]
    assert counts["answers/email"] == (0, 0)
    assert counts["answers/tel"] == (1, 2)


def test_of_nothing_nothing_is_said() -> None:
    scores = Scores.of([])
    assert scores.figures() == {}
    assert set(scores.counts().values()) == {(0, 0)}
    assert "%" not in scores.table().replace("seq-rep", "")
    assert all(line.endswith("-  of 0") for line in scores.table().splitlines())


def test_the_table_is_aligned_and_has_a_line_for_each_kind() -> None:
    lines = Scores.of([PERFECT] * 99 + [WRONG]).table().splitlines()
    assert len(lines) == len(KEYS)
    assert len({len(line) for line in lines}) == 1
    assert lines[0] == "telephone copied right             99.0 %  of 100"
    assert lines[3] == "mail address copied right               -  of   0"
    assert lines[-1] == "repetition (4 words)                0.5 %  of 100"


@pytest.mark.parametrize(
    ("right", "of", "shown"),
    [(0, 5000, "0.0 %"), (1, 5000, "< 0.1 %"), (4999, 5000, "99.9 %"), (5000, 5000, "100.0 %"), (1, 3, "33.3 %")],
)
def test_nothing_is_rounded_to_all_or_to_nothing(right: int, of: int, shown: str) -> None:
    scores = Scores.of([replace(PERFECT, right={"TEL": number < right}) for number in range(of)])
    assert scores.table().splitlines()[0].split("  of")[0].split("right")[1].strip() == shown
