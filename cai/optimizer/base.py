"""What every optimizer config is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from cai.config.base import Config

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

PositiveFloat = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]

Named = list[tuple[str, Any]]
"""(name, parameter) pairs."""


class OptimizerConfig(Config, ABC):
    """Base of all optimizer configs. ``lr`` is the peak; the schedule scales it step by step."""

    lr: PositiveFloat

    @abstractmethod
    def build(self, model: nn.Module) -> Optimizer:
        """An optimizer over ``model``'s parameters, given by name, in groups whose ``lr`` is a multiple of ``self.lr``."""


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and embeddings, which decay, and biases, gains and other vectors, which do not; no group is empty."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [(name, p) for name, p in named if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [(name, p) for name, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def by_role(model: nn.Module) -> dict[str, Named]:
    """Parameters as ``hidden`` matrices, ``embedding`` tables, the ``head`` if it is not tied, and all else: ``vector``."""
    from torch import nn

    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    head = getattr(model, "lm_head", None)
    heads = {id(p) for p in head.parameters()} if isinstance(head, nn.Module) else set()
    roles: dict[str, Named] = {"hidden": [], "embedding": [], "head": [], "vector": []}
    for name, p in model.named_parameters():
        if p.requires_grad:
            role = "embedding" if id(p) in tables else "head" if id(p) in heads else "hidden" if p.ndim == 2 else "vector"
            roles[role].append((name, p))
    return roles
