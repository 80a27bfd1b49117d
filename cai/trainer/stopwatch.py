"""The time that updates take, without what is done between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Measures laps. ``synchronize`` waits for queued device work, so that it is charged to the lap it belongs to."""

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self._synchronize = synchronize
        self._started = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap (or start), pauses left out; a new lap begins."""
        self._synchronize()
        now = time.perf_counter()
        elapsed, self._started = now - self._started, now
        return elapsed

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent inside is in no lap."""
        self._synchronize()
        paused = time.perf_counter()
        yield
        self._started += time.perf_counter() - paused
