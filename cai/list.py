"""``cai list``: runs and sweeps, newest first; ``clean=true`` deletes what failed or is unused, if the user agrees."""

from __future__ import annotations

if __name__ == "__main__":
    from cai.cli import run_verb

    raise SystemExit(run_verb("list"))

import os
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cai.columns import binary, cut, duration, one_line, pad, width
from cai.config.listing import ListConfig
from cai.entry import Entry, size_of
from cai.errors import OutputError, RunError
from cai.leftovers import Leftover, delete, failed_runs, unused_caches
from cai.listing import CACHE, find_entries
from cai.options import config_of, named_folder
from cai.overrides import parse_arguments

LEAST = 12
"""Columns that a name or a state keeps at least, however narrow the terminal."""
HEAD = ("run", "state", "best val loss", "size", "started")


def main(words: Sequence[str]) -> int:
    """The ``list`` verb. Returns the exit code."""
    named, rest = named_folder(words)
    config = config_of("list", ListConfig, parse_arguments(rest))
    folder = named or Path(config.output_dir).expanduser()
    if not os.path.isdir(folder):  # as Path.is_dir, but no error if nobody may look
        raise RunError(f"list must be given a folder of runs, but {folder} is none. Start with: cai train")
    entries = find_entries(folder)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print("\n".join(table([row(entry) for entry in entries], columns)) if entries else f"no runs in {folder}")
    print(f"\n{total(folder, entries)}")
    return clean(folder, entries) if config.clean else 0


def row(entry: Entry) -> tuple[str, ...]:
    """The cells of a run or sweep."""
    started = datetime.fromtimestamp(entry.started).strftime("%Y-%m-%d %H:%M") if entry.started else ""
    best = "" if entry.best is None else f"{entry.best:.4f}"
    return one_line(str(entry.folder)), one_line(state(entry)), best, binary(entry.size) if entry.size else "", started


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


def table(rows: Sequence[Sequence[str]], columns: int | None) -> list[str]:
    """Aligned lines under a head, Hangul syllables two columns wide; none wider than ``columns``, if there are so many."""
    everything = [HEAD, *rows]
    widths = [max(map(width, column)) for column in zip(*everything, strict=True)]
    if columns is None:
        widths[1] = min(widths[1], 100)  # an error may be a page
    else:
        spare = columns - sum(widths[2:]) - 2 * (len(widths) - 1)
        widths[:2] = share(widths[0], widths[1], spare)
    lines = []
    for name, words, *rest in everything:
        left = (pad(cut(name, widths[0], tail=True), widths[0]), pad(cut(words, widths[1]), widths[1]))
        right = (pad(cell, size, right=True) for cell, size in zip(rest, widths[2:], strict=True))
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


def total(folder: Path, entries: Sequence[Entry]) -> str:
    """How much there is."""
    sweeps = [entry for entry in entries if entry.status == "sweep"]
    jobs = sum(len(sweep.jobs) for sweep in sweeps)
    parts = [counted(len(entries) - len(sweeps), "run")]
    parts += [f"{counted(len(sweeps), 'sweep')} of {counted(jobs, 'job')}"] * bool(sweeps)
    text = f"{' and '.join(parts)}, {binary(sum(entry.size for entry in entries))}"
    cache = folder / CACHE
    return f"{text}; caches {binary(size_of(cache))}" if os.path.isdir(cache) else text


def clean(folder: Path, entries: Sequence[Entry]) -> int:
    """Show what could be deleted, ask, and delete it. Raises ``RunError`` if there is nobody to ask."""
    caches, kept = unused_caches(folder, entries)
    leftovers = [*failed_runs(entries), *caches]
    print("".join([f"\n{one_line(kept)}\n"] * bool(kept)), end="")
    if not leftovers:
        print("\nnothing to delete: no run has failed, and no cache is unused" if not kept else "\nnothing to delete")
        return 0
    print("\ncan be deleted:")
    for leftover in leftovers:
        print(f"  {one_line(str(leftover.folder))}  {binary(leftover.size)}  {cut(one_line(leftover.why), 100)}")
        print("".join([f"    warning: {one_line(leftover.warning)}\n"] * bool(leftover.warning)), end="")
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
    """Delete, and say of what was not deleted why. Returns the exit code: 1 if something could not be."""
    freed, code = 0, 0
    for leftover in leftovers:
        try:
            if delete(leftover):
                freed += leftover.size
            elif leftover.folder.is_dir():
                print(f"kept: {one_line(str(leftover.folder))}, as it is in use now")
        except OutputError as error:
            print(one_line(str(error)), file=sys.stderr)
            code = 1
    print(f"{binary(freed)} freed")
    return code


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
