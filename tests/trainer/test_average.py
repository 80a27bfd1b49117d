"""The average of the weights: what it is, and that it takes their place where the model is used and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cai import interruption
from cai.cli import main
from cai.device import Device
from cai.trained import load_trained
from cai.trainer.average import WeightAverage
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.evaluation import mean_loss
from cai.trainer.trainer import Trainer
from cai.trainer.update import Update
from tests.conftest import train_tiny
from tests.trainer.making import ask_at, computed, losses, make_trainer

AVERAGED = ("trainer.ema_decay=0.9", "trainer.eval_every=5", "trainer.log_every=1")


@pytest.fixture(autouse=True)
def _nobody_asks_to_stop() -> Iterator[None]:
    interruption.reset()
    yield
    interruption.reset()


def model_and_average(decay: float = 0.5) -> tuple[nn.Module, WeightAverage]:
    """A small model after one update, and the average over its two states; they differ in every element."""
    model = nn.Linear(3, 2).double()
    average = WeightAverage(model, decay)
    move(model)
    average.update(0)
    return model, average


def move(model: nn.Module) -> None:
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1 + torch.rand_like(p))


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys() != set()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("decay", [0.05, 0.3, 0.9, 0.999])
def test_it_is_the_moving_average_that_follows_faster_at_first(decay: float) -> None:
    model = nn.Linear(3, 2).double()
    average = WeightAverage(model, decay)
    expected = copied(model)
    for step in range(12):
        move(model)
        average.update(step)
        kept = min(decay, (1 + step) / (10 + step))
        expected = {name: kept * expected[name] + (1 - kept) * p.detach() for name, p in model.named_parameters()}
    for name, tensor in average.state().items():
        torch.testing.assert_close(tensor, expected.pop(name), rtol=1e-12, atol=0)
    assert not expected


def test_inside_the_parameters_are_the_average_and_afterwards_their_own_again() -> None:
    model, average = model_and_average()
    own, averaged = copied(model), {name: tensor.clone() for name, tensor in average.state().items()}
    parameters = list(model.parameters())
    with average.applied():
        assert_same(copied(model), averaged)
        assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))
    assert_same(copied(model), own)
    assert_same(average.state(), averaged)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, interruption.Interrupted])
def test_they_are_put_back_whatever_is_raised_inside(error: type[BaseException]) -> None:
    model, average = model_and_average()
    own = copied(model)

    def fail() -> None:
        with average.applied():
            if error is interruption.Interrupted:
                interruption.request(15)
            raise error

    with pytest.raises(error):
        fail()
    assert_same(copied(model), own)
    average.put_back()  # once more changes nothing
    assert_same(copied(model), own)


@pytest.mark.parametrize("number", [1, 2])
def test_a_wish_to_stop_that_comes_in_the_midst_of_an_exchange_leaves_no_half_of_it(number: int) -> None:
    model, average = model_and_average()
    own, averaged = copied(model), dict(average.state())
    seen = 0

    class Asking(dict[str, Tensor]):
        """Asks to stop between the first parameter of the exchange and the second."""

        def __setitem__(self, name: str, tensor: Tensor) -> None:
            nonlocal seen
            super().__setitem__(name, tensor)
            seen += 1
            if seen == 2 * number - 1:
                interruption.request(15)

    average._average = Asking(averaged)
    with average.applied():
        assert_same(copied(model), averaged)
    assert interruption.requested() == 15
    assert_same(copied(model), own)


def test_what_was_taken_is_put_in_again_without_touching_the_parameters() -> None:
    model, average = model_and_average()
    taken = {name: tensor.clone() for name, tensor in average.state().items()}
    move(model)
    average.update(1)
    own = copied(model)
    average.load(taken)
    assert_same(average.state(), taken)
    assert_same(copied(model), own)


def test_what_is_not_trained_is_not_averaged() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    assert WeightAverage(model, 0.5).state().keys() == {"weight"}


def test_without_decay_there_is_none_and_nothing_is_done() -> None:
    model, average = model_and_average(decay=0.0)
    own = copied(model)
    average.update(1)
    with average.applied():
        assert_same(copied(model), own)
    assert average.state() == {}
    average.load({})
    assert_same(copied(model), own)


def test_an_average_changes_no_training_loss(tmp_path: Path) -> None:
    for name, decay in (("without", 0.0), ("with", 0.9)):
        make_trainer(tmp_path / name, *AVERAGED, f"trainer.ema_decay={decay}", "model.dropout=0.2").fit()
    assert losses(tmp_path / "with") == losses(tmp_path / "without") != {}
    assert losses(tmp_path / "with", "val/loss") != losses(tmp_path / "without", "val/loss")


def test_the_validation_loss_and_best_are_of_the_average_and_last_goes_on_from_both(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, *AVERAGED)
    result = trainer.fit()
    assert result.best_step == trainer.max_steps
    last, best = load_checkpoint(trainer.checkpoints.last), load_checkpoint(trainer.checkpoints.best)
    assert_same(dict(last.average), dict(trainer.updater.average.state()))
    assert_same(last.model, copied(trainer.model))
    assert_same(best.model, last.average)
    assert not best.average
    own = mean_loss(trainer.updater, None)
    with trainer.updater.average.applied():
        assert result.metrics["val/loss"] == mean_loss(trainer.updater, None) != own


def sampled_weights(trainer: Trainer) -> list[dict[str, Tensor]]:
    """What the model's weights are whenever ``trainer`` makes samples."""
    seen: list[dict[str, Tensor]] = []

    def samples() -> list[tuple[str, str]]:
        seen.append(copied(trainer.model))
        return []

    trainer.samples = samples
    return seen


def test_samples_are_of_the_average(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, *AVERAGED)
    seen = sampled_weights(trainer)
    trainer.fit()
    assert_same(seen[-1], dict(trainer.updater.average.state()))


@pytest.mark.parametrize("place", ["evaluation", "sampling"])
def test_whoever_is_stopped_while_it_is_applied_saves_weights_and_average_apart(tmp_path: Path, place: str) -> None:
    whole, cut = (make_trainer(tmp_path / name, *AVERAGED, "trainer.sample_every=5") for name in ("whole", "cut"))
    whole.updater.update = stop_after(whole, 10)  # type: ignore[method-assign, assignment]
    ask_at(cut, place, 3 if place == "evaluation" else 2)  # both at step 10
    for trainer in (whole, cut):
        with pytest.raises(KeyboardInterrupt):
            trainer.fit()
    saved = load_checkpoint(cut.checkpoints.last)
    assert saved.state["step"] == 10
    assert_same(saved.model, copied(whole.model))
    assert_same(saved.average, dict(whole.updater.average.state()))
    assert computed(tmp_path / "cut")[-1]["step"] == 9


def stop_after(trainer: Trainer, steps: int) -> Callable[[int], Update]:
    """An update that is stopped at its beginning once so many steps are taken."""
    original = trainer.updater.update

    def update(step: int) -> Update:
        if step == steps:
            raise KeyboardInterrupt
        return original(step)

    return update


@pytest.mark.usefixtures("scratch")
def test_a_trained_run_is_used_with_the_average_whichever_checkpoint_is_asked_for() -> None:
    run = train_tiny("model=gpt2", "trainer.ema_decay=0.9")
    device = Device("cpu", "fp32", "", compile=False, compile_optimizer=False, threads=1, deterministic=True)
    last = load_checkpoint(run / "checkpoints" / "last.safetensors")
    best = load_checkpoint(run / "checkpoints" / "best.safetensors")
    assert not torch.equal(last.model["wte.weight"], last.average["wte.weight"])
    for name, expected in (("last", last.average), ("best", best.model)):
        assert_same(copied(load_trained(run, name, device).model), expected)
    assert main(["generate", f"run={run}", "prompt=가", "device=cpu", "generation.max_new_tokens=2"]) == 0
