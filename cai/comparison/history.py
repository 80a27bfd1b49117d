"""``metrics.jsonl`` by columns."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.errors import RunError

LARGEST = 1e100
"""No measurement goes beyond it; squares and sums of what stays below are finite too."""


def number(value: Any) -> float | None:
    """``value`` if it is a number and finite. Whatever else stands in its place was not measured."""
    known = type(value) is float or type(value) is int
    return value if known and -LARGEST < value < LARGEST else None


def whole(value: Any) -> int | None:
    """``value`` if it is a count: a whole number, at least 0."""
    return value if type(value) is int and 0 <= value < LARGEST else None


@dataclass(frozen=True, eq=False)
class History:
    """``steps``, ascending, and for each tag one value per step (``None`` where it was not measured, or was not finite)."""

    steps: list[int]
    columns: dict[str, list[float | None]]

    def series(self, tag: str) -> tuple[list[int], list[float]]:
        """Steps and values of ``tag`` where it was measured; empty if it never was."""
        measured = [(s, v) for s, v in zip(self.steps, self.columns.get(tag, ()), strict=False) if v is not None]
        return [step for step, _ in measured], [value for _, value in measured]

    def last(self, tag: str) -> float | None:
        """The newest value of ``tag``."""
        return next((value for value in reversed(self.columns.get(tag, ())) if value is not None), None)

    def lowest(self, tag: str) -> tuple[int, float] | None:
        """The first step at which ``tag`` was lowest, and that value."""
        steps, values = self.series(tag)
        return min(zip(steps, values, strict=True), key=lambda pair: pair[1]) if values else None

    def at(self, tag: str, step: int) -> float | None:
        """The value of ``tag`` at ``step``, if it was measured there."""
        return dict(zip(*self.series(tag), strict=True)).get(step)

    def seconds(self, tokens_per_step: int) -> list[float]:
        """Time spent in updates up to each of ``steps``, out of the speed that was measured; at a constant speed before
        the first measurement and after the last.
        """
        speeds = self.columns.get("perf/tokens_per_sec", [None] * len(self.steps))
        upcoming = list(speeds)
        for index in range(len(upcoming) - 2, -1, -1):  # a speed is that of the steps before it
            upcoming[index] = upcoming[index] or upcoming[index + 1]
        elapsed, before, speed, found = 0.0, 0, None, []
        for step, following in zip(self.steps, upcoming, strict=True):
            speed = following or speed
            elapsed += (step - before) * tokens_per_step / speed if speed else 0.0
            before = step
            found.append(elapsed)
        return found


def read_history(path: Path) -> History:
    """A run's ``metrics.jsonl``, which may be missing and may end in the middle of a line. Raises ``RunError`` if it is no
    such file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return History([], {})
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    try:
        rows = json.loads(b"[" + b",".join(line for line in lines if line) + b"]")
        return _by_columns(rows)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{path} must hold a JSON object with its `step` in each line, but cannot be read ({error})."
        ) from error


def _by_columns(rows: Iterable[Mapping[str, Any]]) -> History:
    """Rows of one step become one: answers are recorded after the last evaluation, at its step."""
    by_step: dict[int, Mapping[str, Any]] = {}
    for row in rows:
        step = whole(row["step"])
        if step is None:
            raise ValueError(f"`step` is {row['step']!r}")
        by_step[step] = {**by_step[step], **row} if step in by_step else row
    steps = sorted(by_step)
    ordered = [by_step[step] for step in steps]
    tags = dict.fromkeys(itertools.chain.from_iterable(ordered))
    return History(steps, {tag: [number(row.get(tag)) for row in ordered] for tag in tags if tag != "step"})
