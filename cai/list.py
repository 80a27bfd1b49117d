"""``cai list``: runs and sweeps, newest first; ``clean=true`` deletes what failed or is unused, if the user agrees."""

from __future__ import annotations

if __name__ == "__main__":
    from cai.cli import run_verb

    raise SystemExit(run_verb("list"))

import shutil
import sys
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cai.board import read_words
from cai.errors import RunError
from cai.leftovers import Leftover, delete, failed_runs, unused_caches
from cai.listing import CACHE, Entry, find_entries, size_of

LEAST = 12
"""Columns that a name or a state keeps at least, however narrow the terminal."""
HEAD = ("run", "state", "best val loss", "size", "started")


def main(words: Sequence[str]) -> int:
    """The ``list`` verb. Returns the exit code."""
    folder, options = read_words("list", words)
    if not folder.is_dir():
        raise RunError(f"list must be given a folder of runs, but {folder} is none. Start with: cai train")
    entries = find_entries(folder)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print("\n".join(table([row(entry) for entry in entries], width)) if entries else f"no runs in {folder}")
    print(f"\n{total(folder, entries)}")
    return clean(folder, entries) if options["clean"] else 0


def row(entry: Entry) -> tuple[str, ...]:
    """The cells of a run or sweep."""
    started = datetime.fromtimestamp(entry.started).strftime("%Y-%m-%d %H:%M") if entry.started else ""
    best = "" if entry.best is None else f"{entry.best:.4f}"
    name = unicodedata.normalize("NFC", str(entry.folder))  # some file systems give syllables in pieces
    return name, state(entry), best, binary(entry.size) if entry.size else "", started


def state(entry: Entry) -> str:
    """In words: how far it is and how it ended; of a sweep, how many of its jobs did."""
    if entry.status == "sweep":
        counts = entry.counts()
        others = [f"{count} {status}" for status, count in counts.items() if status != "finished"]
        return ", ".join([f"{counts.get('finished', 0)} of {len(entry.jobs)} jobs finished", *others])
    at = "" if entry.step is None else f"step {entry.step:,}"
    if entry.step is not None and entry.max_steps and entry.step != entry.max_steps:
        at += f" of {entry.max_steps:,}"
    if entry.status == "running" and entry.left is not None:
        at += f", about {duration(entry.left)} left"
    error = entry.error.splitlines()[0] if entry.error else ""
    text = f"{entry.status}{', ' if at else ''}{at}"
    return f"{text}: {error}" if error else text


def table(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Aligned lines under a head, Hangul syllables two columns wide; none wider than ``width``, if there is one."""
    everything = [HEAD, *rows]
    columns = [max(columns_of(cell) for cell in column) for column in zip(*everything, strict=True)]
    if width is None:
        columns[1] = min(columns[1], 100)  # an error may be a page
    else:
        spare = width - sum(columns[2:]) - 2 * (len(columns) - 1)
        columns[:2] = share(columns[0], columns[1], spare)
    lines = []
    for name, words, *rest in everything:
        right = (cell.rjust(size) for cell, size in zip(rest, columns[2:], strict=True))
        left = (fitted(name, columns[0], tail=True), fitted(words, columns[1]))
        lines.append("  ".join([*left, *right]).rstrip())
    return lines


def share(one: int, other: int, spare: int) -> tuple[int, int]:
    """Columns for two texts that need so many: the longer gives way first."""
    while one + other > spare and max(one, other) > LEAST:
        if one >= other:
            one -= 1
        else:
            other -= 1
    return one, other


def columns_of(text: str) -> int:
    """Columns of a terminal that ``text`` takes."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shortened(text: str, columns: int, *, tail: bool = False) -> str:
    """``text`` in so many columns at most; what is cut off at its end, or before its ``tail``, is an ellipsis."""
    if columns_of(text) <= columns:
        return text
    kept, room = "", columns - 1
    for char in reversed(text) if tail else text:
        room -= _columns(char)
        if room < 0:
            break
        kept = char + kept if tail else kept + char
    return f"…{kept}" if tail else f"{kept}…"


def fitted(text: str, columns: int, *, tail: bool = False) -> str:
    """``text`` in exactly so many columns."""
    text = shortened(text, columns, tail=tail)
    return text + " " * (columns - columns_of(text))


def total(folder: Path, entries: Sequence[Entry]) -> str:
    """How much there is."""
    sweeps = [entry for entry in entries if entry.status == "sweep"]
    jobs = sum(len(sweep.jobs) for sweep in sweeps)
    parts = [counted(len(entries) - len(sweeps), "run")]
    parts += [f"{counted(len(sweeps), 'sweep')} of {counted(jobs, 'job')}"] * bool(sweeps)
    text = f"{' and '.join(parts)}, {binary(sum(entry.size for entry in entries))}"
    cache = folder / CACHE
    return f"{text}; caches {binary(size_of(cache))}" if cache.is_dir() else text


def clean(folder: Path, entries: Sequence[Entry]) -> int:
    """Show what could be deleted, ask, and delete it. Raises ``RunError`` if there is nobody to ask."""
    caches, kept = unused_caches(folder, entries)
    leftovers = [*failed_runs(entries), *caches]
    print("".join([f"\n{kept}"] * bool(kept)), end="")
    if not leftovers:
        print("\nnothing to delete: no run has failed, and no cache is unused")
        return 0
    print("\ncan be deleted:")
    for leftover in leftovers:
        print(f"  {leftover.folder}  {binary(leftover.size)}  {shortened(leftover.why, 100)}")
        print("".join([f"    warning: {leftover.warning}\n"] * bool(leftover.warning)), end="")
    if not sys.stdin.isatty():
        raise RunError("clean=true must be answered at a terminal, but standard input is none. Nothing was deleted.")
    if not agreed(f"\nDelete {counted(len(leftovers), 'folder')}, {binary(sum(one.size for one in leftovers))}? [y/N] "):
        print("nothing was deleted")
        return 0
    return delete_all(leftovers)


def agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def delete_all(leftovers: Sequence[Leftover]) -> int:
    """Delete, and say of what was not deleted why."""
    freed = 0
    for leftover in leftovers:
        if delete(leftover):
            freed += leftover.size
        else:
            print(f"kept: {leftover.folder}, as it is in use now")
    print(f"{binary(freed)} freed")
    return 0


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def binary(size: float) -> str:
    """Bytes, readable: ``512 B``, ``1.2 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


def duration(seconds: float) -> str:
    """``48 s``, ``12 min``, ``2 h 05 min``, ``3 d 4 h``: as exactly as an estimate deserves."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 60:
        return f"{round(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
