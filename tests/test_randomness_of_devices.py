"""The random states of accelerators are captured and put back where they are used, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cai.randomness import capture, preserved, restore
from cai.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cai.trainer.memory import MicroBatch
from tests.test_randomness import _seeded, draw

__all__ = ["_seeded"]


class FakeDevices:
    """The random states of two CUDA devices and of MPS."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cuda: int = 0, mps: bool = False, awake: bool = True) -> None:
        self.cuda = [torch.full((16,), index + 1, dtype=torch.uint8) for index in range(cuda)]
        self.mps = torch.full((44,), 9, dtype=torch.uint8)
        self.asked = 0
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: awake)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_rng_state_all", self.get_all)
        monkeypatch.setattr(torch.cuda, "set_rng_state", self.set_cuda)
        monkeypatch.setattr(torch.cuda, "set_rng_state_all", self.set_all)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.mps, "get_rng_state", lambda: self.mps.clone())
        monkeypatch.setattr(torch.mps, "set_rng_state", self.set_mps)

    def get_all(self) -> list[Tensor]:
        self.asked += 1
        return [state.clone() for state in self.cuda]

    def set_all(self, states: list[Tensor]) -> None:
        for index, state in enumerate(states):
            self.set_cuda(state, index)

    def set_cuda(self, state: Tensor, index: int) -> None:
        self.asked += 1
        self.cuda[index] = state.clone()

    def set_mps(self, state: Tensor) -> None:
        self.mps = state.clone()

    def draw(self) -> None:
        for state in (*self.cuda, self.mps):
            state.add_(100)

    def values(self) -> list[int]:
        return [int(state[0]) for state in (*self.cuda, self.mps)]


def test_the_states_of_accelerators_are_captured_and_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = FakeDevices(monkeypatch, cuda=2, mps=True)
    assert capture().keys() == {"python", "numpy", "torch", "cuda.0", "cuda.1", "mps"}
    save_checkpoint(tmp_path / "x.safetensors", Checkpoint({"w": torch.ones(1)}, random=capture()))
    devices.draw()
    assert devices.values() == [101, 102, 109]
    restore(load_checkpoint(tmp_path / "x.safetensors").random)
    assert devices.values() == [1, 2, 9]
    with preserved():
        devices.draw()
    assert devices.values() == [1, 2, 9]


def test_the_states_of_devices_that_are_not_here_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeDevices(monkeypatch, cuda=2, mps=True)
    state, first = capture(), draw()
    one = FakeDevices(monkeypatch, cuda=1)
    one.draw()
    restore(state)
    assert one.values() == [1, 109]  # MPS is not asked
    assert draw() == first


def test_a_gpu_that_the_process_does_not_use_is_not_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeDevices(monkeypatch, cuda=2)
    state = capture()
    asleep = FakeDevices(monkeypatch, cuda=2, awake=False)
    assert capture().keys() == {"python", "numpy", "torch"}
    restore(state)
    with preserved():
        draw()
    assert MicroBatch("auto", 1).fit(draw)
    assert asleep.asked == 0


def test_devices_that_the_state_does_not_know_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeDevices(monkeypatch)
    state = capture()
    assert state.keys() == {"python", "numpy", "torch"}
    more = FakeDevices(monkeypatch, cuda=2, mps=True)
    restore(state)
    assert more.values() == [1, 2, 9]
