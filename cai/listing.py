"""Runs and sweeps as they lie on the disk: found, with their live status, how far they are, how good, how large."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cai.errors import RunError
from cai.runs import STATUS, read_run

SWEEP, METRICS, CACHE = "sweep.json", "metrics.jsonl", "cache"
"""Names that belong to libraries which take much longer to import than all of this takes."""

TAIL = 1 << 14
"""Bytes at the end of the metrics among which the last line is."""

ORDER = ("finished", "pruned", "running", "failed", "interrupted", "waiting", "unreadable")
"""In which a sweep's jobs are counted."""


@dataclass(frozen=True)
class Entry:
    """A run, or a sweep with its jobs."""

    folder: Path
    status: str
    """Of a run as in ``run.json``; ``waiting`` if it is a job that has not begun, ``unreadable`` if nobody can tell;
    ``sweep`` for a sweep."""
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


def find_entries(folder: Path) -> list[Entry]:
    """What lies in ``folder``, newest first: its runs and sweeps; of one that is a sweep itself, the jobs.

    No link is followed, and nothing inside a run or among the caches is looked at.
    """
    entries = read_sweep(folder).jobs if (folder / SWEEP).is_file() else _walk(folder)
    return sorted(entries, key=lambda entry: entry.started, reverse=True)


def _walk(folder: Path) -> Iterator[Entry]:
    if (folder / SWEEP).is_file():
        yield read_sweep(folder)
    elif (folder / STATUS).is_file():
        yield read_entry(folder)
    else:
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False) and entry.name != CACHE and not entry.name.startswith("."):
                yield from _walk(Path(entry.path))


def read_sweep(folder: Path) -> Entry:
    """A sweep with all jobs that it lists, begun or not."""
    try:
        names = [str(job["folder"]) for job in json.loads((folder / SWEEP).read_text(encoding="utf-8"))["jobs"]]
    except (ValueError, KeyError, TypeError, OSError) as error:
        return Entry(folder, "unreadable", _changed(folder), size_of(folder), error=f"{SWEEP}: {error}")
    jobs = tuple(_read_job(folder / name) for name in names)
    started = min((job.started for job in jobs if job.started), default=_changed(folder))
    best = min((job.best for job in jobs if job.best is not None), default=None)
    return Entry(folder, "sweep", started, size_of(folder), best, jobs=jobs)


def _read_job(folder: Path) -> Entry:
    return read_entry(folder) if (folder / STATUS).is_file() else Entry(folder, "waiting")


def read_entry(folder: Path) -> Entry:
    """The run in ``folder``."""
    try:
        facts = read_run(folder)
        status, started = str(facts["status"]), datetime.fromisoformat(facts["started"]).timestamp()
    except (RunError, KeyError, TypeError, ValueError) as error:
        return Entry(folder, "unreadable", _changed(folder), size_of(folder), error=str(error))
    running = status == "running"
    step = facts.get("steps")
    if step is None or running:  # of a run that goes on or was killed, run.json knows less than the metrics
        step = last_step(folder)
    best = facts.get("best_val_loss")
    if best is None or running:
        best = best_val_loss(folder)
    return Entry(
        folder,
        status,
        started,
        size_of(folder),
        best,
        step,
        facts.get("max_steps"),
        seconds_left(folder, facts, step) if running else None,
        error=str(facts.get("error", "")),
        fingerprints=frozenset(map(str, facts.get("fingerprints", {}).values())),
        saved_step=int(facts.get("saved_step") or 0),
    )


def last_step(folder: Path) -> int | None:
    """The last step in the metrics of a run; ``None`` if there is none."""
    try:
        with (folder / METRICS).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            lines = file.read().splitlines(keepends=True)
    except OSError:
        return None
    for line in reversed(lines):
        if line.endswith(b"\n") and (values := _values(line)):
            return int(values["step"])
    return None


def best_val_loss(folder: Path) -> float | None:
    """The least validation loss in the metrics of a run."""
    path = folder / METRICS
    lines = path.read_bytes().splitlines() if path.is_file() else []
    losses = (_values(line).get("val/loss") for line in lines if b'"val/loss"' in line)
    return min((loss for loss in losses if loss is not None), default=None)


def _values(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def seconds_left(folder: Path, facts: Mapping[str, Any], step: int | None) -> float | None:
    """At the speed since training began, or went on: when TensorBoard's file of that part of the run was opened."""
    resumed = facts.get("resumed") or [{"step": 0}]
    taken = (step or 0) - resumed[-1]["step"]
    events = [name for name in os.listdir(folder) if name.startswith("events.out.tfevents.") and not name.endswith(".eval")]
    opened = [name.split(".")[3] for name in events]
    begun = max((int(second) for second in opened if second.isdigit()), default=0)
    if taken <= 0 or not begun or "max_steps" not in facts:
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
    """A run that is being written renames and removes files at any moment: what is gone meanwhile has no size."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.path, seen)
                continue
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                if found.st_nlink == 1 or found.st_ino not in seen:
                    seen.add(found.st_ino)
                    yield found.st_size


def _changed(folder: Path) -> float:
    return folder.stat().st_mtime
