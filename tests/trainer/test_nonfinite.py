"""A number that goes wrong is told with all that helps, and harms nothing that was good."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cai.errors import TrainingError
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.nonfinite import FiniteGuard
from cai.trainer.trainer import Trainer
from cai.trainer.update import Batch
from tests.trainer.making import assert_equal, computed, make_trainer, records_of, take_up

SKIP = ("trainer.on_nonfinite=skip", "trainer.log_every=1", "trainer.save_every=1", "trainer.keep=30")
NAMES = ["a", "b", "c", "d", "e", "f", "g"]
NAN, INF = math.nan, math.inf


def spoil(trainer: Trainer, steps: set[int], value: float = NAN, parameter: str | None = None) -> None:
    """Make the loss of these steps ``value``; with ``parameter`` the gradient of that one instead."""
    original = trainer.updater.accumulate

    def accumulate(batch: Batch, step: int) -> Tensor:
        loss = original(batch, step)
        if step not in steps:
            return loss
        if parameter is None:
            return loss * value
        gradient = trainer.model.get_parameter(parameter).grad
        assert gradient is not None
        gradient.view(-1)[0] = value
        return loss

    trainer.updater.accumulate = accumulate  # type: ignore[method-assign]


def everything(trainer: Trainer) -> list[Tensor]:
    """Weights and optimizer state, copied."""
    states = [value for state in trainer.optimizer.state.values() for value in state.values()]
    return [tensor.detach().clone() for tensor in (*trainer.model.parameters(), *states)]


@pytest.mark.parametrize(
    ("value", "parameter", "said"),
    [
        (NAN, None, "train/loss must be a finite number, but is nan"),
        (INF, None, "train/loss must be a finite number, but is inf"),
        (NAN, "h.0.mlp.c_fc.bias", "train/grad_norm must be a finite number, but is nan"),
        (-INF, "h.0.mlp.c_fc.bias", "train/grad_norm must be a finite number, but is inf"),
    ],
)
def test_training_stops_before_the_weights_are_touched(
    tmp_path: Path, value: float, parameter: str | None, said: str
) -> None:
    trainer = make_trainer(tmp_path, "trainer.log_every=20", "trainer.save_every=2")
    for step in range(3):
        trainer.updater.update(step)
    before = everything(trainer)
    spoil(trainer, {3}, value, parameter)
    with pytest.raises(TrainingError, match=f"^{said} at step 4"):
        trainer.updater.update(3)
    assert all(torch.equal(*pair) for pair in zip(everything(trainer), before, strict=True))


def test_the_message_has_step_batch_rate_largest_gradients_and_remedies(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "schedule=constant", "schedule.warmup_steps=10")
    spoil(trainer, {4}, NAN, "wpe.weight")
    with pytest.raises(TrainingError) as raised:
        trainer.fit()
    said = str(raised.value)
    assert trainer.dataset.locate(4, 4) in said
    assert "at step 5. Its batch: 4 windows from position 16 of epoch 0, which begin at tokens" in said
    assert "Learning rate 0.005." in said
    assert "Largest gradients: wpe.weight nan, " in said
    assert said.split("Largest gradients: ")[1].split(". Lower")[0].count(", ") == 4
    for remedy in ("Lower optimizer.lr", "schedule.warmup_steps", "trainer.grad_clip=1.0", "trainer.on_nonfinite=skip"):
        assert remedy in said
    assert said.endswith("Checkpoints saved before are intact.")


def test_the_last_checkpoint_is_the_last_good_one(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "trainer.save_every=2")
    spoil(trainer, {7})
    with pytest.raises(TrainingError):
        trainer.fit()
    saved = load_checkpoint(trainer.checkpoints.last)
    assert saved.state["step"] == 6
    good = make_trainer(tmp_path / "good", "trainer.save_every=2", "trainer.keep=30")
    good.fit()
    expected = load_checkpoint(good.checkpoints.path / "step_00000006.safetensors").model
    assert all(torch.equal(tensor, expected[name]) for name, tensor in saved.model.items())


@pytest.mark.parametrize("parameter", [None, "ln_f.weight"])
def test_skip_passes_over_the_update_and_leaves_all_as_it_was(
    tmp_path: Path, parameter: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(tmp_path, "trainer.on_nonfinite=skip", "trainer.max_skipped=2")
    for step in range(3):
        trainer.updater.update(step)
    before = everything(trainer)
    spoil(trainer, {3, 4}, INF, parameter)
    for step in (3, 4):
        trainer.updater.update(step)
    assert all(torch.equal(*pair) for pair in zip(everything(trainer), before, strict=True))
    assert all(p.grad is None for p in trainer.model.parameters())
    assert trainer.reached()["skipped_updates"] == 2
    what = "train/grad_norm" if parameter else "train/loss"
    assert f"step 4: update passed over, as {what} is not finite (1 of at most 2, trainer.max_skipped)" in caplog.text
    trainer.updater.update(5)
    assert not torch.equal(everything(trainer)[0], before[0])


def test_skip_stops_after_as_many_as_allowed(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, *SKIP, "trainer.max_skipped=3")
    spoil(trainer, {2, 5, 6, 9})
    with pytest.raises(TrainingError, match=r"nan at step 10\. 3 such updates were passed over before") as raised:
        trainer.fit()
    assert "on_nonfinite=skip" not in str(raised.value)
    assert trainer.reached()["skipped_updates"] == 3
    assert load_checkpoint(trainer.checkpoints.last).state["step"] == 9


def test_the_record_of_a_skipped_step_is_valid_json_without_a_loss(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, *SKIP)
    spoil(trainer, {4})
    trainer.fit()
    lines = [json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line.get("train/loss", 0) is None] == [5]
    assert trainer.progress.recent_losses == [line["train/loss"] for line in lines if line.get("train/loss")]


@pytest.mark.parametrize("step", [3, 5, 7])
def test_the_count_of_skipped_updates_survives_going_on(tmp_path: Path, step: int) -> None:
    bad = {2, 4, 8}
    whole = make_trainer(tmp_path / "whole", *SKIP)
    spoil(whole, bad)
    whole.fit()
    folder = records_of(tmp_path / "whole", tmp_path / "other")
    trainer = make_trainer(folder, *SKIP)
    spoil(trainer, bad)
    take_up(trainer, whole.checkpoints.path / f"step_{step:08d}.safetensors")
    assert trainer.reached()["skipped_updates"] == sum(number < step for number in bad)
    trainer.fit()
    assert trainer.reached()["skipped_updates"] == 3
    assert_equal(folder, tmp_path / "whole")


def test_whoever_goes_on_just_before_a_skipped_step_records_the_same(tmp_path: Path) -> None:
    whole = make_trainer(tmp_path / "whole", *SKIP)
    spoil(whole, {6})
    whole.fit()
    folder = records_of(tmp_path / "whole", tmp_path / "other")
    trainer = make_trainer(folder, *SKIP)
    spoil(trainer, {6})
    take_up(trainer, whole.checkpoints.path / "step_00000006.safetensors").fit()
    assert computed(folder) == computed(tmp_path / "whole")


def guard(*, skip: bool = False, waits: bool = False, scaled: bool = False, max_skipped: int = 2) -> FiniteGuard:
    return FiniteGuard(NAMES, on_nonfinite="skip" if skip else "stop", max_skipped=max_skipped, waits=waits, scaled=scaled)


def look(guard: FiniteGuard, step: int, loss: float = 1.0, *norms: float) -> bool:
    values = torch.tensor([*norms, *range(len(NAMES) - len(norms))], dtype=torch.float32)
    return guard.admits(step, torch.tensor(loss), values.norm(), values, lambda number: f"<{number}>")


def told(guard: FiniteGuard) -> str:
    with pytest.raises(TrainingError) as raised:
        guard.check(lambda number: f"<{number}>")
    return str(raised.value)


def test_gradients_are_named_nan_first_then_infinite_then_by_size() -> None:
    with pytest.raises(TrainingError, match=r"<8> Largest gradients: b nan, d inf, f 9, g 4, e 3\. Lower"):
        look(guard(), 8, 1.0, 2.0, NAN, 0.5, INF, 3.0, 9.0, 4.0)


def test_on_an_accelerator_the_first_bad_step_is_told_at_the_next_check() -> None:
    one = guard(waits=True)
    one.check(str)
    assert look(one, 3)
    one.check(str)
    assert look(one, 4, 1.0, 5.0, NAN)
    assert look(one, 5, NAN, NAN, NAN, NAN)
    assert look(one, 6)
    said = told(one)
    assert said.startswith(
        "train/grad_norm must be a finite number, but is nan at step 5. <4> Largest gradients: b nan, a 5"
    )
    assert told(one) == said


def test_on_an_accelerator_skip_decides_at_every_step() -> None:
    one = guard(waits=True, skip=True)
    assert [look(one, step, loss) for step, loss in enumerate((1.0, NAN, 1.0, INF))] == [True, False, True, False]
    one.check(str)
    with pytest.raises(TrainingError, match="2 such updates"):
        look(one, 4, NAN)


def test_on_an_accelerator_nothing_is_read_from_the_device_before_the_check() -> None:
    one = guard(waits=True)
    loss, norms = torch.empty((), device="meta"), torch.empty(len(NAMES), device="meta")  # reading from it is an error
    for step in range(3):
        assert one.admits(step, loss, norms[0], norms, str)


@pytest.mark.parametrize("waits", [False, True])
def test_under_loss_scaling_an_infinite_gradient_is_normal_but_no_loss_that_is_nan(waits: bool) -> None:
    one = guard(waits=waits, scaled=True)
    assert look(one, 0, 1.0, INF, NAN)
    one.check(str)
    said = ""
    try:
        look(one, 1, NAN)
    except TrainingError as error:
        said = str(error)
    assert (said or told(one)).startswith("train/loss must be a finite number, but is nan at step 2")
    assert bool(said) is not waits


@pytest.mark.parametrize("bad", [False, True])
def test_on_an_accelerator_a_part_of_the_model_may_be_without_gradient_at_times(tmp_path: Path, bad: bool) -> None:
    trainer = make_trainer(tmp_path, "trainer.log_every=20")
    trainer.updater.guard.at_once = False
    spoil(trainer, {2} if bad else set(), NAN, "ln_f.weight")
    original = trainer.updater.accumulate

    def accumulate(batch: Batch, step: int) -> Tensor:
        loss = original(batch, step)
        if step % 2:
            trainer.model.get_parameter("wpe.weight").grad = None
        return loss

    trainer.updater.accumulate = accumulate  # type: ignore[method-assign]
    for step in range(4):
        trainer.updater.update(step)
    said = r"nan at step 3.*Largest gradients: ln_f\.weight nan, "
    with pytest.raises(TrainingError, match=said) if bad else nullcontext():
        trainer.updater.guard.check(trainer.updater.circumstances)
