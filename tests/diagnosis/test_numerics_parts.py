"""Layouts, caches, updates, losses and look-ups: each tampered with, and caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cai.device import Device
from cai.diagnosis import numerics_layouts as layouts
from cai.diagnosis import numerics_models as models
from cai.diagnosis import numerics_parts as parts
from cai.diagnosis import numerics_update as updates
from cai.diagnosis.numerics_rounding import Wrong
from cai.dropout import random_bits
from cai.model import loss, passes
from cai.model.cache import Cache
from cai.optimizer import adamw, lion, muon
from tests.diagnosis.devices import compute_on_the_cpu, device


@pytest.mark.parametrize("name", list(updates.OPTIMIZERS))
@pytest.mark.parametrize("there", [device("bf16"), device("fp16", "mps")], ids=["bf16", "fp16"])
def test_every_optimizer_passes_below_autocast(name: str, there: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    compute_on_the_cpu(monkeypatch)
    assert "3 steps" in updates.update(name, there)


def as_if_contiguous(x: Tensor) -> Tensor:
    return x.as_strided(x.shape, torch.empty(x.shape).stride())


@pytest.mark.parametrize("name", ["PyTorch's attention", "linear", "rms_norm", "shift_in", "rotate"])
def test_a_kernel_that_takes_every_tensor_for_contiguous_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = layouts.CASES[name]
    tampered = case._replace(ours=lambda *x: case.ours(*(as_if_contiguous(each) for each in x)))
    monkeypatch.setattr(layouts, "CASES", {name: tampered})
    with pytest.raises(Wrong, match=rf"{name}, (?!contiguous)"):
        layouts.in_any_layout(device())


@pytest.mark.parametrize("name", ["rms_norm", "squared_relu", "rotate"])
def test_a_gradient_taken_for_contiguous_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = {"rms_norm": passes._RMSNorm, "squared_relu": passes._SquaredReLU, "rotate": passes._Rotation}[name]
    real = kind.backward
    monkeypatch.setattr(kind, "backward", staticmethod(lambda ctx, gradient: real(ctx, as_if_contiguous(gradient))))
    with pytest.raises(Wrong, match=rf"{name}, .*gradient of input 1"):
        layouts.in_any_layout(device())


def test_a_cache_shifted_by_one_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    extend, begin = Cache.extend, Cache.begin

    def shifted(self: Cache, layer: Any, name: str, x: Tensor) -> Tensor:
        seen = extend(self, layer, name, x)
        return seen if seen is x or name == "v" else seen.roll(1, dims=1)

    def late(self: Cache, ids: Tensor) -> Any:
        context = begin(self, ids)
        places = context.positions
        return context._replace(positions=(places + 1).clamp(max=places.max())) if isinstance(places, Tensor) else context

    models.cached("llama", device())
    for name, tampered in (("extend", shifted), ("begin", late)):
        with monkeypatch.context() as patch:
            patch.setattr(Cache, name, tampered)
            with pytest.raises(Wrong, match="of row"):
                models.cached("llama", device())


# -- updates


def test_an_optimizer_that_is_off_by_a_hundredth_in_rate_or_decay_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def off(kind: type[torch.optim.Optimizer], key: str) -> Callable[..., None]:
        real = kind.step

        def step(self: torch.optim.Optimizer) -> None:
            exact = self.param_groups[0]["params"][0].dtype == torch.float64
            for group in self.param_groups:
                group[key] *= 1 if exact else 0.99
            real(self)
            for group in self.param_groups:
                group[key] /= 1 if exact else 0.99

        return step

    for name, kind in (("adamw", adamw.AdamW), ("muon", muon.Muon), ("lion", lion.Lion)):
        for key in ("lr", "weight_decay")[: 1 + (name != "lion")]:
            with monkeypatch.context() as patch:
                patch.setattr(kind, "step", off(kind, key))
                with pytest.raises(Wrong, match=r"step 1: .* off by"):
                    updates.update(name, device("bf16"))


def test_wrong_gradients_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = passes._RMSNorm.backward

    def backward(ctx: Any, gradient: Tensor) -> object:
        return real(ctx, gradient) if gradient.dtype == torch.float64 else (gradient * ctx.saved_tensors[1], None)

    for owner, name, tampered in (
        (torch.nn.utils, "clip_grads_with_norm_", lambda *_: None),
        (passes._RMSNorm, "backward", staticmethod(backward)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, tampered)
            with pytest.raises(Wrong, match="gradient of"):
                updates.update("sgd", device("bf16"))


def test_a_loss_scaled_too_high_at_first_is_tried_again_as_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    scalers = []

    def grad_scaler(self: Device) -> torch.amp.GradScaler:
        scalers.append(torch.amp.GradScaler("cpu", init_scale=2.0**127))
        return scalers[-1]

    monkeypatch.setattr(Device, "grad_scaler", grad_scaler)
    updates.update("adamw", device("bf16"))
    assert scalers[0].get_scale() < 2.0**127


def test_muon_that_does_not_orthogonalize_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = muon.orthogonalize
    monkeypatch.setattr(muon, "orthogonalize", lambda x, steps, rounds: real(x, steps - (x.dtype != torch.float64), rounds))
    with pytest.raises(Wrong, match="off by"):
        updates.orthogonal(device())
    with pytest.raises(Wrong, match="step 1: layers"):
        updates.update("muon", device())


# -- the other parts


def test_a_loss_added_up_in_half_precision_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounded(x: Tensor, weight: Tensor, targets: Tensor, softcap: float) -> Tensor:
        logits = loss.soft_cap(F.linear(x, weight), softcap)
        return F.cross_entropy(logits, targets, ignore_index=-100, reduction="none").to(x.dtype).sum().bfloat16().float()

    monkeypatch.setattr(loss, "_loss_of_chunk", rounded)
    with pytest.raises(Wrong, match="cap 0: off by"):
        parts.summed_loss(device())


def test_look_ups_and_bits_that_differ_from_those_of_the_cpu_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    embedding, bits, calls = F.embedding, random_bits, list[int]()

    def once(wrong: Tensor) -> Tensor:
        calls.append(1)
        return wrong if len(calls) == 1 else wrong + 1

    monkeypatch.setattr(F, "embedding", lambda ids, table: once(embedding(ids, table)))
    with pytest.raises(Wrong, match="embedding: other numbers than on the CPU"):
        parts.look_ups(device())
    calls.clear()
    monkeypatch.setattr(parts, "random_bits", lambda keys, count: once(bits(keys, count)))
    with pytest.raises(Wrong, match="other bits"):
        parts.dropout_bits(device())
