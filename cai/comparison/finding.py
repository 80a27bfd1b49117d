"""Runs found on the disk, and named."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from cai.comparison.sweeps import listed_jobs
from cai.errors import RunError
from cai.runs import STATUS, SWEEP

OWN_FOLDERS = frozenset({"cache", "comparison", "comparisons"})
"""Folders that CAI makes beside runs, which `outputs/*` in a shell names too."""


def find_runs(words: Sequence[str]) -> list[Path]:
    """The run directories that ``words`` mean, each once, in the order of their paths with numbers as numbers.

    A word is a run, a sweep (all of its jobs, those that have not begun too), a folder above such, or a glob of these.
    Raises ``RunError`` for a word that means none, but for ``OWN_FOLDERS`` among others.
    """
    found: dict[Path, Path] = {}
    for word in words:
        runs = list(_runs_of(word))
        if not runs and not (len(words) > 1 and Path(word).name in OWN_FOLDERS and Path(word).is_dir()):
            fact = f"holds no {STATUS} and no {SWEEP}" if Path(word).expanduser().exists() else "there is no such path"
            raise RunError(f"`{word}` must be a run, a sweep or a folder of such, but {fact}. Try: cai compare outputs")
        for run in runs:
            found.setdefault(run.resolve(), _not_a_link(run))
    if words and not found:
        raise RunError(f"{' '.join(words)} must hold a run or a sweep, but hold none. Try: cai compare outputs")
    return sorted(found.values(), key=_natural)


def _not_a_link(run: Path) -> Path:
    """The directory that a link such as a study's ``best`` stands for: by its own name its sweep knows it."""
    if not run.is_symlink():
        return run
    target = Path(os.path.normpath(run.parent / os.readlink(run)))
    return target if not target.is_symlink() and target.resolve() == run.resolve() else run.resolve()


def _runs_of(word: str) -> Iterator[Path]:
    path = Path(word).expanduser()
    matches = [path] if path.exists() else [Path(match) for match in glob.glob(str(path), recursive=True)]
    for match in matches:
        if match.is_file() and (match.parent / STATUS).is_file() | (match.parent / SWEEP).is_file():
            match = match.parent  # `sweep/*` names sweep.json too
        yield from _runs_below(match)


def _runs_below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        if STATUS in files or SWEEP in files:
            yield from [Path(place)] if STATUS in files else _jobs_of(Path(place))
        folders[:] = [] if STATUS in files else [name for name in folders if not name.startswith(".")]


def _jobs_of(sweep: Path) -> list[Path]:
    listing = listed_jobs(sweep)
    return [sweep / folder for folder in listing.options] if listing else []


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def shortest_names(directories: Sequence[Path]) -> list[str]:
    """For each directory the shortest end of its path that none of the others has."""
    paths = [directory.absolute().parts for directory in directories]
    counts = Counter(parts[start:] for parts in paths for start in range(len(parts)))
    return [
        shown(Path(*next((parts[start:] for start in range(len(parts) - 1, -1, -1) if counts[parts[start:]] == 1), parts)))
        for parts in paths
    ]


def shown(path: Path) -> str:
    """As text that can be written."""
    return writable(path.as_posix())


def writable(text: str) -> str:
    """``text`` as UTF-8 can hold it: names in a file system, and texts in JSON, may have a half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode()
