"""How far the losses of two runs agree."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cai.errors import RunError
from cai.runs import METRICS

LOSSES = ("train/loss", "val/loss")

Losses = Mapping[tuple[int, str], float | None]
"""(step, metric) → value; ``None`` where it was no finite number."""


@dataclass(frozen=True)
class Parting:
    """A place where two runs differ. ``None`` where one of them has no value."""

    step: int
    metric: str
    before: float | None
    now: float | None

    @property
    def relative(self) -> float:
        """By how much, as a share of the value before; infinite if there is nothing to compare."""
        if self.before is None or self.now is None:
            return math.inf
        return abs(self.now - self.before) / max(abs(self.before), 1e-300)

    def __str__(self) -> str:
        values = ["missing" if value is None else repr(value) for value in (self.before, self.now)]
        by = f", by {self.relative:.2g} of it" if math.isfinite(self.relative) else ""
        return f"at step {self.step} {self.metric} was {values[0]} and is {values[1]}{by}"


@dataclass(frozen=True)
class Comparison:
    """How far two runs agree, over ``count`` losses: where they part first, and where most; ``None`` if nowhere."""

    count: int
    first: Parting | None
    widest: Parting | None

    def within(self, tolerance: float) -> bool:
        """Whether no loss differs by more than this share."""
        return self.widest is None or self.widest.relative <= tolerance


def read_losses(directory: Path) -> Losses:
    """The losses in a run's ``metrics.jsonl``."""
    path = directory / METRICS
    if not path.is_file():
        raise RunError(f"{directory} must have a {METRICS} to compare with, but has none.")
    try:
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {(entry["step"], tag): entry[tag] for entry in entries for tag in LOSSES if tag in entry}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} must have one JSON object with a step on each line, but has not ({error}).") from error


def compare_losses(before: Losses, now: Losses, *, same_steps: bool = True) -> Comparison:
    """Compare to the bit, in the order of steps. A step that only one has is a difference, unless not ``same_steps``."""
    keys = before.keys() | now.keys() if same_steps else before.keys() & now.keys()
    partings = [
        Parting(step, tag, before.get((step, tag)), now.get((step, tag)))
        for step, tag in sorted(keys)
        if before.get((step, tag), math.inf) != now.get((step, tag), math.inf)
    ]
    widest = max(partings, key=lambda parting: parting.relative, default=None)
    return Comparison(len(keys), partings[0] if partings else None, widest)
