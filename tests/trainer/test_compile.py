"""Compiled or not: the same names, the same rates, the same run."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.snapshot import take_snapshot
from cai.trainer.trainer import Trainer
from tests.trainer.making import assert_equal, losses, make_trainer, records_of, take_up
from tests.trainer.test_weights import Wrapper

BOTH = ("device.compile=true", "device.compile_optimizer=true")
EACH = ("trainer.max_steps=8", "trainer.log_every=1", "trainer.save_every=1", "trainer.keep=9", "trainer.eval_every=4")
OPTIMIZERS = ["adamw", "muon", "lion", "sgd"]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What ``torch.compile`` was given: it puts around a module what it always does, and leaves functions as they are."""
    seen: list[Any] = []

    def note(what: Any, **_: Any) -> Any:
        seen.append(what)
        return Wrapper(what) if isinstance(what, nn.Module) else what

    monkeypatch.setattr(torch, "compile", note)
    return seen


def rates(trainer: Trainer) -> list[Any]:
    return [group["lr"] for group in trainer.optimizer.param_groups]


@pytest.mark.parametrize(
    ("words", "expected"),
    [((), set()), (BOTH[:1], {"model"}), (BOTH[1:], {"step"}), (BOTH, {"model", "step"})],
    ids=["neither", "model", "optimizer", "both"],
)
def test_what_is_asked_for_is_compiled_once(
    tmp_path: Path, compiled: list[Any], words: tuple[str, ...], expected: set[str]
) -> None:
    trainer = make_trainer(tmp_path, *words)
    trainer.updater.update(0)
    assert {"model" if what is trainer.model else what.__name__ for what in compiled} == expected
    assert len(compiled) == len(expected)
    assert isinstance(trainer.updater.forward, Wrapper) is ("model" in expected)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_with_a_compiled_optimizer_the_rate_is_a_tensor_that_follows_the_schedule(tmp_path: Path, optimizer: str) -> None:
    trainer = make_trainer(tmp_path, f"optimizer={optimizer}", "model=modern", "model.shift_init=0.0", *EACH, BOTH[1])
    plain = make_trainer(tmp_path / "plain", f"optimizer={optimizer}", "model=modern", "model.shift_init=0.0", *EACH)
    tensors = rates(trainer)
    assert all(isinstance(rate, Tensor) for rate in tensors)
    for step in range(4):
        trainer.updater.update(step)
        plain.updater.update(step)
        assert all(one is other for one, other in zip(rates(trainer), tensors, strict=True)), "a new one is compiled anew"
        assert [float(rate) for rate in tensors] == pytest.approx(rates(plain), rel=1e-7)
        assert trainer.updater.lrs(step) == plain.updater.lrs(step)
    for one, other in zip(trainer.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("compiled")
def test_the_checkpoints_of_a_compiled_run_have_plain_names_and_no_rate(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, *EACH, *BOTH, "trainer.ema_decay=0.9")
    trainer.fit()
    for path in (trainer.checkpoints.last, trainer.checkpoints.best):
        assert b"_orig_mod" not in path.read_bytes()
        assert load_checkpoint(path).model.keys() == trainer.model.state_dict().keys()
    saved = load_checkpoint(trainer.checkpoints.last)
    assert saved.optimizer.keys() == saved.average.keys() == dict(trainer.model.named_parameters()).keys()


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_compiled_run_that_goes_on_ends_as_if_never_stopped(tmp_path: Path, optimizer: str) -> None:
    options = (*EACH, *BOTH, f"optimizer={optimizer}", "model.dropout=0.2")
    whole = make_trainer(tmp_path / "whole", *options)
    whole.fit()
    folder = records_of(tmp_path / "whole", tmp_path / "other")
    take_up(make_trainer(folder, *options), whole.checkpoints.path / "step_00000005.safetensors").fit()
    assert_equal(folder, tmp_path / "whole")


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("before", "after"), [((), BOTH), (BOTH, ())], ids=["then compiled", "no more compiled"])
def test_a_run_may_be_compiled_or_not_from_any_step_on(
    tmp_path: Path, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    whole = make_trainer(tmp_path / "whole", *EACH, *before)
    whole.fit()
    trainer = make_trainer(records_of(tmp_path / "whole", tmp_path / "other"), *EACH, *after)
    take_up(trainer, whole.checkpoints.path / "step_00000005.safetensors")
    kind = Tensor if after else float
    assert all(isinstance(rate, kind) for rate in rates(trainer))
    trainer.fit()
    assert all(isinstance(rate, kind) for rate in rates(trainer))
    for tag in ("train/loss", "train/lr", "val/loss"):
        found, expected = losses(tmp_path / "other", tag), losses(tmp_path / "whole", tag)
        assert found == pytest.approx(expected, rel=1e-5)
        assert len(found) > 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # of the import alone
@pytest.mark.parametrize("optimizer", ["adamw", "muon", "lion"])
def test_really_compiled_it_computes_the_same_and_compiles_nothing_anew_for_another_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    # Traced and differentiated by the compiler; only the C++ that Inductor would write of it, for half a minute, is not.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters["stats"]
    plain, compiled = (
        make_trainer(tmp_path / name, f"optimizer={optimizer}", "optimizer.lr=0.001", "model.dropout=0.2", *words)
        for name, words in (("plain", ()), ("compiled", BOTH))
    )
    graphs = [counters["unique_graphs"]]
    for step in range(5):
        one, other = compiled.updater.update(step), plain.updater.update(step)
        assert float(one.loss) == pytest.approx(float(other.loss), rel=1e-5)
        assert float(one.grad_norm) == pytest.approx(float(other.grad_norm), rel=1e-4)
        graphs.append(counters["unique_graphs"])
    assert graphs[1] >= graphs[0] + 2  # of the model and of the optimizer
    assert len(set(graphs[2:])) == 1  # the first step finds no state of the optimizer yet
    assert b"_orig_mod" not in save(take_snapshot(compiled).weights)
