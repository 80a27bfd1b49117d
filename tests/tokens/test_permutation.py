"""A shuffled order without a list of it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from cai.tokens.permutation import Permutation


def order(size: int, seed: int = 1337, epoch: int = 0) -> np.ndarray:
    return Permutation(size, seed, epoch)(np.arange(size))


@pytest.mark.parametrize("size", [*range(1, 71), 4095, 4096, 4097, 65_535, 65_537, *map(int, np.geomspace(100, 200_000, 9))])
def test_every_position_goes_to_a_place_of_its_own(size: int) -> None:
    assert sorted(order(size).tolist()) == list(range(size))


@pytest.mark.parametrize("size", np.random.default_rng(7).integers(71, 200_000, size=8).tolist())
def test_every_position_goes_to_a_place_of_its_own_for_drawn_sizes_seeds_and_epochs(size: int) -> None:
    assert sorted(order(size, seed=size * 31, epoch=size % 17).tolist()) == list(range(size))


def test_one_position_at_a_time_gives_the_same_as_all_at_once() -> None:
    permutation = Permutation(997, 1, 2)
    whole = permutation(np.arange(997))
    assert [int(permutation(np.array([position]))[0]) for position in range(997)] == whole.tolist()
    square = permutation(np.arange(996).reshape(12, 83))
    assert square.shape == (12, 83)
    assert square.ravel().tolist() == whole[:996].tolist()
    assert permutation(np.array([], dtype=np.int64)).shape == (0,)


def test_the_positions_asked_about_are_left_as_they_were() -> None:
    positions = np.arange(100)
    Permutation(100, 1, 1)(positions)
    assert positions.tolist() == list(range(100))


def test_seeds_and_epochs_give_orders_of_their_own() -> None:
    orders = {tuple(order(50, seed, epoch)) for seed in range(20) for epoch in range(20)}
    assert len(orders) == 400
    assert order(50, 3, 4).tolist() == order(50, 3, 4).tolist()
    assert order(50, 1, 11).tolist() != order(50, 11, 1).tolist() != order(50, 111, 1).tolist()


def test_the_order_of_a_seed_and_epoch_never_changes() -> None:
    """Another order would make every resumed and every reproduced run read other data than before."""
    assert order(10, seed=1337, epoch=0).tolist() == [6, 8, 9, 7, 2, 5, 0, 3, 1, 4]
    assert order(10, seed=1337, epoch=1).tolist() == [0, 6, 4, 9, 2, 7, 8, 1, 3, 5]


def test_a_trillion_positions_need_no_memory() -> None:
    size = 10**12
    tracemalloc.start()
    try:
        permutation = Permutation(size, 1337, 0)
        positions = np.concatenate([np.arange(1000), size - 1 - np.arange(1000), np.arange(1000) * 10**9 + 123_456])
        places = permutation(positions)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert places.min() >= 0
    assert places.max() < size
    assert len(set(places.tolist())) == 3000
    assert peak < 2_000_000
    assert places.max() > 0.99 * size
    assert places.min() < 0.01 * size


def test_memory_does_not_grow_with_the_size() -> None:
    def peak(size: int) -> int:
        tracemalloc.start()
        try:
            Permutation(size, 1, 0)(np.arange(64))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(10**15) < peak(100) + 10_000


@pytest.mark.parametrize("size", [5, 24])
def test_every_position_goes_everywhere_about_equally_often(size: int) -> None:
    draws = 1500
    counts = np.zeros((size, size))
    for seed in range(draws):
        counts[np.arange(size), order(size, seed)] += 1
    expected = draws / size
    chi_square = ((counts - expected) ** 2 / expected).sum()
    freedom = (size - 1) ** 2
    assert abs(chi_square - freedom) < 6 * (2 * freedom) ** 0.5


def test_neighbours_do_not_stay_neighbours() -> None:
    places = order(100_000)
    steps = np.diff(places)
    assert (np.abs(steps) == 1).sum() < 20
    assert abs(np.corrcoef(np.arange(100_000), places)[0, 1]) < 0.02
    assert abs((steps > 0).mean() - 0.5) < 0.01


@pytest.mark.parametrize("size", [0, -1])
def test_an_order_of_nothing_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size must be positive, but is {size}"):
        Permutation(size, 0, 0)
