"""The runs to be compared, read, each by itself."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.columns import one_line
from cai.comparison.facts import sound_facts
from cai.comparison.finding import shortest_names
from cai.comparison.history import History, number, read_history, whole
from cai.comparison.options import Scalar, flatten_tree
from cai.comparison.sweeps import ListedJobs, listed_jobs
from cai.config.tree import read_tree
from cai.errors import CaiError
from cai.runs import CONFIG, METRICS, SAMPLES, STATUS, SWEEP, read_facts, read_run

log = logging.getLogger(__name__)

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
            _pass_over(str(error))
        except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
            _pass_over(f"{directory} must be a run of CAI, but cannot be read ({error!r})")
    names = shortest_names([record.directory for record in records])
    return [dataclasses.replace(record, name=name) for record, name in zip(records, names, strict=True)]


def _pass_over(why: str) -> None:
    log.warning("warning: passed over: %s", one_line(why))


def _read(directory: Path, sweep: ListedJobs | None) -> RunRecord:
    listed = sweep.options.get(directory.name) if sweep else None
    swept = sweep.swept if sweep and listed is not None else ()
    if listed is not None and not (directory / STATUS).is_file():
        unknown = dict.fromkeys(FIGURES)
        return RunRecord(directory, "", "waiting", None, listed, swept, {}, History([], {}), **unknown)
    facts = _facts(directory)
    if listed is not None and not (directory / CONFIG).is_file():  # a job that failed before there was a run
        options = listed
    else:
        options = flatten_tree(read_tree(directory / CONFIG))
    history = read_history(directory / METRICS)
    figures = figures_of(facts, history, tokens_per_step(options))
    return RunRecord(directory, "", str(facts["status"]), facts.get("error"), options, swept, facts, history, **figures)


def _facts(directory: Path) -> dict[str, Any]:
    try:
        return sound_facts(read_run(directory))
    except PermissionError:  # of a lock that another user holds: as it was written
        return sound_facts(read_facts(directory))


def tokens_per_step(options: Mapping[str, Scalar]) -> int:
    """Tokens of an update; 0 if the options do not say."""
    rows, length = whole(options.get("trainer.batch_size")), whole(options.get("model.block_size"))
    return rows * length if rows and length else 0


def figures_of(facts: Mapping[str, Any], history: History, per_step: int) -> dict[str, Any]:
    """The values of ``FIGURES``. What ``run.json`` says of steps and time counts once a run has ended: before, it is of an
    earlier end, or not there.
    """
    loss, bits = "val/loss", "val/bits_per_byte"
    lowest, newest = history.lowest(loss), facts.get("metrics", {})
    ended = "ended" in facts
    steps = whole(facts.get("steps")) if ended else None
    seconds = number(facts.get("seconds")) if ended else None
    if steps is None and history.steps:
        steps = history.steps[-1]
    if seconds is None and history.steps:
        seconds = number(history.seconds(per_step)[-1]) or None
    tokens = steps * per_step if steps is not None and per_step else None
    best_step = lowest[0] if lowest else whole(facts.get("best_step"))
    return {
        "val_loss": _first(history.last(loss), number(newest.get(loss))),
        "best_val_loss": lowest[1] if lowest else number(facts.get("best_val_loss")),
        "best_step": best_step,
        "bits_per_byte": _first(history.last(bits), number(newest.get(bits))),
        "best_bits_per_byte": history.at(bits, best_step) if best_step is not None else None,
        "steps": steps,
        "tokens": tokens,
        "parameters": whole(facts.get("parameters", {}).get("total")),
        "tokens_per_sec": number(tokens / seconds) if tokens and seconds else None,
        "seconds": seconds,
    }


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
