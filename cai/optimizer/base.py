"""What every optimizer config is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from cai.config.base import Config

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]


class OptimizerConfig(Config, ABC):
    """Base of all optimizer configs. ``lr`` is the peak; the schedule scales it step by step."""

    lr: PositiveFloat

    @abstractmethod
    def build(self, model: nn.Module) -> Optimizer:
        """An optimizer over ``model``'s parameters, given by name, in groups whose ``lr`` is a multiple of ``self.lr``."""
