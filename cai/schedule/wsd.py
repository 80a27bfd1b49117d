"""Warmup, stable, decay (arXiv:2404.06395): constant, then linear over the last ``decay_ratio`` of the steps."""

from __future__ import annotations

from cai.schedule.base import Ratio, ScheduleConfig


class WSDConfig(ScheduleConfig):
    """Warmup, a constant stretch, then linear decay."""

    decay_ratio: Ratio
    min_lr_ratio: Ratio

    def after_warmup(self, progress: float) -> float:
        if progress <= 1 - self.decay_ratio:
            return 1.0
        decayed = min(1.0, (progress - (1 - self.decay_ratio)) / self.decay_ratio)
        return 1 - (1 - self.min_lr_ratio) * decayed
