"""The loop: what it does once in a while, and that none of it changes a loss."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from cai.errors import TrainingError
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.estimate import estimate_seconds
from cai.trainer.trainer import Trainer
from cai.trainer.update import Update
from tests.trainer.making import losses, make_trainer, metrics

GOLDEN = {1: 3.92209, 5: 3.81633, 10: 3.55626, 15: 3.36948, 20: 3.25459}
"""Train loss by step of ``make_trainer`` at 20 steps on CPU in fp32."""


def test_the_golden_curve(tmp_path: Path) -> None:
    make_trainer(tmp_path, "trainer.log_every=1").fit()
    now = {step: loss for step, loss in losses(tmp_path).items() if step in GOLDEN}
    assert now == pytest.approx(GOLDEN, rel=1e-4), (
        f"The loss curve changed: {now}. If a change to model, data order, optimizer or initialisation was meant to change"
        " it, put these numbers into GOLDEN and say so in CHANGELOG.md; otherwise the change is a bug."
    )


def test_two_equal_runs_have_equal_metrics_to_the_bit(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_trainer(tmp_path / name, "model.dropout=0.1", "trainer.eval_every=5").fit()
    for tag in ("train/loss", "train/grad_norm", "val/loss"):
        assert losses(tmp_path / "a", tag) == losses(tmp_path / "b", tag) != {}


@pytest.mark.parametrize(
    "cadence", ["trainer.eval_every=3", "trainer.sample_every=2", "trainer.save_every=1", "trainer.log_every=1"]
)
def test_no_cadence_changes_a_loss(tmp_path: Path, cadence: str) -> None:
    make_trainer(tmp_path / "plain", "model.dropout=0.2").fit()
    busy = make_trainer(tmp_path / "busy", "model.dropout=0.2", cadence)
    busy.samples = lambda: [("drawn", str(torch.rand(3)))]
    busy.fit()
    plain = losses(tmp_path / "plain")
    assert {step: loss for step, loss in losses(tmp_path / "busy").items() if step in plain} == plain


def test_the_trial_passes_before_training_change_nothing(tmp_path: Path) -> None:
    make_trainer(tmp_path / "plain", "model.dropout=0.2").fit()
    trainer = make_trainer(tmp_path / "timed", "model.dropout=0.2")
    assert estimate_seconds(trainer) > 0
    trainer.fit()
    assert losses(tmp_path / "timed") == losses(tmp_path / "plain")


def test_each_logged_step_is_one_line_with_all_its_tags(tmp_path: Path) -> None:
    make_trainer(tmp_path, "trainer.log_every=5", "trainer.eval_every=10").fit()
    lines = list(metrics(tmp_path))
    assert [line["step"] for line in lines] == [0, 5, 10, 15, 20]
    evaluation = {"val/loss", "val/bits_per_byte"}
    training = {"train/loss", "train/lr", "train/grad_norm", "perf/tokens_per_sec", "perf/memory_gib"}
    assert lines[0].keys() == {"step"} | evaluation
    assert lines[1].keys() == {"step"} | training
    assert lines[2].keys() == {"step"} | training | evaluation


def test_the_validation_loss_is_the_mean_over_all_targets_and_bits_count_bytes(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "trainer.max_steps=1")
    result = trainer.fit()
    total = count = 0.0
    for x, y in trainer.dataset.val_batches(1):
        total += float(trainer.model(torch.from_numpy(x), torch.from_numpy(y)).detach())
        count += int((y != trainer.dataset.ignore_index).sum())
    assert count == trainer.dataset.shards.val.tokens - 1
    assert result.metrics["val/loss"] == pytest.approx(total / count, rel=1e-5)
    assert result.metrics["val/bits_per_byte"] == pytest.approx(total / count / math.log(2) / 2, rel=1e-5)  # 2 bytes a token


def test_training_stops_when_validation_improves_no_more(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path, "trainer.eval_every=1", "trainer.patience=3", "trainer.max_steps=500", "optimizer.lr=1e-12"
    )
    result = trainer.fit()
    assert result.stopped_early
    assert result.step == result.best_step + 3
    assert load_checkpoint(trainer.checkpoints.last).state["step"] == result.step


def test_best_is_the_lowest_validation_loss_and_only_falls(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "trainer.eval_every=2", "optimizer.lr=0.3", "trainer.max_steps=30")
    result = trainer.fit()
    validation = losses(tmp_path, "val/loss")
    assert result.best_val_loss == min(validation.values()) < validation[30]
    assert validation[result.best_step] == result.best_val_loss
    if result.best_step:
        assert load_checkpoint(trainer.checkpoints.best).state["best_val_loss"] == result.best_val_loss


def test_epochs_become_steps(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "trainer.max_steps=null", "trainer.max_epochs=0.5", "trainer.batch_size=4")
    windows = trainer.dataset.n_windows
    assert trainer.max_steps == math.ceil(windows / 2 / 4)


def poison(trainer: Trainer, first: int) -> None:
    """Make the loss NaN from step ``first`` on."""
    original = trainer.updater.update

    def update(step: int) -> Update:
        if step == first:
            next(trainer.model.parameters()).data.fill_(math.nan)
        return original(step)

    trainer.updater.update = update  # type: ignore[method-assign]


def test_a_loss_that_is_no_number_stops_the_run_and_is_never_saved(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "trainer.save_every=1", "trainer.log_every=10")
    poison(trainer, first=6)
    with pytest.raises(TrainingError, match=r"train/loss must be a finite number, but is nan at step 7.*optimizer\.lr"):
        trainer.fit()
    saved = load_checkpoint(trainer.checkpoints.last)
    assert saved.state["step"] == 6
    assert all(torch.isfinite(tensor).all() for tensor in saved.model.values())


def test_steps_between_logs_do_not_read_from_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(tmp_path, "trainer.log_every=10", "trainer.save_every=0")
    waits: list[int] = []
    monkeypatch.setattr(type(trainer.device), "synchronize", lambda self: waits.append(trainer.progress.step))
    trainer.fit()
    assert set(waits) <= {0, 10, 20}
