"""Every source of random numbers is seeded, captured and put back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cai import interruption
from cai.randomness import capture, preserved, remember, restore, seed_everything
from cai.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    seed_everything(5)
    yield
    interruption.reset()


def draw() -> list[float]:
    """Some of every kind, an odd number of normal ones: both Python and NumPy keep the second of a pair."""
    return [
        random.random(),
        random.gauss(0, 1),
        float(random.getrandbits(32)),
        float(np.random.random()),
        float(np.random.normal()),
        float(np.random.randint(10**9)),
        *torch.rand(3).tolist(),
        *torch.randn(17).tolist(),
    ]


@pytest.mark.parametrize("before", range(4))
def test_what_was_captured_comes_again_also_in_the_midst_of_a_pair(before: int) -> None:
    for _ in range(before):
        draw()
    state = capture()
    first = [draw() for _ in range(3)]
    assert len({tuple(one) for one in first}) == 3
    restore(state)
    assert [draw() for _ in range(3)] == first


@pytest.mark.parametrize("source", ["python", "numpy"])
@pytest.mark.parametrize("pending", [0, 1])
def test_the_second_of_a_pair_of_normal_numbers_is_kept(source: str, pending: int) -> None:
    sources = {"python": lambda: random.gauss(0, 1), "numpy": lambda: float(np.random.normal())}
    normal: Callable[[], float] = sources[source]
    for _ in range(pending):
        normal()
    state = capture()
    expected = normal(), normal(), normal()
    for _ in range(1 - pending):  # now the other way round
        normal()
    restore(state)
    assert (normal(), normal(), normal()) == expected


def test_states_are_equal_to_the_bit_after_a_round_trip() -> None:
    draw()
    python, numpy, of_torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    restore(capture())
    assert random.getstate() == python
    for one, other in zip(np.random.get_state(), numpy, strict=True):
        assert np.array_equal(one, other)
    assert torch.equal(torch.get_rng_state(), of_torch)


def test_a_checkpoint_file_holds_them(tmp_path: Path) -> None:
    draw()
    save_checkpoint(tmp_path / "x.safetensors", Checkpoint({"w": torch.ones(1)}, random=capture()))
    first = [draw(), draw()]
    restore(load_checkpoint(tmp_path / "x.safetensors").random)
    assert [draw(), draw()] == first


def test_what_was_captured_does_not_move_on_with_the_source() -> None:
    state = capture()
    kept = {name: tensor.clone() for name, tensor in state.items()}
    first = draw()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in state.items())
    restore(state)
    draw()
    restore(state)
    assert draw() == first


def test_looking_draws_nothing() -> None:
    first = draw()
    seed_everything(5)
    for _ in range(3):
        capture()
    assert draw() == first


@pytest.mark.parametrize("seed", [0, 5, 2**32 + 5, 2**63 - 1])
def test_seeding_decides_all_whatever_was_drawn_before(seed: int) -> None:
    seed_everything(seed)
    first = draw()
    random.gauss(0, 1)
    np.random.normal()
    seed_everything(seed)
    assert draw() == first


def test_what_is_drawn_inside_makes_no_difference_outside() -> None:
    expected = [draw(), draw()]
    seed_everything(5)
    found = [draw()]
    with preserved():
        draw()
        seed_everything(9)
    assert [*found, draw()] == expected


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_also_if_an_error_ends_it(error: type[BaseException]) -> None:
    def fail() -> None:
        with preserved():
            draw()
            raise error

    expected = draw()
    seed_everything(5)
    with pytest.raises(error):
        fail()
    assert draw() == expected


def test_also_if_someone_asks_to_stop_while_the_states_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    original = np.random.set_state

    def set_state(state: Any) -> None:
        original(state)
        interruption.request(15)

    def evaluate() -> None:
        with preserved():
            draw()

    expected = draw()
    seed_everything(5)
    monkeypatch.setattr(np.random, "set_state", set_state)
    with pytest.raises(interruption.Interrupted):
        evaluate()
    interruption.reset()
    assert draw() == expected


def test_nothing_is_restored_from_nothing() -> None:
    expected = draw()
    seed_everything(5)
    restore({})
    assert draw() == expected


def test_what_is_remembered_is_put_back_as_often_as_asked_for() -> None:
    random.gauss(0, 1)
    put_back = remember()
    expected = draw()
    for _ in range(2):
        put_back()
        assert draw() == expected


def test_all_of_a_state_are_cpu_tensors() -> None:
    assert all(tensor.device.type == "cpu" for tensor in capture().values())
