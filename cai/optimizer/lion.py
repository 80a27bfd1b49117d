"""Lion (arXiv:2302.06675): the sign of a momentum; half of AdamW's state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from cai.optimizer.base import Beta, NonNegativeFloat, OptimizerConfig, decay_groups
from cai.sharding import local


class LionConfig(OptimizerConfig):
    """Wants a rate three to ten times lower than AdamW's and a decay as much higher."""

    betas: tuple[Beta, Beta]
    weight_decay: NonNegativeFloat

    def build(self, model: nn.Module) -> Lion:
        return Lion(decay_groups(model, self.weight_decay), lr=self.lr, betas=self.betas)


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of the paper, with decoupled weight decay."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float], weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None, "an update of CAI's computes its gradients before"
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in (p for p in group["params"] if p.grad is not None):
                momentum = local(self.state[p].setdefault("exp_avg", torch.zeros_like(p)))
                direction = momentum.lerp(local(p.grad), 1 - beta1).sign_()
                local(p).mul_(1 - group["lr"] * group["weight_decay"]).sub_(direction.mul_(group["lr"]))
                momentum.lerp_(local(p.grad), 1 - beta2)
