"""What every schedule is: a share of the peak learning rate, by step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from cai.config.base import Config

Schedule = Callable[[int], float]
"""Step (0-based) → multiplier of ``optimizer.lr``."""

Ratio = Annotated[float, Field(ge=0, le=1)]


class ScheduleConfig(Config, ABC):
    """Linear warmup, then the shape of the subclass."""

    warmup_steps: Annotated[int, Field(ge=0)]

    @abstractmethod
    def after_warmup(self, progress: float) -> float:
        """Multiplier at ``progress`` in [0, 1) of the steps that follow the warmup."""

    def build(self, max_steps: int) -> Schedule:
        """The multiplier for each step of a run of ``max_steps``. The first step already learns: (step + 1) / warmup."""

        def multiplier(step: int) -> float:
            if step < self.warmup_steps:
                return (step + 1) / self.warmup_steps
            return self.after_warmup((step - self.warmup_steps) / max(1, max_steps - self.warmup_steps))

        return multiplier
