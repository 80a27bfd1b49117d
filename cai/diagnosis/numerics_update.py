"""An optimizer step as training takes it: loss, gradients, clipping, and what each optimizer makes of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cai.device import Device
from cai.diagnosis.numerics_models import ROUNDINGS, TERMS, exact_model, on_device, random_ids
from cai.diagnosis.numerics_rounding import DTYPES, Errors, Wrong, after, exact
from cai.hardware import multiplies_bf16
from cai.model.base import IGNORE_INDEX
from cai.model.decoder import Decoder
from cai.optimizer import muon
from cai.optimizer.adamw import AdamWConfig
from cai.optimizer.base import OptimizerConfig
from cai.optimizer.lion import LionConfig
from cai.optimizer.muon import Muon, MuonConfig
from cai.optimizer.sgd import SGDConfig

OPTIMIZERS: dict[str, tuple[OptimizerConfig, str]] = {
    "adamw": (AdamWConfig(lr=0.02, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.5), "gpt2"),
    "muon": (
        MuonConfig(
            lr=0.02,
            embedding_lr_ratio=2.0,
            head_lr_ratio=0.3,
            vector_lr_ratio=1.0,
            momentum=0.9,
            nesterov=True,
            ns_steps=5,
            betas=(0.9, 0.95),
            eps=1e-8,
            weight_decay=0.5,
        ),
        "modern",
    ),
    "lion": (LionConfig(lr=0.02, betas=(0.9, 0.99), weight_decay=0.5), "qwen3"),
    "sgd": (SGDConfig(lr=0.3, momentum=0.9, nesterov=True, weight_decay=0.5), "llama"),
}
"""Each with a family; decay and rate are high, so that a hundredth of either is much more than a rounding."""
CLIP = 0.1
"""Norm of the gradient, below what it is."""
RATES = (1.0, 0.5, 0.25)
"""Of the steps, as shares of the peak."""
TRIES = 20
"""Until a loss that is scaled by 65536 at first gives finite gradients: each time by half as much."""


def update(name: str, device: Device) -> str:
    """A step with the model's gradients, and two with others, by the optimizer ``name``. Raises ``Wrong``."""
    config, family = OPTIMIZERS[name]
    errors, reference = Errors(), exact_model(family)
    model = on_device(reference, device).train()
    optimizer, expected = config.build(model), config.build(reference)
    if isinstance(optimizer, Muon):
        optimizer.rounds = False  # what that does is a check of its own
    before = [p.detach().clone() for p in reference.parameters()]
    for step, rate in enumerate(RATES):
        for each in (optimizer, expected):
            for group in each.param_groups:
                group["lr"] *= rate
        if step == 0:
            _train(model, reference, optimizer, device, errors)
        else:
            _give_gradients(model, step)
            optimizer.step()
        for p, q in zip(model.parameters(), reference.parameters(), strict=True):
            q.grad = None if p.grad is None else exact(p.grad)
        expected.step()
        _compare(model, reference, before, device, errors, f"step {step + 1}")
    return f"{len(RATES)} steps of {family}; {errors}"


def _train(model: Decoder, reference: Decoder, optimizer: Optimizer, device: Device, errors: Errors) -> None:
    """One step of ``model``, in two micro-batches, as ``cai.trainer.update`` takes it; its gradients stay."""
    ids, targets = random_ids(3, 33)[:, :-1], random_ids(3, 33)[:, 1:].clone()
    targets[0, :20] = IGNORE_INDEX
    n_valid = int((targets != IGNORE_INDEX).sum())
    (reference(ids, targets) / n_valid).backward()
    scaler = device.grad_scaler()
    for _ in range(TRIES):
        optimizer.zero_grad(set_to_none=True)
        for part in (slice(0, 1), slice(1, 3)):
            with device.autocast():
                loss = model(device.put(ids[part]), device.put(targets[part])) / n_valid
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        norms = torch._foreach_norm([p.grad for p in model.parameters() if p.grad is not None])
        norm = torch.linalg.vector_norm(torch.stack(list(norms)))
        if not scaler.is_enabled() or math.isfinite(float(norm)):
            break
        scaler.step(optimizer)  # leaves all as it is
        scaler.update()
    nn.utils.clip_grads_with_norm_(model.parameters(), CLIP, norm)
    _compare_gradients(model, reference, device, errors)
    scaler.step(optimizer)
    scaler.update()


def _compare_gradients(model: Decoder, reference: Decoder, device: Device, errors: Errors) -> None:
    nn.utils.clip_grad_norm_(reference.parameters(), CLIP)
    allowed = after(3 * ROUNDINGS, 3 * TERMS, DTYPES[device.precision])  # forward, and twice as much back
    for (name, p), q in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert q.grad is not None
        if p.grad is None:
            raise Wrong(f"{name} has no gradient")
        errors.add(p.grad, q.grad, allowed, f"gradient of {name}")


def _give_gradients(model: Decoder, step: int) -> None:
    """Numbers none of which is near 0, whose sign a rounding could change."""
    source = torch.Generator().manual_seed(step)
    for p in model.parameters():
        sizes, signs = torch.rand(p.shape, generator=source) + 0.5, torch.rand(p.shape, generator=source) < 0.5
        p.grad = (0.01 * torch.where(signs, sizes, -sizes)).to(p)


def _compare(model: Decoder, reference: Decoder, before: list[Tensor], device: Device, errors: Errors, where: str) -> None:
    """Weights may be off by the rounding of each step, and by a share of how far they have come."""
    dtype = device.parameter_dtype
    for (name, p), q, was in zip(model.named_parameters(), reference.parameters(), before, strict=True):
        moved = float(torch.linalg.vector_norm(q.detach() - was) / torch.linalg.vector_norm(q.detach()))
        allowed = after(4 * len(RATES), 0, dtype) + moved * after(32, TERMS, dtype)
        errors.add(p, q.detach(), allowed, f"{where}: {name}")


def orthogonal(device: Device) -> str:
    """Muon's orthogonalization, in bf16 where that is faster. Raises ``Wrong``; returns how exact it is."""
    errors, rounds = Errors(), multiplies_bf16(device.type) and device.parameter_dtype == torch.float32
    dtype = torch.bfloat16 if rounds else device.parameter_dtype
    for shape in ((2, 48, 80), (1, 64, 64), (3, 1, 40)):
        matrices = torch.randn(shape, generator=torch.Generator().manual_seed(shape[1]))
        found = muon.orthogonalize(matrices.to(device.torch_device, device.parameter_dtype), 5, rounds)
        allowed = after(200, TERMS, dtype)  # 15 products, which widen what small singular values are off by
        errors.add(found, muon.orthogonalize(matrices.double(), 5, False), allowed, f"{shape[0]} of {shape[1]} x {shape[2]}")
    return f"in {'bf16' if rounds else device.parameter_dtype}; {errors}"
