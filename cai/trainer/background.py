"""Work beside training, one piece after the other, in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

AT_ONCE = 2
"""Pieces that may be begun or wait: the best and the newest checkpoint of a step. A copy of each is in memory as long."""


class Background:
    """What a piece raises, is raised by the next call, and by ``wait``."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "saving")  # which a program that ends waits for
        self._begun: deque[Future[object]] = deque()

    def do(self, work: Callable[[], object]) -> None:
        """Do ``work`` when what was begun before is done. Waits only if there is much of that."""
        while self._begun and (self._begun[0].done() or len(self._begun) == AT_ONCE):
            self._begun.popleft().result()
        self._begun.append(self._thread.submit(work))

    def wait(self) -> None:
        """Until all that was begun is done."""
        while self._begun:
            self._begun.popleft().result()
