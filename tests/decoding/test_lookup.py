"""What is copied as a draft."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.decoding.lookup import LONGEST, draft

steady = settings(deadline=None, derandomize=True, database=None, max_examples=500)
contexts = st.lists(st.integers(0, 2), max_size=24)


@steady
@given(contexts, st.integers(1, 6))
def test_a_draft_is_what_followed_the_longest_run_of_newest_ids_where_it_stood_last(ids: list[int], size: int) -> None:
    before = [  # how many of the newest ids stand right before each place
        max((n for n in range(1, LONGEST + 1) if n <= place and ids[place - n : place] == ids[-n:]), default=0)
        for place in range(len(ids))
    ]
    longest = max(before, default=0)
    places = [place for place, n in enumerate(before) if n == longest > 0]
    assert draft(ids, size) == (ids[places[-1] :][:size] if places else [])


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([1, 2, 3, 9, 1, 2], [3, 9, 1]),  # as it went on before
        ([1, 5, 1, 6, 1], [6, 1]),  # the last time counts
        ([7, 1, 5, 1, 6, 7, 1], [5, 1, 6]),  # but a longer match more
        ([0, 1, 2, 3, 4, 5, 9, 1, 2, 3, 4, 6, 0, 1, 2, 3, 4], [6, 0, 1]),  # though not beyond the longest
        ([4, 4, 4], [4]),  # what follows may be one of the newest
        ([1, 2, 1, 2, 1, 2], [1, 2]),
        ([1, 2, 3], []),
        ([1], []),
        ([], []),
    ],
)
def test_what_stood_behind_the_newest_ids_before_is_drafted(ids: list[int], expected: list[int]) -> None:
    assert draft(ids, 3) == expected


def test_no_more_is_drafted_than_asked_for() -> None:
    ids = [*range(30), 0]
    assert [draft(ids, size) for size in (1, 2, 50)] == [[1], [1, 2], [*range(1, 30), 0]]


def test_the_context_is_left_as_it_was() -> None:
    ids = [1, 2, 1]
    draft(ids, 2).append(5)
    assert ids == [1, 2, 1]
    assert draft((1, 2, 1), 2) == [2, 1], "of any sequence"
