"""Small things to optimize."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import cai
from cai.optimizer.base import OptimizerConfig
from cai.resources import conf_folder

OPTIMIZERS = sorted(path.stem for path in (conf_folder() / "optimizer").glob("*.yaml"))


@functools.cache
def _config(name: str) -> OptimizerConfig:
    config: OptimizerConfig = cai.compose([f"optimizer={name}"]).optimizer
    return config


def optimizer_config(name: str, **changes: object) -> OptimizerConfig:
    """The optimizer's YAML and these changes."""
    config = _config(name)
    return type(config).model_validate(config.model_dump() | changes)


class Weights(nn.Module):
    """Matrices that are wide, tall, square, narrow, and a vector; in float64 unless told."""

    def __init__(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(seed)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=source, dtype=torch.float64).to(dtype))

        self.wide, self.tall, self.square, self.row = parameter(6, 10), parameter(10, 6), parameter(8, 8), parameter(1, 6)
        self.vector = parameter(6)


def set_gradients(parameters: Iterable[Tensor], seed: int) -> None:
    """Random ones, of the size that they have in training."""
    source = torch.Generator().manual_seed(1000 + seed)
    for parameter in parameters:
        parameter.grad = 0.01 * torch.randn(parameter.shape, generator=source, dtype=torch.float64).to(parameter.dtype)


def after(steps: int, model: nn.Module, build: Callable[[nn.Module], Optimizer]) -> dict[str, Tensor]:
    """The parameters after some steps under gradients that are the same in every call."""
    optimizer = build(model)
    for step in range(steps):
        set_gradients(model.parameters(), step)
        optimizer.step()
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def group_of(optimizer: Optimizer) -> dict[str, dict[str, Any]]:
    """Parameter name → its group. Fails if a name is in two."""
    pairs = [(name, group) for group in optimizer.param_groups for name in group["param_names"]]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)
