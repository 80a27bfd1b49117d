"""Optimizer state goes by name, whatever the optimizer keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cai.errors import RunError
from cai.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cai.trainer.state import load_optimizer, take_groups, take_optimizer, take_weights
from cai.trainer.trainer import Trainer
from tests.trainer.making import assert_equal, losses, make_trainer, records_of, take_up

Named = Iterable[tuple[str, nn.Parameter]]


class Peculiar(torch.optim.Optimizer):
    """Keeps a counter, a number and a flag that are no tensors, and momentum in fp32 whatever the weights are."""

    def __init__(self, named: Named) -> None:
        super().__init__(list(named), {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    momentum = torch.zeros_like(parameter, dtype=torch.float32)
                    state |= {
                        "count": 0,
                        "scale": 1.0,
                        "warm": False,
                        "momentum": momentum,
                        "steps": torch.tensor(2**24 + 1),
                    }
                state["count"] += 1
                state["scale"] /= 1.1
                state["warm"] = state["count"] > 3
                state["steps"] += 1
                state["momentum"].mul_(0.9).add_(parameter.grad.float())
                parameter.sub_((group["lr"] * state["scale"] * state["momentum"] / state["count"]).to(parameter.dtype))


class CountsInItsGroup(torch.optim.SGD):
    """Keeps its counter beside its options, as schedule-free optimizers and Prodigy do."""

    def __init__(self, named: Named) -> None:
        super().__init__(list(named), lr=0.1)
        self.param_groups[0]["count"] = 0

    def step(self, closure: Any = None) -> Any:
        group = self.param_groups[0]
        group["count"] += 1
        group["lr"] /= group["count"]
        return super().step(closure)


def round_trip(trainer: Trainer, path: Path) -> Checkpoint:
    save_checkpoint(path, taken(trainer.optimizer, take_weights(trainer.model)))
    return load_checkpoint(path)


def taken(optimizer: torch.optim.Optimizer, weights: dict[str, Tensor]) -> Checkpoint:
    tensors, values = take_optimizer(optimizer)
    return Checkpoint(weights, tensors, state={"optimizer": values, "groups": take_groups(optimizer)})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_state_of_a_peculiar_optimizer_comes_back_with_every_type(tmp_path: Path, dtype: torch.dtype) -> None:
    first, second = (make_trainer(tmp_path / name, dtype=dtype, optimizer_class=Peculiar) for name in "ab")
    for step in range(5):
        first.updater.update(step)
    saved = round_trip(first, tmp_path / "x.safetensors")
    load_optimizer(second.optimizer, saved)
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        before, now = first.optimizer.state[one], second.optimizer.state[other]
        assert {key: now[key] for key in ("count", "scale", "warm")} == {"count": 5, "scale": before["scale"], "warm": True}
        assert type(now["count"]) is int
        assert now["momentum"].dtype == torch.float32
        assert torch.equal(now["momentum"], before["momentum"])
        assert (now["steps"].dtype, int(now["steps"])) == (torch.int64, 2**24 + 6)


@pytest.mark.parametrize("optimizer_class", [Peculiar, CountsInItsGroup])
def test_a_run_with_an_optimizer_of_ones_own_goes_on_to_the_bit(
    tmp_path: Path, optimizer_class: type[torch.optim.Optimizer]
) -> None:
    options = ("trainer.max_steps=8", "trainer.log_every=1", "trainer.save_every=1", "trainer.keep=9")
    whole = make_trainer(tmp_path / "whole", *options, optimizer_class=optimizer_class)
    whole.fit()
    folder = records_of(tmp_path / "whole", tmp_path / "other")
    trainer = make_trainer(folder, *options, optimizer_class=optimizer_class)
    take_up(trainer, whole.checkpoints.path / "step_00000005.safetensors").fit()
    assert_equal(folder, tmp_path / "whole")


def test_the_order_of_parameters_makes_no_difference(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.updater.update(0)
    saved = round_trip(trainer, tmp_path / "x.safetensors")
    turned = torch.optim.AdamW(
        [
            {"params": [(name, parameter) for name, parameter in trainer.model.named_parameters() if name in names][::-1]}
            for names in (group["param_names"] for group in trainer.optimizer.param_groups)
        ],
        lr=0.5,
    )
    load_optimizer(turned, saved)
    for parameter in trainer.model.parameters():
        for key, value in trainer.optimizer.state[parameter].items():
            assert torch.equal(turned.state[parameter][key], value)
    assert turned.param_groups[0]["lr"] == trainer.optimizer.param_groups[0]["lr"] != 0.5


def test_the_plain_values_of_each_group_come_back_with_their_types(tmp_path: Path) -> None:
    parameters = [nn.Parameter(torch.ones(1)) for _ in range(2)]

    def make() -> torch.optim.Optimizer:
        groups = [{"params": [(name, parameter)]} for name, parameter in zip("ab", parameters, strict=True)]
        return torch.optim.AdamW(groups, lr=0.5)

    optimizer, other = make(), make()
    optimizer.param_groups[0] |= {"lr": 0.1 + 0.2, "betas": (0.5, 0.75), "k": 3, "warm": True, "mode": "slow", "none": None}
    optimizer.param_groups[1] |= {"rates": torch.ones(1)}  # no plain value
    save_checkpoint(tmp_path / "x.safetensors", taken(optimizer, dict(zip("ab", parameters, strict=True))))
    load_optimizer(other, load_checkpoint(tmp_path / "x.safetensors"))
    first, second = other.param_groups
    assert first == optimizer.param_groups[0]
    assert (type(first["betas"]), type(first["k"]), type(first["warm"])) == (tuple, int, bool)
    assert second == {key: value for key, value in optimizer.param_groups[1].items() if key != "rates"}


def test_another_number_of_groups_is_refused() -> None:
    named = [(name, nn.Parameter(torch.ones(1))) for name in "ab"]
    one, two = torch.optim.AdamW(named), torch.optim.AdamW([{"params": [pair]} for pair in named])
    with pytest.raises(RunError, match="must be of this optimizer"):
        load_optimizer(one, taken(two, dict(named)))


def test_state_of_the_parameters_own_type_follows_it_to_another(tmp_path: Path) -> None:
    saved = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([("a", saved)])
    saved.grad = torch.ones(3)
    optimizer.step()
    now = nn.Parameter(torch.ones(3, dtype=torch.float64))
    other = torch.optim.AdamW([("a", now)])
    load_optimizer(other, taken(optimizer, {"a": saved.detach()}))
    assert other.state[now]["exp_avg"].dtype == torch.float64
    assert torch.equal(other.state[now]["exp_avg"].float(), optimizer.state[saved]["exp_avg"])


@pytest.mark.parametrize("kind", ["tensors", "values"])
def test_state_of_a_parameter_that_is_not_there_is_refused(kind: str) -> None:
    optimizer = torch.optim.AdamW([("a", nn.Parameter(torch.ones(1)))])
    tensors = {"b.c": {"exp_avg": torch.ones(1)}} if kind == "tensors" else {}
    values = {} if tensors else {"b.c": {"count": 1}}
    with pytest.raises(RunError, match=r"must be of this optimizer, but holds state of b\.c too"):
        load_optimizer(optimizer, Checkpoint({}, tensors, state={"optimizer": values, "groups": take_groups(optimizer)}))


def test_a_parameter_without_state_yet_stays_without(tmp_path: Path) -> None:
    named = [("a", nn.Parameter(torch.ones(1))), ("b", nn.Parameter(torch.ones(1)))]
    optimizer = torch.optim.AdamW(named)
    named[1][1].grad = torch.ones(1)
    optimizer.step()
    saved = taken(optimizer, dict(named))
    assert list(saved.optimizer) == ["b"]
    assert not saved.state["optimizer"]
    other = torch.optim.AdamW(named)
    load_optimizer(other, saved)
    assert named[0][1] not in other.state
    assert torch.equal(other.state[named[1][1]]["exp_avg"], optimizer.state[named[1][1]]["exp_avg"])


def test_the_rate_after_going_on_is_peak_times_schedule_and_not_decayed_twice(tmp_path: Path) -> None:
    options = ("trainer.log_every=1", "trainer.save_every=1", "trainer.keep=30", "optimizer.lr=0.02")
    whole = make_trainer(tmp_path / "whole", *options)
    whole.fit()
    path = whole.checkpoints.path / "step_00000012.safetensors"
    take_up(make_trainer(tmp_path / "other", *options), path).fit()
    schedule = whole.updater.schedule
    rates = losses(tmp_path / "other", "train/lr")
    assert rates == {step: 0.02 * schedule(step - 1) for step in range(13, 21)}
    assert rates.items() <= losses(tmp_path / "whole", "train/lr").items()
