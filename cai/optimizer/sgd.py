"""Stochastic gradient descent with momentum, ``torch.optim.SGD``: the baseline of all baselines."""

from __future__ import annotations

import torch
from torch import nn

from cai.compiler import eager
from cai.optimizer.base import Beta, NonNegativeFloat, OptimizerConfig, decay_groups

SGD = eager(torch.optim.SGD)


class SGDConfig(OptimizerConfig):
    """Weight decay, here part of the gradient, on matrices and embeddings, none on biases and norms."""

    momentum: Beta
    nesterov: bool
    weight_decay: NonNegativeFloat

    def build(self, model: nn.Module) -> torch.optim.SGD:
        groups = decay_groups(model, self.weight_decay)
        nesterov = self.nesterov and self.momentum > 0
        return SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=nesterov, fused=True)
