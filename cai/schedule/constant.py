"""The peak learning rate throughout."""

from __future__ import annotations

from cai.schedule.base import ScheduleConfig


class ConstantConfig(ScheduleConfig):
    """Warmup, then constant."""

    def after_warmup(self, progress: float) -> float:
        return 1.0
