"""A straight line from the peak to ``min_lr_ratio`` of it."""

from __future__ import annotations

from cai.schedule.base import Ratio, ScheduleConfig


class LinearConfig(ScheduleConfig):
    """Warmup, then linear decay."""

    min_lr_ratio: Ratio

    def after_warmup(self, progress: float) -> float:
        return 1 - (1 - self.min_lr_ratio) * min(1.0, progress)
