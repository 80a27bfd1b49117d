"""What is best, what is a spike, and that both survive a checkpoint."""

from __future__ import annotations

import json
import math
import random
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from cai.symptoms.training import RECENT
from cai.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cai.trainer.progress import Progress
from tests.trainer.making import make_trainer


def watched(losses: list[float], progress: Progress | None = None) -> list[int]:
    """The steps at which a spike is told, one loss a step."""
    progress = progress or Progress()
    told = []
    for loss in losses:
        progress.step += 1
        if progress.watch(loss):
            told.append(progress.step)
    return told


def noisy(count: int, mean: float = 3.0, deviation: float = 0.05) -> list[float]:
    draw = random.Random(0)
    return [draw.gauss(mean, deviation) for _ in range(count)]


def test_a_loss_far_above_those_before_is_told_counted_and_reached() -> None:
    progress = Progress()
    assert watched([*noisy(40), 6.0, *noisy(30)], progress) == [41]
    assert progress.spikes == progress.reached()["loss_spikes"] == [41]


def test_the_sentence_has_step_loss_and_what_it_is_compared_with() -> None:
    progress = Progress(step=50, recent_losses=[2.0, 3.0] * (RECENT // 2))
    told = progress.watch(9.0)
    assert told is not None
    assert told.sentence == (
        "step 50: train/loss 9.0000 is a spike: the last 20 were 2.5000 ± 0.5000."
        " If spikes come often, lower optimizer.lr or trainer.grad_clip."
    )


@pytest.mark.parametrize("count", range(RECENT))
def test_nothing_is_told_while_there_is_too_little_to_compare_with(count: int) -> None:
    assert watched([*[3.0] * count, 1000.0]) == []


def test_after_enough_losses_the_first_spike_is_told() -> None:
    assert watched([*[3.0] * RECENT, 1000.0]) == [RECENT + 1]


def test_noise_a_falling_curve_and_small_steps_up_are_no_spikes() -> None:
    assert watched(noisy(2000)) == []
    assert watched([10 / (1 + step / 50) for step in range(500)]) == []
    assert watched([*[3.0] * 50, *[3.2] * 50]) == []  # below a tenth more, though the deviation was none


def test_a_plateau_higher_up_is_told_at_its_beginning_only() -> None:
    told = watched([*noisy(50), *noisy(500, mean=5.0)])
    assert told[0] == 51
    assert len(told) <= 3


def test_a_spike_among_those_before_does_not_hide_the_next_for_long() -> None:
    told = watched([*noisy(30), 9.0, *noisy(RECENT), 9.0])
    assert told == [31, 31 + RECENT + 1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_no_spike_and_spoils_nothing(bad: float) -> None:
    losses = noisy(30)
    assert watched([*losses, bad, bad, 9.0]) == [33]
    progress = Progress()
    watched([*losses, bad], progress)
    assert progress.recent_losses == losses[-RECENT:]


def test_memory_is_bounded() -> None:
    progress = Progress()
    watched(noisy(3000), progress)
    assert len(progress.recent_losses) == RECENT
    assert len(json.dumps(asdict(progress))) < 1000


def test_memory_is_bounded_for_a_run_that_spikes_for_ever() -> None:
    progress = Progress()
    for _ in range(150):
        watched([*noisy(RECENT), 9.0], progress)
    assert len(progress.spikes) <= 100


def test_a_copy_that_is_given_up_leaves_the_original_alone() -> None:
    progress = Progress(recent_losses=[1.0] * RECENT)
    kept = asdict(progress)
    other = Progress(**{name: getattr(progress, name) for name in kept})
    other.watch(50.0)
    other.judge(1.0)
    assert asdict(progress) == kept


def test_the_best_only_falls_and_patience_counts_since_then() -> None:
    progress = Progress()
    verdicts, counts = [], []
    for step, loss in enumerate([3.0, 2.0, 2.0, 2.5, 1.9, math.inf]):
        progress.step = step
        verdicts.append(progress.judge(loss))
        counts.append(progress.evals_without_improvement)
    assert verdicts == [True, True, False, False, True, False]
    assert counts == [0, 0, 1, 2, 0, 1]
    assert (progress.best_val_loss, progress.best_step) == (1.9, 4)


def test_everything_comes_back_from_a_checkpoint(tmp_path: Path) -> None:
    progress = Progress(
        step=7,
        tokens=10**12,
        seconds=0.1 + 0.2,
        best_val_loss=1 / 3,
        best_step=5,
        evals_without_improvement=2,
        pruned=True,
        owed={"train/loss": 0.1, "train/grad_norm": math.inf},
        recent_losses=noisy(RECENT),
        spikes=[3, 5],
        worst_loss=9.0,
        told=["stuck"],
    )
    assert all(value != getattr(Progress(), name) for name, value in asdict(progress).items()), "a new field is to be tried"
    save_checkpoint(tmp_path / "x.safetensors", Checkpoint({"w": torch.ones(1)}, state=asdict(progress) | {"other": 1}))
    assert Progress.of(load_checkpoint(tmp_path / "x.safetensors").state) == progress


def test_a_state_of_an_older_cai_takes_what_is_missing_from_a_new_start() -> None:
    assert Progress.of({"step": 4, "unknown": 1}) == Progress(step=4)


def test_a_spike_in_training_is_logged_and_reached(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_trainer(tmp_path, "trainer.log_every=1", "trainer.max_steps=30")
    original = trainer.updater.accumulate
    trainer.updater.accumulate = (  # type: ignore[method-assign]
        lambda batch, step: original(batch, step) * (5 if step == 25 else 1)
    )
    trainer.fit()
    (spike,) = [record for record in caplog.records if "is a spike" in record.getMessage()]
    assert spike.getMessage().startswith("step 26: train/loss ")
    assert trainer.reached()["loss_spikes"] == [26]
    assert load_checkpoint(trainer.checkpoints.last).state["spikes"] == [26]


def overfitting(vals: list[float], train: float) -> list[int]:
    """The evaluations after which it is said that the text is being learned by heart."""
    progress, said = Progress(), []
    for number, val in enumerate(vals):
        progress.step = number
        progress.judge(val)
        if progress.overfits({"val/loss": val, "train/loss": train}):
            said.append(number)
    return said


def test_learning_by_heart_is_told_ever_less_often() -> None:
    rising = [3.0, 2.0, *(2.1 + 0.01 * n for n in range(12))]
    assert overfitting(rising, train=1.5) == [3, 5, 9]


@pytest.mark.parametrize(
    ("vals", "train"),
    [
        ([3.0, 2.0, 1.9, 1.8], 1.0),
        ([2.0, 2.01, 2.005, 2.01, 2.01], 1.0),
        ([2.0, 2.5, 2.6, 2.7, 2.8], 2.9),
        ([2.0, 2.5], 1.0),
    ],
    ids=["falling", "level", "train is no better", "once"],
)
def test_nothing_is_told_of_what_is_no_overfitting(vals: list[float], train: float) -> None:
    assert overfitting(vals, train) == []


def test_the_advice_names_the_remedies() -> None:
    progress = Progress(step=300, best_val_loss=2.0, best_step=100, evals_without_improvement=2)
    told = progress.overfits({"val/loss": 2.5, "train/loss": 1.0})
    assert told is not None
    for word in ("2.5000", "2.0000 (step 100)", "model.dropout", "optimizer.weight_decay", "more text", "trainer.patience"):
        assert word in told.sentence
