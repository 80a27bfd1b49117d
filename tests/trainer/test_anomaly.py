"""The operation in which a number ceases to be one is named, by a repetition of the update that changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cai.errors import TrainingError
from cai.model.passes import rms_norm
from cai.trainer.anomaly import origin_of
from cai.trainer.trainer import Trainer
from tests.trainer.making import QueueingDevice, computed, draw_everywhere, make_trainer

ON = "trainer.detect_anomaly=true"


class Wrapped(nn.Module):
    """What ``inside`` computes, changed by a function; in evaluation, and before step ``begins``, left as it is."""

    def __init__(self, inside: nn.Module, change: Callable[[Tensor], Tensor], begins: int) -> None:
        super().__init__()
        self.inside, self.change, self.calls, self.begins = inside, change, 0, begins

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inside(x)
        self.calls += self.training
        return self.change(out) if self.calls > self.begins else out


def root_of_nothing(x: Tensor) -> Tensor:
    """A gradient of 0 / 0; the value itself is left as it is."""
    return x + (x * 0).sqrt() * 0


def log_of_nothing(x: Tensor) -> Tensor:
    """A value that is no number."""
    return x + (x * 0 - 1).log()


def endless(x: Tensor) -> Tensor:
    """A gradient of 1e60, which is infinite."""
    return x + (x - x.detach()) * 1e30 * 1e30


def spoiled(folder: Path, change: Callable[[Tensor], Tensor], *overrides: str, **options: Any) -> Trainer:
    """A trainer that goes wrong in update number 3, in its feed-forward part."""
    trainer = make_trainer(folder, "trainer.micro_batch_size=4", "trainer.log_every=1", *overrides, **options)
    block = trainer.model.get_submodule("h.0")
    block.add_module("mlp", Wrapped(block.get_submodule("mlp"), change, 3))
    trainer.updater.guard.names = [name for name, _ in trainer.model.named_parameters()]
    return trainer


def failure(trainer: Trainer) -> str:
    with pytest.raises(TrainingError) as raised:
        trainer.fit()
    return str(raised.value)


@pytest.mark.parametrize("queues", [False, True])
def test_the_gradient_that_is_no_number_is_named(tmp_path: Path, queues: bool) -> None:
    options = {"device_class": QueueingDevice} if queues else {}
    said = failure(spoiled(tmp_path, root_of_nothing, ON, **options))
    assert said.startswith("train/grad_norm must be a finite number, but is nan at step 4.")
    assert re.search(
        r"It begins on the way back, in SqrtBackward0, of \S*test_anomaly\.py:\d+, in root_of_nothing:"
        r" return x \+ \(x \* 0\)\.sqrt\(\) \* 0 \(the gradient has come back to the output of `h\.0\.mlp`\)\.",
        said,
    )


def test_the_value_that_is_no_number_is_named_where_it_comes_about(tmp_path: Path) -> None:
    said = failure(spoiled(tmp_path, log_of_nothing, ON))
    assert said.startswith("train/loss must be a finite number, but is nan at step 4.")
    place = r"torch\.Tensor\.log of `h\.0\.mlp`: \S*test_anomaly\.py:\d+, in log_of_nothing: return x \+ \(x \* 0 - 1\)\.log"
    assert re.search(f"It begins on the way forward, in {place}", said)


def test_a_gradient_that_is_infinite_is_followed_to_its_module(tmp_path: Path) -> None:
    said = failure(spoiled(tmp_path, endless, ON))
    assert said.startswith("train/grad_norm must be a finite number, but is ")
    assert re.search(r"the gradient that comes back to the output of `h\.0\.mlp\.inside\S*` is infinite", said)


def test_weights_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, ON)
    with torch.no_grad():
        trainer.model.get_parameter("wpe.weight")[0, 0] = torch.nan
    assert "Before this update already, weights were no finite numbers: wpe.weight." in origin_of(trainer.updater, 0)


def test_what_cannot_be_repeated_is_not_blamed_on_an_operation(tmp_path: Path) -> None:
    assert origin_of(make_trainer(tmp_path).updater, 0).endswith("it cannot be repeated.")


def test_without_the_option_no_operation_is_named(tmp_path: Path) -> None:
    assert "It begins" not in failure(spoiled(tmp_path, root_of_nothing))


@pytest.mark.parametrize("model", ["model=modern_nano", "model=gpt2"])
def test_no_loss_differs_and_nothing_stays_switched_on(tmp_path: Path, model: str) -> None:
    for name, options in {"plain": [], "watched": [ON]}.items():
        make_trainer(tmp_path / name, model, "model.n_head=1", "model.dropout=0.1", "trainer.log_every=1", *options).fit()
    assert computed(tmp_path / "plain") == computed(tmp_path / "watched")
    assert not torch.is_anomaly_enabled()


def test_updates_that_are_passed_over_are_named_and_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    skip = ("trainer.on_nonfinite=skip", "trainer.max_steps=6", "trainer.eval_every=2")
    for name, options in {"plain": [], "watched": [ON]}.items():
        caplog.clear()
        trainer = make_trainer(tmp_path / name, *skip, "trainer.log_every=1", *options)
        draw_everywhere(trainer.model)  # a repetition that drew for itself would be seen in all that follows
        wound(trainer, {2, 4})
        trainer.fit()
    assert [str(line) for line in computed(tmp_path / "plain")] == [str(line) for line in computed(tmp_path / "watched")]
    named = [record.message for record in caplog.records if "It begins" in record.message]
    assert len(named) == 2
    assert all("SqrtBackward0" in sentence for sentence in named)
    assert not torch.is_anomaly_enabled()
    assert not any(module._forward_pre_hooks for module in trainer.model.modules())


def wound(trainer: Trainer, steps: set[int]) -> None:
    """Spoil the gradient of these steps, whenever they are computed."""
    original, bad = trainer.updater.accumulate, [False]
    ln = trainer.model.get_submodule("ln_f")
    ln.register_forward_hook(lambda module, args, out: root_of_nothing(out) if bad[0] else None)

    def accumulate(batch: object, step: int) -> Tensor:
        bad[0] = step in steps
        return original(batch, step)  # type: ignore[arg-type]

    trainer.updater.accumulate = accumulate  # type: ignore[method-assign]


def test_cais_own_functions_have_sensible_names(tmp_path: Path) -> None:
    def tiny(x: Tensor) -> Tensor:
        """Each divides the gradient by 1e-19: it becomes infinite, and then no number."""
        zero = x * 0
        for _ in range(4):
            zero = rms_norm(zero, 1e-38)
        return x + zero

    said = failure(spoiled(tmp_path, tiny, ON))
    assert re.search(r"in RMSNormBackward, of \S*cai/model/passes\.py:\d+, in rms_norm: ", said)
