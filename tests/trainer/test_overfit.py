"""One batch learned again and again: always the same, as a pure function of the step, and judged at the end."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest

import cai
from cai.changes import refusals_on_resuming
from cai.errors import TrainingError
from cai.trainer.by_heart import NEAR_ZERO, loss_of_batches
from tests.conftest import train_tiny
from tests.trainer.making import losses, make_trainer, records_of, take_up
from tests.trainer.test_nonfinite import spoil

ONE = ("trainer.overfit_batches=1", "trainer.max_steps=60", "optimizer.lr=0.03", "model.n_embd=32")


def batches(folder: Path, count: int, *overrides: str) -> list[bytes]:
    """The batches of the first steps, as bytes."""
    updater = make_trainer(folder, *overrides).updater
    return [b"".join(np.asarray(each).tobytes() for each in updater.batch(step).inputs) for step in range(count)]


@pytest.mark.parametrize("repeated", [1, 3])
def test_the_first_batches_come_again_in_turn(tmp_path: Path, repeated: int) -> None:
    plain = batches(tmp_path, 8)
    assert len(set(plain)) == 8
    again = batches(tmp_path, 8, f"trainer.overfit_batches={repeated}")
    assert again == [plain[step % repeated] for step in range(8)]


def test_one_batch_is_learned_by_heart_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    trainer = make_trainer(tmp_path, *ONE)
    trainer.fit()
    assert losses(tmp_path)[60] < NEAR_ZERO
    (said,) = (record.message for record in caplog.records if "by heart" in record.message)
    loss = re.search(r"the loss of one batch is (\d\.\d+)\. The model can learn", said)
    assert loss
    assert float(loss[1]) == pytest.approx(loss_of_batches(trainer.updater, 1), abs=1e-4)


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["optimizer.lr=1e-6"], "Look at optimizer.lr=1e-06 (`cai inspect lr` finds the rates that work)"),
        (["model.dropout=0.5", "trainer.max_steps=20"], "Take model.dropout=0,"),
    ],
)
def test_what_is_not_learned_by_heart_has_a_remedy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, overrides: list[str], remedy: str
) -> None:
    make_trainer(tmp_path, *ONE, *overrides).fit()
    (said,) = (record.message for record in caplog.records if "again and again" in record.message)
    assert "must come near zero (below 0.1), but is " in said
    assert remedy in said


def test_of_all_of_the_text_nothing_is_said_and_nothing_repeated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    make_trainer(tmp_path, "trainer.max_steps=4").fit()
    assert not [record for record in caplog.records if "by heart" in record.message or "again" in record.message]


def test_it_is_gone_on_with_to_the_bit(tmp_path: Path) -> None:
    options = ("trainer.overfit_batches=3", "trainer.max_steps=8", "trainer.log_every=1", "trainer.keep=9")
    whole = make_trainer(tmp_path / "whole", *options, "trainer.save_every=4")
    whole.fit()
    folder = records_of(tmp_path / "whole", tmp_path / "part")
    part = make_trainer(folder, *options)
    take_up(part, whole.checkpoints.path / "step_00000004.safetensors")
    part.fit()
    assert losses(folder) == losses(tmp_path / "whole")
    assert len(losses(folder)) == 8


def test_a_bad_batch_is_named_by_where_it_lies(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "trainer.overfit_batches=2")
    spoil(trainer, {5})
    with pytest.raises(TrainingError) as raised:
        trainer.fit()
    assert trainer.dataset.locate(1, 4) in str(raised.value)


def test_validation_that_rises_is_no_news_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = (*ONE, "trainer.eval_every=10", "trainer.log_every=10")
    make_trainer(tmp_path / "one", *options).fit()
    val = losses(tmp_path / "one", "val/loss")
    assert val[60] > 1.1 * min(val.values())  # it would be told otherwise
    assert not [record for record in caplog.records if "val/loss" in record.message]


@pytest.mark.slow
def test_the_plan_counts_no_epochs_and_advises_none(scratch: Path) -> None:
    plain, again = ((train_tiny(option) / "train.log").read_text() for option in ("seed=1", "trainer.overfit_batches=1"))
    assert "epochs are usual" in plain
    assert "epochs" not in again
    assert "(4 x 32), the first 1 again and again (trainer.overfit_batches)" in again


def test_the_preset_repeats_one_batch_and_leaves_rate_and_schedule_to_the_user() -> None:
    words = ["trainer=overfit", "optimizer=adamw", "optimizer.lr=0.002", "schedule=wsd"]
    config = cai.compose(words)
    assert config.trainer.overfit_batches == 1
    assert (config.optimizer.lr, config.trainer.answers, config.trainer.eval_every) == (0.002, 0, 0)


def test_on_resuming_a_look_may_be_switched_on_but_the_batches_stay() -> None:
    saved = cai.compose([])
    looks = {"trainer.profile": (False, True), "trainer.detect_anomaly": (False, True)}
    assert refusals_on_resuming(looks, saved) == []
    (refused,) = refusals_on_resuming({"trainer.overfit_batches": (0, 1)}, saved)
    assert refused.startswith("`trainer.overfit_batches` must stay 0 as in the run, but is 1.")
