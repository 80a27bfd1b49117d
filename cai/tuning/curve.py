"""One metric of a run, read out of its record while another process writes it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from cai.runs import METRICS


class Curve:
    """The values of one tag by step."""

    def __init__(self, directory: Path, tag: str) -> None:
        self.path = directory / METRICS
        self.tag = tag
        self.values: dict[int, float] = {}
        self._read = 0

    def news(self) -> list[tuple[int, float]]:
        """Step and value of all that was recorded since the last time; a value that is not finite counts as none."""
        size = self.path.stat().st_size if self.path.is_file() else 0
        if size < self._read:  # a resumed run takes back what came after its checkpoint
            self._read, self.values = 0, {}
        if size == self._read:
            return []
        with self.path.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")  # the last line may be in the middle of being written
        self._read += len(whole) + len(newline)
        found = []
        for line in whole.splitlines():
            with suppress(ValueError):  # what a killed process has left
                if self.tag.encode() in line and (value := (entry := json.loads(line)).get(self.tag)) is not None:
                    found.append((int(entry["step"]), float(value)))
        self.values |= dict(found)
        return found

    def best(self, direction: str) -> tuple[float, int] | None:
        """The best value and its step; ``None`` if there is none."""
        sign = 1 if direction == "minimize" else -1
        return min(((value, step) for step, value in self.values.items()), key=lambda one: sign * one[0], default=None)
