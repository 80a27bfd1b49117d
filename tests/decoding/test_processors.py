"""Each processor against its source's formula, written out number by number."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cai.decoding.processors import (
    Written,
    at_least,
    forbid_repeated_ngrams,
    nucleus,
    penalize_frequency,
    penalize_repetition,
)

V = 7
steady = settings(deadline=None, derandomize=True, database=None, max_examples=200)
numbers = st.floats(-20, 20, width=32)
logits_and_written = st.lists(
    st.tuples(st.lists(numbers, min_size=V, max_size=V), st.lists(st.integers(0, V - 1), max_size=12)),
    min_size=1,
    max_size=3,
)
Rows = list[tuple[list[float], list[int]]]


def split(rows: Rows) -> tuple[Tensor, Written]:
    return torch.tensor([logits for logits, _ in rows]), [written for _, written in rows]


def assert_rows(found: Tensor, expected: list[list[float]]) -> None:
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-5)


@steady
@given(logits_and_written, st.floats(0.25, 4, width=32))
def test_what_is_written_is_divided_by_the_penalty_where_positive_and_multiplied_where_negative(
    rows: Rows, penalty: float
) -> None:
    def one(logit: float, seen: bool) -> float:
        if not seen:
            return logit
        return logit / penalty if logit > 0 else logit * penalty

    expected = [[one(logit, number in written) for number, logit in enumerate(logits)] for logits, written in rows]
    assert_rows(penalize_repetition(*split(rows), penalty), expected)


def test_a_repetition_penalty_counts_once_and_raises_no_logit() -> None:
    found = penalize_repetition(torch.tensor([[2.0, -2.0, 0.0, 2.0]]), [[0, 0, 1, 2]], 2.0)
    assert found.tolist() == [[1.0, -4.0, 0.0, 2.0]]


@steady
@given(logits_and_written, numbers, numbers)
def test_a_frequency_penalty_counts_each_time_and_a_presence_penalty_once(
    rows: Rows, frequency: float, presence: float
) -> None:
    expected = [
        [
            logit - frequency * written.count(number) - (presence if number in written else 0)
            for number, logit in enumerate(logits)
        ]
        for logits, written in rows
    ]
    assert_rows(penalize_frequency(*split(rows), frequency, presence), expected)


@steady
@given(logits_and_written, st.integers(1, 4))
def test_no_run_is_written_twice_and_nothing_else_is_forbidden(rows: Rows, n: int) -> None:
    def repeats(written: list[int], number: int) -> bool:
        new = [*written, number]
        runs = [new[i : i + n] for i in range(len(new) - n + 1)]
        return len(new) >= n and runs[-1] in runs[:-1]

    expected = []
    for logits, written in rows:
        forbidden = [repeats(written, number) for number in range(V)]
        kept = zip(logits, forbidden, strict=True)
        expected.append(logits if all(forbidden) else [-math.inf if never else logit for logit, never in kept])
    assert forbid_repeated_ngrams(*split(rows), n).tolist() == torch.tensor(expected).tolist()


def test_a_run_may_overlap_itself() -> None:
    found = forbid_repeated_ngrams(torch.zeros(1, 3), [[1, 1, 1]], 3)
    assert found.tolist() == [[0, -math.inf, 0]]


def test_if_every_id_would_repeat_a_run_none_is_forbidden() -> None:
    logits = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    assert forbid_repeated_ngrams(logits, [[0, 1], [1]], 1).tolist() == [[1, 2], [1, -math.inf]]


probabilities = st.lists(st.integers(1, 1000), min_size=1, max_size=8).map(
    lambda weights: sorted((weight / sum(weights) for weight in weights), reverse=True)
)


@steady
@given(probabilities, st.floats(0.01, 1))
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(row: list[float], top_p: float) -> None:
    kept = nucleus(torch.tensor([row], dtype=torch.float64), top_p)[0].tolist()
    size = sum(p > 0 for p in kept)
    assert kept == [*row[:size], *[0.0] * (len(row) - size)], "the likeliest as they were, and 0 for the others"
    assert size > 0
    assert size == len(row) or sum(row[:size]) >= top_p - 1e-12
    assert sum(row[: size - 1]) < top_p + 1e-12, "one less would not reach it"


def test_a_nucleus_that_is_reached_exactly_has_no_token_more() -> None:
    row = torch.tensor([[0.5, 0.25, 0.125, 0.125]], dtype=torch.float64)
    sizes = {top_p: int((nucleus(row, top_p) > 0).sum()) for top_p in (0.01, 0.5, 0.51, 0.75, 0.8, 0.9, 1.0)}
    assert sizes == {0.01: 1, 0.5: 1, 0.51: 2, 0.75: 2, 0.8: 3, 0.9: 4, 1.0: 4}


@steady
@given(probabilities, st.floats(0, 1))
def test_min_p_keeps_what_has_that_share_of_the_likeliest(row: list[float], min_p: float) -> None:
    row = row[::-1]  # in any order
    kept = at_least(torch.tensor([row], dtype=torch.float64), min_p)[0].tolist()
    assert kept == [p if p >= min_p * max(row) else 0.0 for p in row]


def test_min_p_is_a_share_of_each_row_s_own_likeliest() -> None:
    rows = torch.tensor([[0.5, 0.25, 0.25], [0.75, 0.25, 0.0]], dtype=torch.float64)
    assert at_least(rows, 0.5).tolist() == [[0.5, 0.25, 0.25], [0.75, 0.0, 0.0]]
    assert at_least(rows, 1.0).tolist() == [[0.5, 0.0, 0.0], [0.75, 0.0, 0.0]]


PROCESSORS: dict[str, Callable[[Tensor], Tensor]] = {
    "repetition": lambda logits: penalize_repetition(logits, [[0, 1, 1], []], 1.5),
    "frequency": lambda logits: penalize_frequency(logits, [[0, 1, 1], []], 1.5, 0.5),
    "n-grams": lambda logits: forbid_repeated_ngrams(logits, [[0, 1, 1], []], 1),
    "nucleus": lambda logits: nucleus(logits, 0.6),
    "min-p": lambda logits: at_least(logits, 0.6),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_processor_leaves_what_it_is_given_as_it_was_and_rows_apart(name: str) -> None:
    given = torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1]])
    before = given.clone()
    found = PROCESSORS[name](given)
    assert torch.equal(given, before)
    assert not torch.equal(found[0], given[0])
    if name in ("repetition", "frequency", "n-grams"):
        assert torch.equal(found[1], given[1]), "nothing is written in that row"


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (lambda logits, written: penalize_repetition(logits, written, 1.0), "repetition"),
        (lambda logits, written: penalize_frequency(logits, written, 0.0, 0.0), "frequency"),
        (lambda logits, written: forbid_repeated_ngrams(logits, written, 9), "n-grams"),
        (lambda logits, written: nucleus(logits.softmax(-1), 1.0).log(), "nucleus"),
        (lambda logits, written: at_least(logits.softmax(-1), 0.0).log(), "min-p"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_at_its_neutral_value_a_processor_changes_nothing(found: Callable[[Tensor, Written], Tensor], name: str) -> None:
    logits = torch.tensor([[2.0, 1.0, -1.0, -2.0]]).log_softmax(-1)
    torch.testing.assert_close(found(logits, [[0, 1, 1, 3, 0, 1]]), logits)
