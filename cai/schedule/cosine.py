"""Half a cosine from the peak to ``min_lr_ratio`` of it (arXiv:1608.03983, without restarts)."""

from __future__ import annotations

import math

from cai.schedule.base import Ratio, ScheduleConfig


class CosineConfig(ScheduleConfig):
    """Warmup, then cosine decay."""

    min_lr_ratio: Ratio

    def after_warmup(self, progress: float) -> float:
        return self.min_lr_ratio + (1 - self.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
