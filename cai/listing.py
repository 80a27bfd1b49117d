"""Runs and sweeps below a folder: found without following links, and whether somebody is at work on them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cai.entry import BAD, Entry, changed, holds, read_entry, reason_of, size_of, unreadable
from cai.runs import STATUS, SWEEP, is_locked
from cai.sweeps import is_folder_name

CACHE = "cache"


def find_entries(folder: Path) -> list[Entry]:
    """What lies in ``folder``, newest first: its runs and sweeps; of one that is a sweep itself, the jobs.

    No link is followed, and nothing inside a run or among the caches is looked at.
    """
    entries = list(_walk(folder))
    if len(entries) == 1 and entries[0].folder == folder and (entries[0].jobs or entries[0].status == "sweep"):
        (sweep,) = entries
        entries = [*sweep.jobs, *[replace(sweep, jobs=())] * (sweep.status != "sweep")]
    return sorted(entries, key=lambda entry: entry.started, reverse=True)


def _walk(folder: Path) -> Iterator[Entry]:
    try:
        if holds(folder, SWEEP):
            found = [read_sweep(folder)]
        elif holds(folder, STATUS):
            found = [read_entry(folder)]
        else:
            found = [entry for inner in _subfolders(folder) if not inner.is_symlink() for entry in _walk(Path(inner.path))]
    except FileNotFoundError:  # gone meanwhile
        return
    except OSError as error:
        found = [unreadable(folder, error)]
    yield from found


def links_out_of(folder: Path, below: Path | None = None) -> Iterator[Path]:
    """Links in ``folder`` behind which there may be runs that ``find_entries`` does not find. Raises ``OSError``."""
    inside = folder.resolve()
    for entry in _subfolders(below or folder):
        path = Path(entry.path)
        if not entry.is_symlink():
            if not holds(path, SWEEP) and not holds(path, STATUS):
                yield from links_out_of(folder, path)
        elif not path.is_file():
            target = Path(os.path.realpath(path))  # which no circle of links ends
            if not target.is_relative_to(inside) or any(map(_is_passed_over, target.relative_to(inside).parts)):
                yield path


def _subfolders(folder: Path) -> list[os.DirEntry[str]]:
    """Those in which there may be runs; links too, whatever they lead to."""
    with os.scandir(folder) as entries:
        return [entry for entry in entries if _may_hold_runs(entry)]


def _may_hold_runs(entry: os.DirEntry[str]) -> bool:
    return (entry.is_symlink() or entry.is_dir(follow_symlinks=False)) and not _is_passed_over(entry.name)


def _is_passed_over(name: str) -> bool:
    return name == CACHE or name.startswith(".")


def in_use(folder: Path) -> bool:
    """Whether some process writes a run or a sweep there; also if nobody can tell. Leaves no lock where there was none."""
    try:
        return os.path.lexists(folder / ".lock") and is_locked(folder)
    except OSError:
        return True


def read_sweep(folder: Path) -> Entry:
    """A sweep with all jobs that it lists, begun or not; of one whose list cannot be read, those that have begun."""
    try:
        names = [job["folder"] for job in json.loads((folder / SWEEP).read_text(encoding="utf-8"))["jobs"]]
        if strange := [name for name in names if not is_folder_name(name)]:
            raise ValueError(f"{strange[0]!r} is no folder in it")
    except BAD as error:
        inner = sorted(Path(entry.path) for entry in _subfolders(folder) if not entry.is_symlink())
        found = tuple(read_entry(path) for path in inner if holds(path, STATUS))
        return replace(unreadable(folder, f"{SWEEP}: {reason_of(error)}"), jobs=found)
    jobs = tuple(_read_job(folder / name) for name in dict.fromkeys(names))
    started = min((job.started for job in jobs if job.started), default=changed(folder))
    best = min((job.best for job in jobs if job.best is not None), default=None)
    return Entry(folder, "sweep", started, size_of(folder), best, jobs=jobs)


def _read_job(folder: Path) -> Entry:
    if folder.is_symlink():
        return Entry(folder, "unreadable", error="it is a link, and no link is followed")
    try:
        return read_entry(folder) if holds(folder, STATUS) else Entry(folder, "waiting")
    except OSError as error:
        return unreadable(folder, error)
