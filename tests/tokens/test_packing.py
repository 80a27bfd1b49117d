"""Rows of whole documents: everything in some row, little left empty, in little time and memory."""

from __future__ import annotations

import sys
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.tokens.packing import PackedRows, best_fit, cut, next_fit

ROOM = 17
lengths = st.lists(st.sampled_from([1, 2, 15, 16, 17, 18, 33, 100]) | st.integers(1, 40), min_size=1, max_size=60)
few_or_many = st.lists(st.integers(2, ROOM), min_size=0, max_size=80)


def starts_of(sizes: list[int]) -> tuple[np.ndarray, int]:
    ends = np.cumsum(sizes)
    return ends - sizes, int(ends[-1])


def one_by_one(sizes: list[int], room: int) -> Counter[int]:
    """How many rows have how much room left, by best-fit decreasing as a textbook has it."""
    left: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [row for row in range(len(left)) if left[row] >= size]
        if fitting:
            left[min(fitting, key=lambda row: left[row])] -= size
        else:
            left.append(room - size)
    return Counter(left)


def left_over(sizes: list[int], row_of: np.ndarray, room: int) -> Counter[int]:
    used = np.bincount(row_of, weights=sizes) if sizes else np.array([])
    return Counter((room - used).astype(int).tolist())


@pytest.mark.parametrize("room", [2, 3, ROOM])
@given(sizes=lengths)
def test_the_pieces_of_a_document_hold_each_of_its_targets_once(room: int, sizes: list[int]) -> None:
    starts, end = starts_of(sizes)
    pieces = [(start, size) for start, size in zip(*map(np.ndarray.tolist, cut(starts, end, room)), strict=True)]
    assert all(2 <= size <= room for _, size in pieces)
    targets = [target for start, size in pieces for target in range(start + 1, start + size)]
    assert targets == sorted(set(range(end)) - set(starts.tolist()))


@pytest.mark.parametrize("length", [1, 2, ROOM - 1, ROOM, ROOM + 1, 2 * ROOM - 1, 2 * ROOM, 10**6])
def test_a_document_is_cut_only_if_it_must_be(length: int) -> None:
    _, sizes = cut(np.array([0]), length, ROOM)
    assert len(sizes) == -(-(length - 1) // (ROOM - 1))
    assert (sizes[:-1] == ROOM).all()


@given(sizes=few_or_many)
def test_rows_are_those_of_best_fit_decreasing(sizes: list[int]) -> None:
    row_of = best_fit(np.array(sizes, dtype=np.int64), ROOM)
    assert set(row_of.tolist()) == set(range(len(set(row_of.tolist()))))
    assert left_over(sizes, row_of, ROOM) == one_by_one(sizes, ROOM)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), room=st.integers(2, 300), count=st.integers(1, 2000))
def test_rows_are_those_of_best_fit_decreasing_at_other_sizes(seed: int, room: int, count: int) -> None:
    sizes = np.random.default_rng(seed).integers(2, room, count, endpoint=True).tolist()
    assert left_over(sizes, best_fit(np.array(sizes), room), room) == one_by_one(sizes, room)


@given(sizes=few_or_many)
def test_in_order_each_piece_goes_where_the_one_before_went_as_long_as_it_fits(sizes: list[int]) -> None:
    starts = np.arange(len(sizes)) * 100
    rows = list(next_fit(starts, np.array(sizes, dtype=np.int64), ROOM))
    assert [piece for row in rows for piece in row] == list(zip(starts.tolist(), sizes, strict=True))
    used = [sum(size for _, size in row) for row in rows]
    assert all(total <= ROOM for total in used)
    assert all(total + after[0][1] > ROOM for total, after in zip(used, rows[1:], strict=False))


@given(sizes=few_or_many, most=st.integers(1, 300))
def test_in_order_a_limit_of_targets_is_met_exactly_and_changes_nothing_before(sizes: list[int], most: int) -> None:
    starts, array = np.arange(len(sizes)) * 100, np.array(sizes, dtype=np.int64)

    def targets(limit: int | None) -> list[int]:
        return [start + n for row in next_fit(starts, array, ROOM, limit) for start, size in row for n in range(1, size)]

    assert targets(most) == targets(None)[:most]


@given(sizes=lengths)
def test_packed_rows_hold_every_piece_once_and_know_how_full_they_are(sizes: list[int]) -> None:
    starts, end = starts_of(sizes)
    packed = PackedRows(starts, end, ROOM)
    rows = [packed[number] for number in range(len(packed))]
    expected = zip(*map(np.ndarray.tolist, cut(starts, end, ROOM)), strict=True)
    assert sorted(piece for row in rows for piece in row) == sorted(expected)
    assert all(row and row == sorted(row) for row in rows)
    assert all(sum(size for _, size in row) <= ROOM for row in rows)
    if rows:
        assert packed.fill == pytest.approx(sum(size for row in rows for _, size in row) / (len(rows) * ROOM))


@pytest.mark.parametrize("longest", [30, 120, 250])
@pytest.mark.parametrize("seed", range(3))
def test_short_documents_leave_less_than_a_tenth_empty(seed: int, longest: int) -> None:
    starts, end = starts_of(np.random.default_rng(seed).integers(2, longest, 2000).tolist())
    assert PackedRows(starts, end, 257).fill > 0.9


def random_starts(count: int) -> tuple[np.ndarray, int]:
    return starts_of(np.random.default_rng(0).geometric(1 / 100, count).tolist())


def test_time_grows_with_the_documents_and_not_with_their_square() -> None:
    def seconds(count: int) -> float:
        begun = time.process_time()
        PackedRows(*random_starts(count), 257)
        return time.process_time() - begun

    assert min(seconds(200_000) for _ in range(2)) < 60 * min(seconds(10_000) for _ in range(3))


def test_a_few_dozen_bytes_are_kept_for_each_document() -> None:
    packed = PackedRows(*random_starts(50_000), 257)
    kept = sum(array.nbytes for array in vars(packed).values() if isinstance(array, np.ndarray))
    assert kept + sys.getsizeof(packed) < 40 * 50_000
