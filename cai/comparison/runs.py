"""The runs to be compared: found on the disk, and read, each by itself."""

from __future__ import annotations

import dataclasses
import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.comparison.history import History, read_history
from cai.comparison.options import Scalar, flatten_tree
from cai.comparison.sweeps import ListedJobs, listed_jobs
from cai.config.tree import read_tree
from cai.errors import CaiError, RunError
from cai.runs import CONFIG, STATUS, read_facts, read_run
from cai.sweeps import SWEEP

log = logging.getLogger(__name__)

__all__ = ["History", "RunRecord", "Scalar", "find_runs", "read_runs"]

METRICS, SAMPLES = "metrics.jsonl", "samples.md"
"""As ``cai.recorder`` names them, which takes a while to import."""

OWN_FOLDERS = frozenset({"cache", "comparison", "comparisons"})
"""Folders that CAI makes beside runs, which `outputs/*` in a shell names too."""

FIGURES = (
    *("best_val_loss", "val_loss", "best_bits_per_byte", "bits_per_byte", "best_step"),
    *("steps", "tokens", "parameters", "tokens_per_sec", "seconds"),
)
"""The attributes of ``RunRecord`` that are numbers."""


@dataclass(frozen=True, eq=False)
class RunRecord:
    """One run, with all that is compared. Figures are ``None`` where they are not known."""

    directory: Path
    name: str
    """The shortest path that tells it from the others compared."""
    status: str
    """``finished``, ``running``, ``failed``, ``interrupted``, ``pruned``, or ``waiting``: a job that has not begun."""
    error: str | None
    options: Mapping[str, Scalar]
    """Dotted path → value, flat; lists and ``None`` as text; ``<group>.class`` for the class. Without ``output_dir``,
    ``name`` and ``sweep``.
    """
    swept: tuple[str, ...]
    """Dotted paths in which the jobs of its sweep differ; empty outside of a sweep."""
    facts: Mapping[str, Any]
    """``run.json``; empty for a job that has not begun."""
    history: History
    val_loss: float | None
    """The newest."""
    best_val_loss: float | None
    best_step: int | None
    bits_per_byte: float | None
    best_bits_per_byte: float | None
    steps: int | None
    """Updates done."""
    tokens: int | None
    """Trained on: rows of an update times their length."""
    parameters: int | None
    tokens_per_sec: float | None
    """Mean over all updates."""
    seconds: float | None
    """Spent in updates, without evaluation, sampling and saving."""

    def samples(self) -> str:
        """The text of the newest step in ``samples.md``; empty if there is none."""
        try:
            text = (self.directory / SAMPLES).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        headings = list(re.finditer(r"^## (Step \d+): ", text, flags=re.M))
        first = next((one for one in headings if one[1] == headings[-1][1]), None)
        return text[first.start() :].strip() if first else ""


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
            found.setdefault(run.resolve(), run)
    if words and not found:
        raise RunError(f"{' '.join(words)} must hold a run or a sweep, but hold none. Try: cai compare outputs")
    return sorted(found.values(), key=_natural)


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


def read_runs(directories: Sequence[Path]) -> list[RunRecord]:
    """Every run in ``directories``. One that cannot be read is passed over with a warning."""
    sweeps: dict[Path, ListedJobs | None] = {}
    records = []
    for directory in directories:
        sweep = directory.absolute().parent
        if sweep not in sweeps:
            sweeps[sweep] = listed_jobs(sweep) if (sweep / SWEEP).is_file() else None
        try:
            records.append(_read(directory, sweeps[sweep]))
        except (CaiError, OSError) as error:
            log.warning("warning: passed over: %s", error)
        except (KeyError, TypeError, AttributeError) as error:
            log.warning("warning: passed over: %s must be a run of CAI, but cannot be read (%r)", directory, error)
    names = shortest_names([record.directory for record in records])
    return [dataclasses.replace(record, name=name) for record, name in zip(records, names, strict=True)]


def _read(directory: Path, sweep: ListedJobs | None) -> RunRecord:
    listed = sweep.options.get(directory.name) if sweep else None
    swept = sweep.swept if sweep and listed is not None else ()
    if listed is not None and not (directory / STATUS).is_file():
        unknown = dict.fromkeys(FIGURES)
        return RunRecord(directory, "", "waiting", None, listed, swept, {}, History([], {}), **unknown)
    facts = _facts(directory)
    options = flatten_tree(read_tree(directory / CONFIG))
    history = read_history(directory / METRICS)
    figures = figures_of(facts, history, tokens_per_step(options))
    return RunRecord(directory, "", str(facts["status"]), facts.get("error"), options, swept, facts, history, **figures)


def _facts(directory: Path) -> dict[str, Any]:
    try:
        return read_run(directory)
    except PermissionError:  # of a lock that another user holds: as it was written
        return read_facts(directory)


def tokens_per_step(options: Mapping[str, Scalar]) -> int:
    """Tokens of an update; 0 if the options do not say."""
    rows, length = options.get("trainer.batch_size"), options.get("model.block_size")
    return rows * length if isinstance(rows, int) and isinstance(length, int) else 0


def figures_of(facts: Mapping[str, Any], history: History, per_step: int) -> dict[str, Any]:
    """The values of ``FIGURES``. What ``run.json`` says of steps and time counts once a run has ended: before, it is of an
    earlier end, or not there.
    """
    loss, bits = "val/loss", "val/bits_per_byte"
    lowest, newest = history.lowest(loss), facts.get("metrics", {})
    ended = "ended" in facts
    steps = facts.get("steps") if ended else None
    seconds = facts.get("seconds") if ended else None
    if steps is None and history.steps:
        steps = history.steps[-1]
    if seconds is None and history.steps:
        seconds = history.seconds(per_step)[-1] or None
    tokens = steps * per_step if steps is not None and per_step else None
    best_step = lowest[0] if lowest else facts.get("best_step")
    return {
        "val_loss": _first(history.last(loss), newest.get(loss)),
        "best_val_loss": lowest[1] if lowest else facts.get("best_val_loss"),
        "best_step": best_step,
        "bits_per_byte": _first(history.last(bits), newest.get(bits)),
        "best_bits_per_byte": history.at(bits, best_step) if best_step is not None else None,
        "steps": steps,
        "tokens": tokens,
        "parameters": facts.get("parameters", {}).get("total"),
        "tokens_per_sec": tokens / seconds if tokens and seconds else None,
        "seconds": seconds,
    }


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def shortest_names(directories: Sequence[Path]) -> list[str]:
    """For each directory the shortest end of its path that none of the others has."""
    paths = [directory.absolute().parts for directory in directories]
    counts = Counter(parts[start:] for parts in paths for start in range(len(parts)))
    return [
        shown(Path(*next((parts[start:] for start in range(len(parts) - 1, -1, -1) if counts[parts[start:]] == 1), parts)))
        for parts in paths
    ]


def shown(path: Path) -> str:
    """As text that can be written: a file system takes names that are none."""
    return path.as_posix().encode("utf-8", "replace").decode()
