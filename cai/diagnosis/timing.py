"""How long a piece of work takes, in a few repetitions."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cai.trainer.meter import Meter
from cai.trainer.progress import Progress

if TYPE_CHECKING:
    from cai.device import Device


def lap(work: Callable[[], object], device: Device, calls: int = 1) -> float:
    """Seconds of one of so many calls of ``work``, its queued work on ``device`` included."""
    meter, progress = Meter(device), Progress()
    meter.start(progress)
    for _ in range(calls):
        work()
    return max(meter.lap(progress), math.ulp(1.0)) / calls


def typical(work: Callable[[], object], device: Device, budget: float, calls: int = 1, least: int = 3) -> float:
    """The median of as many laps of so many calls as fit into ``budget`` seconds, and at ``least`` so many."""
    begun, laps = time.perf_counter(), list[float]()
    while len(laps) < least or time.perf_counter() - begun < budget:
        laps.append(lap(work, device, calls))
    return statistics.median(laps)
