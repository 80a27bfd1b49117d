"""Work beside training: in order, one at a time, and what goes wrong is told."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from cai.errors import OutputError
from cai.trainer.background import AT_ONCE, Background
from cai.trainer.checkpoint import Checkpoint, load_checkpoint
from cai.trainer.folder import CheckpointFolder
from tests.conftest import train_tiny


def test_it_is_done_in_order_beside_the_caller() -> None:
    background, gate, done = Background(), threading.Event(), list[int]()

    def piece(number: int) -> None:
        assert gate.wait(10)
        done.append(number)

    for number in range(AT_ONCE):
        background.do(lambda number=number: piece(number))
    assert done == []
    gate.set()
    background.do(lambda: piece(AT_ONCE))
    background.wait()
    assert done == list(range(AT_ONCE + 1))


@pytest.mark.parametrize("ask", ["do", "wait"])
def test_what_goes_wrong_is_told_by_the_next_call(ask: str) -> None:
    background = Background()

    def fail() -> None:
        raise OutputError("full")

    background.do(fail)
    background._begun[0].exception(10)
    with pytest.raises(OutputError, match="full"):
        background.do(lambda: None) if ask == "do" else background.wait()
    background.wait()


def test_what_is_saved_is_what_was_there_when_it_was_asked_for(tmp_path: Path) -> None:
    folder, weight = CheckpointFolder(tmp_path, background=True), torch.zeros(3)
    assert folder.background is not None
    gate = threading.Event()
    folder.background.do(lambda: gate.wait(10))
    folder.save_last(Checkpoint({"w": weight}, optimizer={"w": {"m": weight}}, state={"step": 1, "list": [1]}))
    weight += 1
    gate.set()
    folder.wait()
    saved = load_checkpoint(folder.last)
    assert saved.model["w"].tolist() == saved.optimizer["w"]["m"].tolist() == [0.0, 0.0, 0.0]


def test_a_run_saves_the_same_either_way(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, do = list[int](), Background.do
    monkeypatch.setattr(Background, "do", lambda self, work: (begun.append(1), do(self, work))[1])
    words = ("trainer.save_every=2", "trainer.keep=2")
    one = train_tiny(*words, "trainer.async_save=false")
    assert not begun
    other = train_tiny(*words, "trainer.async_save=true")
    assert len(begun) >= 3
    names = {path.name for path in (one / "checkpoints").iterdir()}
    assert names == {path.name for path in (other / "checkpoints").iterdir()} != set()
    for name in names:
        saved, again = (load_checkpoint(run / "checkpoints" / name) for run in (one, other))
        assert saved.state["step"] == again.state["step"]
        assert all(torch.equal(saved.model[key], again.model[key]) for key in saved.model)
