"""A trainer that goes on from any of its checkpoints ends where one that was never stopped does, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from cai import interruption
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.folder import CheckpointFolder
from cai.trainer.trainer import Trainer
from cai.trainer.update import Batch
from tests.trainer.making import (
    ask_at,
    assert_equal,
    computed,
    draw_everywhere,
    draw_in_samples,
    losses,
    make_trainer,
    reached,
    records_of,
    take_up,
)

STEPS = 12
EACH = (
    f"trainer.max_steps={STEPS}",
    "trainer.log_every=1",
    "trainer.save_every=1",
    "trainer.keep=20",
    "trainer.batch_size=2",
    "trainer.sample_every=3",
)
PATIENCE = (
    "trainer.eval_every=1",
    "trainer.patience=3",
    "trainer.eval_max_tokens=200",
    "trainer.grad_clip=0",
    "optimizer.lr=0.07",
    "schedule=constant",
    "schedule.warmup_steps=6",
)
"""Improves, worsens, improves, and stops before its last step."""
Change = Callable[[Trainer], object]


def draw_everywhere_and_in_samples(trainer: Trainer) -> None:
    draw_everywhere(trainer.model)
    draw_in_samples(trainer)


CASES: dict[str, tuple[tuple[str, ...], Change]] = {
    "dropout and evaluations": (("model.dropout=0.2", "trainer.eval_every=2"), lambda trainer: None),
    "patience": (PATIENCE, lambda trainer: None),
    "draws in the model": (("model.dropout=0.2", "trainer.eval_every=2"), draw_everywhere_and_in_samples),
    "draws in samples": (("trainer.sample_every=1",), draw_in_samples),
    "average": (("model.dropout=0.2", "trainer.eval_every=2", "trainer.ema_decay=0.9"), lambda trainer: None),
}


@pytest.fixture(autouse=True)
def _nobody_asks_to_stop() -> Iterator[None]:
    interruption.reset()
    yield
    interruption.reset()


def make(folder: Path, case: str, *overrides: str) -> Trainer:
    chosen, change = CASES[case]
    trainer = make_trainer(folder, *EACH, *chosen, *overrides)
    change(trainer)
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_whoever_goes_on_from_any_step_ends_as_if_never_stopped(tmp_path: Path, case: str) -> None:
    whole = make(tmp_path / "whole", case)
    result = whole.fit()
    kept = sorted(whole.checkpoints.path.glob("step_*"))
    assert [load_checkpoint(path).state["step"] for path in kept] == list(range(1, result.step + 1))
    for path in kept[:-1]:
        folder = records_of(tmp_path / "whole", tmp_path / path.stem)
        trainer = take_up(make(folder, case, "trainer.save_every=0"), path)
        trainer.samples()  # what is drawn before it begins makes no difference
        again = trainer.fit()
        assert (again.step, again.stopped_early) == (result.step, result.stopped_early)
        assert (again.best_step, again.best_val_loss) == (result.best_step, result.best_val_loss)
        assert_equal(folder, tmp_path / "whole")


def test_a_run_that_had_ended_goes_on_to_nothing(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", "patience")
    ended = whole.fit()
    assert 0 < ended.best_step < ended.step < STEPS
    before = computed(tmp_path / "whole")
    again = take_up(make(tmp_path / "whole", "patience"), whole.checkpoints.last).fit()
    assert again == ended
    assert computed(tmp_path / "whole") == before


def test_without_the_random_states_a_model_that_draws_would_part(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", "draws in the model")
    whole.fit()
    path = whole.checkpoints.path / "step_00000006.safetensors"
    trainer = take_up(make(tmp_path / "other", "draws in the model"), path)
    trainer._random = None
    trainer.fit()
    assert losses(tmp_path / "other")[7] != losses(tmp_path / "whole")[7]


@pytest.mark.parametrize("cadence", ["eval_every=1", "sample_every=1", "save_every=1", "log_every=2"])
def test_no_cadence_changes_a_loss_of_a_model_that_draws(tmp_path: Path, cadence: str) -> None:
    rare = ("trainer.eval_every=0", "trainer.sample_every=0", "trainer.save_every=0", "trainer.log_every=4")
    make(tmp_path / "rare", "draws in the model", *rare).fit()
    make(tmp_path / "busy", "draws in the model", *rare, f"trainer.{cadence}").fit()
    expected = losses(tmp_path / "rare")
    assert expected.keys() == {4, 8, 12}
    assert {step: loss for step, loss in losses(tmp_path / "busy").items() if step in expected} == expected
    states = [reached(tmp_path / name / "checkpoints" / "last.safetensors") for name in ("rare", "busy")]
    for key in ("python", "numpy", "torch", "wte.weight", "wte.weight.exp_avg"):
        assert states[0][key] == states[1][key]


def test_raised_max_steps_go_on_from_the_end(tmp_path: Path) -> None:
    short = make(tmp_path, "dropout and evaluations", "trainer.max_steps=7", "schedule=constant")
    short.fit()
    longer = take_up(make(tmp_path, "dropout and evaluations", "schedule=constant"), short.checkpoints.last)
    assert longer.fit().step == STEPS
    assert [line["step"] for line in computed(tmp_path)] == list(range(STEPS + 1))


def fit_interrupted(folder: Path, case: str, place: str, count: int, *overrides: str) -> Path | None:
    """Go on with the run in ``folder`` until it is asked to stop. The checkpoint to go on from; ``None`` if it ended."""
    found = CheckpointFolder(folder / "checkpoints").newest()
    trainer = make(folder, case, *overrides)
    trainer.recorder.go_on(trainer.restore(found) if found else None)
    ask_at(trainer, place, count)
    try:
        trainer.fit()
    except interruption.Interrupted:
        assert trainer.reached()["steps"] == trainer.progress.step
        return trainer.checkpoints.last
    finally:
        interruption.reset()
    return None


@pytest.mark.slow
@pytest.mark.parametrize("case", ["draws in the model", "patience", "average"])
@pytest.mark.parametrize("place", ["evaluation", "sampling", "update", "records", "save"])
def test_whoever_is_asked_to_stop_anywhere_goes_on_without_gap_or_double(tmp_path: Path, place: str, case: str) -> None:
    seldom = ("trainer.save_every=5", "trainer.log_every=2")
    make(tmp_path / "whole", case, *seldom).fit()
    count = stops = 0
    first = 2 if case == "patience" else 3
    for count in [1, 2] if place == "save" else range(first, 30, 2):
        folder = tmp_path / str(count)
        folder.mkdir()
        if fit_interrupted(folder, case, place, count, *seldom) is None:
            break
        stops += 1
        assert fit_interrupted(folder, case, place, 0, *seldom) is None
        assert_equal(folder, tmp_path / "whole")
    assert stops >= {"save": 1, "sampling": 1}.get(place, 2)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["draws in the model", "patience"])
def test_a_run_stopped_at_every_step_and_at_every_evaluation_still_comes_to_its_end(tmp_path: Path, case: str) -> None:
    make(tmp_path / "whole", case, "trainer.save_every=0").fit()
    (folder := tmp_path / "cut").mkdir()
    for turn in range(60):
        place, count = (("update", 2), ("evaluation", 1), ("records", 2))[turn % 3]
        if fit_interrupted(folder, case, place, count, "trainer.save_every=0") is None:
            break
    assert turn > 8
    assert_equal(folder, tmp_path / "whole")


def test_an_evaluation_that_was_abandoned_is_owed_by_the_checkpoint(tmp_path: Path) -> None:
    trainer = make(tmp_path, "patience", "trainer.save_every=0")
    ask_at(trainer, "evaluation", 3)  # of steps 0, 1 and 2
    with pytest.raises(interruption.Interrupted):
        trainer.fit()
    saved = load_checkpoint(trainer.checkpoints.last).state
    assert saved["step"] == 2
    assert saved["owed"].keys() >= {"train/loss", "train/lr", "train/grad_norm"}
    assert [line["step"] for line in computed(tmp_path)] == [0, 1]
    assert saved["evals_without_improvement"] == trainer.progress.evals_without_improvement


def fit_and_ask_in_step_seven(trainer: Trainer, place: str) -> None:
    """Stop ``trainer`` in update number 7, late enough that it is given up between two micro-batches, or at its end."""
    original = trainer.updater.accumulate

    def accumulate(batch: Batch, step: int) -> torch.Tensor:
        if step != 7:
            return original(batch, step)
        handle = trainer.model.register_forward_hook(lambda *_: interruption.request(15))
        try:
            return original(batch, step)
        finally:
            handle.remove()

    trainer.updater.accumulate = accumulate  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interruption, "PATIENCE", -1.0 if place == "between" else 100.0)
        with pytest.raises(interruption.Interrupted):
            trainer.fit()
    interruption.reset()
    trainer.updater.accumulate = original  # type: ignore[method-assign]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "place"),
    [
        ("dropout and evaluations", "between"),
        ("draws in the model", "end"),
        ("draws in the model", "between"),
    ],
)
def test_a_step_that_was_given_up_is_taken_anew(tmp_path: Path, case: str, place: str) -> None:
    cut = ("trainer.micro_batch_size=1", "trainer.save_every=0")
    make(tmp_path / "whole", case, *cut).fit()
    trainer = make(tmp_path / "cut", case, *cut)
    fit_and_ask_in_step_seven(trainer, place)
    assert load_checkpoint(trainer.checkpoints.last).state["step"] == (7 if place == "between" else 8)
    take_up(make(tmp_path / "cut", case, *cut), trainer.checkpoints.last).fit()
    assert_equal(tmp_path / "cut", tmp_path / "whole")


def test_a_trainer_that_was_restored_and_interrupted_goes_on_in_the_same_process(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", "draws in the model")
    whole.fit()
    folder = records_of(tmp_path / "whole", tmp_path / "other")
    path = whole.checkpoints.path / "step_00000003.safetensors"
    trainer = take_up(make(folder, "draws in the model"), path)
    fit_and_ask_in_step_seven(trainer, "end")
    trainer.fit()
    assert_equal(folder, tmp_path / "whole")
