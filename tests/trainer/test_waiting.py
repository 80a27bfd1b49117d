"""On a device that queues its work a step waits for nothing, unless its numbers are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from tqdm import tqdm

from cai.device import Device
from cai.tokens.batches import Arrays, TokenDataset
from cai.trainer.trainer import Trainer
from cai.trainer.update import Updater
from tests.trainer.making import QueueingDevice, make_trainer

WAITS = ("item", "tolist", "numpy", "cpu", "__float__", "__int__", "__bool__", "__index__")
"""What has a tensor's value in Python: on an accelerator each waits for all that was queued."""
QUIET = ("trainer.log_every=5", "trainer.save_every=0", "trainer.max_steps=10", "trainer.batch_size=4")


class Readings:
    """Counts what reads from the device, by name; nothing while a batch is prepared, which lies on the CPU."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.off = 0
        for name in WAITS:
            patch.setattr(Tensor, name, self._counting(name, getattr(Tensor, name)))
        original = Updater.batch

        def batch(updater: Updater, *args: Any) -> Any:
            self.off += 1
            try:
                return original(updater, *args)
            finally:
                self.off -= 1

        patch.setattr(Updater, "batch", batch)

    def _counting(self, name: str, original: Any) -> Any:
        def counting(tensor: Tensor, *args: Any, **options: Any) -> Any:
            if not self.off:
                self.seen.append(name)
            self.off += 1  # one that calls another is one
            try:
                return original(tensor, *args, **options)
            finally:
                self.off -= 1

        return counting


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    # What is done for processors alone, whose results are there at once; the devices here only say that they queue.
    monkeypatch.setattr("cai.model.decoder.places_that_count", lambda targets: slice(None))
    return Readings(monkeypatch)


@pytest.fixture
def bar() -> Iterator[tqdm[Any]]:
    with tqdm(disable=True) as one:
        yield one


def take_steps(trainer: Trainer, bar: tqdm[Any], readings: Readings, count: int) -> list[list[str]]:
    """What is read in each of so many steps."""
    trainer.meter.start(trainer.progress)
    found = []
    for _ in range(count):
        readings.seen.clear()
        trainer.progress.owed = None
        trainer._take_step(bar)
        found.append(list(readings.seen))
    return found


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("model.dropout=0.2", "trainer.micro_batch_size=1"),
        ("trainer.ema_decay=0.9", "trainer.grad_clip=0"),
        ("optimizer=muon", "model=modern", "optimizer.lr=0.01"),
        ("optimizer=lion", "trainer.gradient_checkpointing=true", "trainer.chunked_loss=true"),
        ("optimizer=sgd",),
    ],
    ids=str,
)
def test_a_step_that_logs_nothing_reads_nothing_and_one_that_logs_reads_loss_norm_and_the_guard(
    tmp_path: Path, bar: tqdm[Any], readings: Readings, options: tuple[str, ...]
) -> None:
    trainer = make_trainer(tmp_path, *QUIET, *options, device_class=QueueingDevice)
    found = take_steps(trainer, bar, readings, 10)
    assert [len(step) for step in found] == [0, 0, 0, 0, 3, 0, 0, 0, 0, 3], found
    assert sorted(found[4]) == ["__float__", "__float__", "__int__"]


def test_a_step_that_is_to_be_evaluated_or_saved_asks_the_guard_alone(
    tmp_path: Path, bar: tqdm[Any], readings: Readings
) -> None:
    often = ("trainer.log_every=20", "trainer.eval_every=3", "trainer.save_every=4")
    trainer = make_trainer(tmp_path, *QUIET, *often, device_class=QueueingDevice)
    found = take_steps(trainer, bar, readings, 5)
    assert found == [[], [], ["__int__"], ["__int__"], []]


def test_on_a_cpu_which_has_nothing_to_wait_for_every_step_is_looked_at(
    tmp_path: Path, bar: tqdm[Any], readings: Readings
) -> None:
    found = take_steps(make_trainer(tmp_path, *QUIET), bar, readings, 2)
    assert found == [["__bool__"], ["__bool__"]]


def test_an_evaluation_reads_from_the_device_once(tmp_path: Path, readings: Readings) -> None:
    trainer = make_trainer(tmp_path, *QUIET, "trainer.micro_batch_size=2", device_class=QueueingDevice)
    batches = len(list(trainer.dataset.val_batches(4)))
    assert batches > 3
    trainer._settle({})
    assert readings.seen == ["tolist"]


class Noting(TokenDataset):
    """Notes which steps it is asked for."""

    asked: list[int]

    def batch(self, step: int, batch_size: int) -> Arrays:
        self.asked = [*getattr(self, "asked", []), step]
        return super().batch(step, batch_size)


def noting(folder: Path, device_class: type[Any]) -> tuple[Trainer, Noting, list[int]]:
    """A trainer, its dataset, and how many batches had been asked for when the optimizer took each step."""
    trainer = make_trainer(folder, *QUIET, dataset_class=Noting, device_class=device_class)
    assert isinstance(trainer.dataset, Noting)
    dataset, counts = trainer.dataset, list[int]()
    trainer.optimizer.register_step_post_hook(lambda *_: counts.append(len(dataset.asked)))
    return trainer, dataset, counts


def test_the_next_batch_is_prepared_while_the_device_works(tmp_path: Path) -> None:
    trainer, dataset, counts = noting(tmp_path, QueueingDevice)
    for step in range(3):
        trainer.updater.update(step)
    assert dataset.asked == [0, 1, 2, 3]  # each once
    assert counts == [1, 2, 3]  # the next one only after everything of this step is queued


def test_on_a_cpu_no_batch_is_prepared_ahead(tmp_path: Path) -> None:
    trainer, dataset, _ = noting(tmp_path, Device)
    for step in range(3):
        trainer.updater.update(step)
    assert dataset.asked == [0, 1, 2]


@pytest.mark.parametrize("order", [[0, 1, 2], [4, 2, 3], [5, 5, 5], [1, 0, 1]])
def test_a_step_learns_from_its_own_batch_in_whatever_order_it_comes(tmp_path: Path, order: list[int]) -> None:
    ahead, plain = (
        make_trainer(tmp_path / name, *QUIET, device_class=kind)
        for name, kind in (("ahead", QueueingDevice), ("plain", Device))
    )
    for step in order:
        assert torch.equal(ahead.updater.update(step).loss, plain.updater.update(step).loss)


def test_a_run_on_such_a_device_computes_the_same(tmp_path: Path) -> None:
    trainers = [
        make_trainer(tmp_path / name, "trainer.eval_every=5", "model.dropout=0.2", device_class=kind)
        for name, kind in (("queues", QueueingDevice), ("plain", Device))
    ]
    results = [trainer.fit() for trainer in trainers]
    assert results[0].best_val_loss == results[1].best_val_loss
    for one, other in zip(*(trainer.model.parameters() for trainer in trainers), strict=True):
        assert torch.equal(one, other)
