"""Muon (Jordan et al. 2024) for the hidden matrices, AdamW for everything else, under one learning rate.

Muon's update is scaled to the root mean square that AdamW's has (arXiv:2502.16982), so ``optimizer.lr`` means the same for
both. ``torch.optim.Muon`` orthogonalises in bfloat16 always, one matrix after the other; here the type follows the device,
and matrices of one shape are one batch.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from cai.hardware import multiplies_bf16
from cai.optimizer.base import Beta, NonNegativeFloat, OptimizerConfig, PositiveFloat, PositiveInt, by_role
from cai.sharding import divided_as, gathered, local

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration: as steep at 0 as goes without overshooting 1 by much (Jordan et al. 2024)."""
RMS = 0.2
"""Root mean square of an update of AdamW's, about (arXiv:2502.16982, section 2.2)."""


class MuonConfig(OptimizerConfig):
    """``lr`` is the peak of the hidden matrices; the rest have a multiple of it."""

    embedding_lr_ratio: PositiveFloat
    head_lr_ratio: PositiveFloat
    vector_lr_ratio: PositiveFloat
    momentum: Beta
    nesterov: bool
    ns_steps: PositiveInt
    betas: tuple[Beta, Beta]
    eps: PositiveFloat
    weight_decay: NonNegativeFloat

    def build(self, model: nn.Module) -> Muon:
        roles = by_role(model)
        groups = [
            {"params": roles["hidden"], "lr": self.lr, "weight_decay": self.weight_decay, "orthogonal": True},
            {"params": roles["embedding"], "lr": self.lr * self.embedding_lr_ratio, "weight_decay": self.weight_decay},
            {"params": roles["head"], "lr": self.lr * self.head_lr_ratio, "weight_decay": self.weight_decay},
            {"params": roles["vector"], "lr": self.lr * self.vector_lr_ratio},
        ]
        return Muon(
            [group for group in groups if group["params"]],
            momentum=self.momentum,
            nesterov=self.nesterov,
            ns_steps=self.ns_steps,
            betas=self.betas,
            eps=self.eps,
        )


class Muon(torch.optim.Optimizer):
    """Muon for the groups that are ``orthogonal``, AdamW for the others."""

    def __init__(self, params: Any, **options: Any) -> None:
        # `fused` is read by PyTorch too: the step count of the fused kernel is a tensor, and is kept as one.
        super().__init__(params, {"weight_decay": 0.0, "orthogonal": False, "fused": True, **options})
        self.rounds = multiplies_bf16(self.param_groups[0]["params"][0].device.type)  # once: the compiler cannot ask

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None, "an update of CAI's computes its gradients before"
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters and group["orthogonal"]:
                self._muon(parameters, group)
            elif parameters:
                self._adamw(parameters, group)

    def _muon(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [local(p.grad) for p in parameters if p.grad is not None]
        states = [self.state[p].setdefault("momentum_buffer", torch.zeros_like(p)) for p in parameters]
        buffers = [local(state) for state in states]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        directions = buffers
        if group["nesterov"]:
            directions = list(torch._foreach_lerp(gradients, buffers, group["momentum"]))
        # Of a divided matrix every process computes the whole update, and takes its own part.
        directions = [gathered(part, state) for part, state in zip(directions, states, strict=True)]
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, p in enumerate(parameters):
            by_shape[tuple(sorted(p.shape))].append(index)
        for (short, long), indices in by_shape.items():
            batch = torch.stack([_wide(directions[i]) for i in indices])  # (N, short, long)
            updates = orthogonalize(batch, group["ns_steps"], self.rounds) * (group["lr"] * RMS * math.sqrt(long))
            for i, update in zip(indices, updates, strict=True):
                own = local(parameters[i])
                own.mul_(1 - group["lr"] * group["weight_decay"])
                own.sub_(local(divided_as(update if parameters[i].shape[0] == short else update.mT, parameters[i])))

    def _adamw(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for p in parameters:
            if not self.state[p]:
                zero = torch.zeros((), dtype=torch.float32, device=p.device)
                self.state[p] |= {"step": zero, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        states = [self.state[p] for p in parameters]
        adamw(
            [local(p) for p in parameters],
            [local(p.grad) for p in parameters if p.grad is not None],
            [local(state["exp_avg"]) for state in states],
            [local(state["exp_avg_sq"]) for state in states],
            [],
            [state["step"] for state in states],
            fused=group["fused"],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonalize(matrices: Tensor, steps: int, rounds: bool) -> Tensor:
    """The nearest half-orthogonal matrix to each of ``matrices (N, A, B)``, A ≤ B, about: singular values near 1, as Newton–
    Schulz leaves them. ``rounds``: fp32 matrices are computed in bfloat16, which is enough for it, and where it is emulated
    thirty times slower.
    """
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16() if rounds and matrices.dtype == torch.float32 else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)  # no singular value above 1
    for _ in range(steps):
        gram = x @ x.mT  # (N, A, A)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
