"""A run, or a sweep, as it lies on the disk: its live status, how far it is, how good, how large.

It may be torn, somebody else's or a stranger's: whatever it is, it is one entry, and ends nothing.
"""

from __future__ import annotations

import json
import math
import os
import stat
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cai.errors import RunError
from cai.runs import METRICS, STATUS, read_run

TAIL = 1 << 14
"""Bytes at the end of the metrics among which the last line is."""

ORDER = ("finished", "pruned", "running", "failed", "interrupted", "waiting", "unreadable")
"""In which a sweep's jobs are counted."""

BAD = (RunError, OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
"""What reading a file raises that is not what it should be."""


@dataclass(frozen=True)
class Entry:
    """A run, or a sweep with its jobs."""

    folder: Path
    status: str
    """Of a run as in ``run.json``; ``waiting`` if it is a job that has not begun, ``unreadable`` if nobody can tell, also
    of a sweep; ``sweep`` for a sweep."""
    started: float = 0.0
    """Seconds since 1970."""
    size: int = 0
    """Bytes of its files, each counted once however many names it has."""
    best: float | None = None
    """The best validation loss."""
    step: int | None = None
    max_steps: int | None = None
    left: float | None = None
    """Seconds that a running run still needs, as far as can be told."""
    error: str = ""
    fingerprints: frozenset[str] = frozenset()
    """Of the data that it has seen; empty as long as it has not begun to train."""
    saved_step: int = 0
    """Of its newest checkpoint, as far as it could note it."""
    jobs: tuple[Entry, ...] = ()

    def counts(self) -> dict[str, int]:
        """Status → how many jobs have it."""
        found = Counter(job.status for job in self.jobs)
        return {status: found[status] for status in ORDER if found[status]}

    def runs(self) -> Iterator[Entry]:
        """The run itself, or the sweep's jobs."""
        yield from self.jobs or (self,) * (self.status != "sweep")


def read_entry(folder: Path) -> Entry:
    """The run in ``folder``."""
    try:
        return _read(folder)
    except BAD as error:
        return unreadable(folder, error)


def unreadable(folder: Path, why: Exception | str) -> Entry:
    """What nobody can tell anything of, and why."""
    reason = why if isinstance(why, str) else reason_of(why)
    return Entry(folder, "unreadable", changed(folder), size_of(folder), error=reason)


def reason_of(error: Exception) -> str:
    """In words."""
    return f"no {error} in it" if isinstance(error, KeyError) else str(error) or type(error).__name__


def _read(folder: Path) -> Entry:
    """Raises any of ``BAD``."""
    facts = read_run(folder)
    status, started = facts["status"], datetime.fromisoformat(facts["started"]).timestamp()
    if status not in ORDER[:5]:
        raise ValueError(f"{STATUS}: status must be one of {', '.join(ORDER[:5])}, but is {status!r}")
    running = status == "running"
    step, best = _fact(facts, "steps", int), _fact(facts, "best_val_loss", float, int)
    if step is None or running:  # of a run that goes on or was killed, run.json knows less than the metrics
        step = last_step(folder)
    if best is None or running:
        best = best_val_loss(folder)
    return Entry(
        folder,
        status,
        started,
        size_of(folder),
        None if best is None else float(best),
        step,
        _fact(facts, "max_steps", int),
        seconds_left(folder, facts, step) if running else None,
        error=_fact(facts, "error", str) or "",
        fingerprints=frozenset(map(str, (_fact(facts, "fingerprints", dict) or {}).values())),
        saved_step=_fact(facts, "saved_step", int) or 0,
    )


def _fact(facts: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """Raises ``TypeError`` for what CAI does not write there."""
    value = facts.get(name)
    if value is not None and (type(value) not in kinds or (isinstance(value, float) and not math.isfinite(value))):
        raise TypeError(f"{STATUS}: {name} must not be {value!r}")
    return value


def last_step(folder: Path) -> int | None:
    """The last step in the metrics of a run; ``None`` if there is none."""
    if not holds(folder, METRICS):
        return None
    with (folder / METRICS).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        lines = file.read().splitlines(keepends=True)
    steps = (_figure(line, "step") for line in reversed(lines) if line.endswith(b"\n"))
    return next((int(step) for step in steps if step is not None), None)


def best_val_loss(folder: Path) -> float | None:
    """The least validation loss in the metrics of a run."""
    lines = (folder / METRICS).read_bytes().splitlines() if holds(folder, METRICS) else []
    losses = (_figure(line, "val/loss") for line in lines if b'"val/loss"' in line)
    return min((loss for loss in losses if loss is not None), default=None)


def _figure(line: bytes, name: str) -> float | None:
    """What a line of the metrics says; ``None`` if it is torn or says something else."""
    try:
        value = json.loads(line)[name]
        return float(value) if type(value) in (int, float) and math.isfinite(value) else None
    except BAD:
        return None


def seconds_left(folder: Path, facts: Mapping[str, Any], step: int | None) -> float | None:
    """At the speed since training began, or went on: when TensorBoard's file of that part of the run was opened."""
    resumed = facts.get("resumed") or [{"step": 0}]
    taken = (step or 0) - resumed[-1]["step"]
    events = [name for name in os.listdir(folder) if name.startswith("events.out.tfevents.") and not name.endswith(".eval")]
    opened = [name.split(".")[3] for name in events]
    begun = max((int(second) for second in opened if second.isdecimal()), default=0)
    if taken <= 0 or not begun or facts.get("max_steps") is None:
        return None
    recorded = (folder / METRICS).stat().st_mtime
    pace = (recorded - begun) / taken
    left: float = (facts["max_steps"] - (step or 0)) * pace - (time.time() - recorded)
    return max(0.0, left)


def size_of(folder: Path) -> int:
    """Bytes of all files below; a checkpoint that is `best` and `last` at once is one file of two names."""
    seen: set[int] = set()
    return sum(_sizes(folder, seen))


def _sizes(folder: Path | str, seen: set[int]) -> Iterator[int]:
    """A run that is being written renames and removes files at any moment: what is gone meanwhile has no size, nor has what
    somebody else lets nobody look at.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.path, seen)
                continue
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if found.st_nlink == 1 or found.st_ino not in seen:
                    seen.add(found.st_ino)
                    yield found.st_size


def changed(folder: Path) -> float:
    """When something in it was last made or renamed, in seconds since 1970; 0 if nobody can tell."""
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def holds(folder: Path, name: str) -> bool:
    """Whether there is a file. Raises ``OSError`` if nobody can tell."""
    try:
        return stat.S_ISREG((folder / name).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
