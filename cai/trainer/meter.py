"""Time and speed of updates, without what is done between them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cai.symptoms.training import Pace

if TYPE_CHECKING:
    from cai.device import Device
    from cai.trainer.progress import Progress


class Meter:
    """Charges queued device work to the lap it belongs to, by waiting for it at every look."""

    def __init__(self, device: Device, flops_per_token: float | None = None) -> None:
        self._device = device
        self.flops_per_token = flops_per_token
        self.pace = Pace()
        self._started = self._now()
        self._paused_at: float | None = None
        self._tokens, self._seconds = 0, 0.0

    def start(self, progress: Progress) -> None:
        """Begin to measure, at ``progress``."""
        self._started = self._now()
        self._tokens, self._seconds = progress.tokens, progress.seconds

    def lap(self, progress: Progress) -> float:
        """Add the seconds since the last lap, pauses left out, to ``progress``; returns them."""
        end = self._now() if self._paused_at is None else self._paused_at
        elapsed, self._started = end - self._started, end
        progress.seconds += elapsed
        return elapsed

    def measure(self, progress: Progress) -> dict[str, float]:
        """Speed since the last call, as a share of the device's peak too if that is known, and the highest use of memory."""
        self.lap(progress)
        speed = (progress.tokens - self._tokens) / (progress.seconds - self._seconds)
        self._tokens, self._seconds = progress.tokens, progress.seconds
        measured = {"perf/tokens_per_sec": speed, "perf/memory_gib": self._device.peak_memory() / 2**30}
        if self.flops_per_token and (peak := self._device.peak_flops):
            measured["perf/mfu"] = speed * self.flops_per_token / peak
        return measured

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent inside is in no lap."""
        self._paused_at = self._now()
        try:
            yield
        finally:
            self._started += self._now() - self._paused_at
            self._paused_at = None

    def _now(self) -> float:
        self._device.synchronize()
        return time.perf_counter()
