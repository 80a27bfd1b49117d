"""When a job of a sweep gives up: it compares itself with its siblings through the files that all of them write.

No scheduler, no server: it works with whatever launches the jobs, as long as they share a folder.
"""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cai.runs import METRICS, SWEEP

log = logging.getLogger(__name__)


TAG: Final = "val/bits_per_byte"
"""What jobs are compared by: the one loss that means the same whatever the tokenizer."""

LEAST: Final = 3
"""Siblings that must have come as far before one is judged by them."""

REDUCTION: Final = 3
"""Of the jobs that reach a rung of ASHA, one in so many goes on; the next rung is as many times as far."""


@dataclass(frozen=True)
class Pruner:
    """Judges the job in ``directory``, a folder of a sweep.

    ``median``: it stops where it is worse than the median of its siblings at the same step (Vizier's rule, Golovin et al.
    2017, on the value instead of the running mean). ``asha``: it stops at ``warmup`` steps, three times as many, nine times
    ..., unless it is among the best third of those that came as far (arXiv:1810.05934). The best job so far never stops.
    """

    directory: Path
    rule: Literal["median", "asha"]
    warmup: int

    def stops(self, step: int, value: float) -> bool:
        """Whether the job is to stop after an evaluation that found ``value``; says why."""
        why = self.verdict(step, value)
        if why:
            log.info("%s", why)
        return why is not None

    def verdict(self, step: int, value: float) -> str | None:
        """After an evaluation that found ``value`` (bits per byte): a sentence if the job is to stop here."""
        own = dict(_evaluations(self.directory)) | {step: value}
        if step < max(1, self.warmup) or (self.rule == "asha" and not self._is_rung(step, own)):
            return None
        siblings = [curve for curve in map(dict, map(_evaluations, self._siblings())) if curve]
        others = sorted(curve[step] for curve in siblings if step in curve)
        if len(others) < LEAST or min(own.values()) <= min(min(curve.values()) for curve in siblings):
            return None
        if self.rule == "median":
            bound, how = statistics.median(others), "the median"
        else:
            kept = -(-(len(others) + 1) // REDUCTION)
            bound, how = others[kept - 1], f"number {kept}"
        if value <= bound:
            return None
        return (
            f"step {step}: pruned, as {value:.4f} bits per byte is worse than {how} of {len(others)} siblings ({bound:.4f})."
            " trainer.prune=null on resuming goes on nevertheless."
        )

    def _is_rung(self, step: int, own: Mapping[int, float]) -> bool:
        """Whether this is the first evaluation at or beyond a rung."""
        before = max((earlier for earlier in own if earlier < step), default=0)
        rung = max(1, self.warmup)
        while rung <= before:
            rung *= REDUCTION
        return rung <= step

    def _siblings(self) -> Iterator[Path]:
        """The other jobs of the sweep, if this is one, that are evaluated on the same text."""
        with suppress(OSError, ValueError, KeyError, TypeError):  # a sweep that cannot be read has none
            jobs = json.loads((self.directory.parent / SWEEP).read_text(encoding="utf-8"))["jobs"]
            own = [_judged_on(job["config"]) for job in jobs if job["folder"] == self.directory.name]
            for job in jobs:
                if job["folder"] != self.directory.name and _judged_on(job["config"]) in own:
                    yield self.directory.parent / job["folder"]


def _judged_on(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """What decides the validation text: other text is harder or easier, whoever reads it."""
    return config.get("data"), config.get("trainer", {}).get("eval_max_tokens")


def _evaluations(directory: Path) -> Iterator[tuple[int, float]]:
    """Step and value of every evaluation in a job's record, which another process may just be writing. What cannot be read
    is not there: the trouble of one job is not that of its siblings.
    """
    lines: list[bytes] = []
    with suppress(OSError):
        lines = (directory / METRICS).read_bytes().splitlines(keepends=True)
    for line in lines:
        if TAG.encode() in line and line.endswith(b"\n"):
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                values: dict[str, Any] = json.loads(line)
                if (value := values.get(TAG)) is not None:
                    yield int(values["step"]), float(value)
