"""Weights go by their plain names, compiled or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from cai.errors import RunError
from cai.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cai.trainer.state import load_weights, plain_name, take_weights
from cai.trainer.trainer import Trainer
from tests.trainer.making import make_trainer, take_up


class Wrapper(nn.Module):
    """What ``torch.compile`` puts around a module, without compiling."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module

    def forward(self, *args: Any) -> Any:
        return self._orig_mod(*args)


def wrap_block(trainer: Trainer) -> None:
    """Wrap a part of the model as ``torch.compile`` does, and name the optimizer's parameters accordingly."""
    blocks = cast(nn.ModuleList, trainer.model.h)
    blocks[0] = Wrapper(blocks[0])
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    for group in trainer.optimizer.param_groups:
        group["param_names"] = [names[id(parameter)] for parameter in group["params"]]
    assert any("_orig_mod" in name for name in names.values())


@pytest.mark.parametrize("compiled", ["saver", "loader", "both"])
def test_a_compiled_part_leaves_no_trace_in_the_names_and_loads_either_way(tmp_path: Path, compiled: str) -> None:
    options = ("trainer.max_steps=6", "trainer.log_every=1", "trainer.save_every=3", "trainer.keep=9")
    plain = make_trainer(tmp_path / "plain", *options)
    plain.fit()
    saver, loader = (make_trainer(tmp_path / name, *options) for name in ("saver", "loader"))
    for trainer, name in ((saver, "saver"), (loader, "loader")):
        if compiled in (name, "both"):
            wrap_block(trainer)
    saver.fit()
    path = saver.checkpoints.path / "step_00000003.safetensors"
    assert b"_orig_mod" not in path.read_bytes()
    assert load_checkpoint(path).model.keys() == plain.model.state_dict().keys()
    take_up(loader, path).fit()
    expected, found = load_checkpoint(plain.checkpoints.last), load_checkpoint(loader.checkpoints.last)
    for name, tensor in expected.model.items():
        assert torch.equal(found.model[name], tensor)
        assert torch.equal(found.optimizer[name]["exp_avg"], expected.optimizer[name]["exp_avg"])


def test_a_really_compiled_part_and_a_compiled_whole_have_plain_names(tmp_path: Path) -> None:
    model = make_trainer(tmp_path).model
    expected = model.state_dict().keys()
    compiled = cast(nn.Module, torch.compile(model, backend="eager"))
    assert compiled.state_dict().keys() != expected
    assert take_weights(compiled).keys() == expected
    blocks = cast(nn.ModuleList, model.h)
    blocks[0] = cast(nn.Module, torch.compile(blocks[0], backend="eager"))
    assert take_weights(model).keys() == expected != model.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "plain"),
    [("_orig_mod.a.b", "a.b"), ("a._orig_mod.b", "a.b"), ("a.b._orig_mod", "a.b"), ("my_orig_mod.a", "my_orig_mod.a")],
)
def test_plain_names(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_weights_and_buffers_are_put_in_by_name() -> None:
    source, target = (nn.BatchNorm1d(3) for _ in range(2))
    source(torch.randn(8, 3) * 5)
    load_weights(target, take_weights(source), {}, Path("x"))
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: model.pop("bias"), r"bias is missing there and \(2,\) in the model\. Take"),
        (lambda model: model.update(more=torch.ones(1)), r"more is \(1,\) there and missing in the model\. Take"),
        (lambda model: model.clear(), r"bias is missing there and \(2,\) in the model and 1 more\. Take"),
    ],
)
def test_weights_that_are_missing_or_too_many_are_named(change: Callable[[dict[str, Tensor]], object], said: str) -> None:
    model = nn.Linear(3, 2)
    weights = take_weights(nn.Linear(3, 2))
    change(weights)
    before = model.weight.detach().clone()
    with pytest.raises(RunError, match=said):
        load_weights(model, weights, {}, Path("x.safetensors"))
    assert torch.equal(model.weight, before)


class Tied(nn.Module):
    """One weight under two names, both in its ``state_dict``."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.wte.weight


def test_a_weight_of_two_names_comes_back_and_stays_one(tmp_path: Path) -> None:
    first, second = Tied(), Tied()
    save_checkpoint(tmp_path / "x.safetensors", Checkpoint(take_weights(first)))
    saved = load_checkpoint(tmp_path / "x.safetensors")
    assert saved.model.keys() == {"wte.weight", "head.weight"}
    load_weights(second, saved.weights, saved.state, tmp_path)
    assert torch.equal(second.wte.weight, first.wte.weight)
    assert second.head.weight is second.wte.weight
