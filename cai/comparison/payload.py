"""A comparison as plain data: what ``report.html`` is drawn from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cai.comparison.options import short_paths
from cai.comparison.runs import FIGURES
from cai.comparison.table import come_far

if TYPE_CHECKING:
    from cai.comparison.history import History
    from cai.comparison.runs import RunRecord
    from cai.comparison.table import Comparison, Group

TAGS = ("train/loss", "val/loss", "val/bits_per_byte")
ALL_POINTS = 400_000
"""Of all curves together. With 200 runs that is a thousand for each of two curves: about one for every pixel of a screen."""
FEWEST_POINTS, MOST_POINTS = 200, 4_000
CLOCK_POINTS = 64
"""Training is nearly uniform in time: so many pairs of step and seconds give all others by interpolation."""
SAMPLE_LENGTH, ERROR_LENGTH = 6_000, 2_000
"""Characters of a run's texts and of its error that are shown."""
DIGITS = 6
"""Significant digits of the values of a curve."""


def payload_of(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """``comparison`` as data that JSON can hold. Links are relative to ``folder``, where the report will be.

    Curves of more points than a screen has pixels are thinned: of each stretch the lowest and the highest value stay.
    """
    runs = list(comparison.runs)
    limit = min(MOST_POINTS, max(FEWEST_POINTS, ALL_POINTS // (2 * max(1, len(runs)))))
    index = {id(run): number for number, run in enumerate(runs)}
    longest = max((len(run.history.steps) for run in runs), default=0)
    axes: dict[tuple[int, ...], int] = {}
    data = [run_data(run, folder, limit, axes) for run in runs]
    return {
        "rank": comparison.rank,
        "ranking": [index[id(run)] for run in best_first(comparison)],
        "best": index[id(comparison.best)] if comparison.best is not None else None,
        "warnings": list(comparison.warnings),
        "figures": list(FIGURES),
        "thinned": limit if longest > limit else 0,
        "options": options_data([run.options for run in runs], comparison.differing),
        "groups": [_group_data(group, comparison.rank, index) for group in comparison.groups],
        "steps": [list(axis) for axis in axes],
        "runs": data,
    }


def best_first(comparison: Comparison) -> list[RunRecord]:
    """Every run: the best, then those that have finished, then those that have come less far or have no figure."""

    def key(run: RunRecord) -> tuple[bool, bool, int, float]:
        value = getattr(run, comparison.rank)
        return run is not comparison.best, value is None, come_far(run.status), value or 0.0

    return sorted(comparison.runs, key=key)


def run_data(run: RunRecord, folder: Path, limit: int, axes: dict[tuple[int, ...], int]) -> dict[str, Any]:
    """One run. A curve is the number of its steps in ``axes``, which runs share, and its values."""
    curves = {}
    for tag in TAGS:
        steps, values = thin(*run.history.series(tag), limit)
        if steps:
            axis = axes.setdefault(tuple(steps), len(axes))
            curves[tag] = [axis, [float(f"{value:.{DIGITS}g}") for value in values]]
    samples, error = run.samples(), run.error or ""
    return {
        "name": run.name,
        "link": link_to(run.directory, folder),
        "status": run.status,
        "error": _cut(error, ERROR_LENGTH),
        "figures": [_number(getattr(run, figure)) for figure in FIGURES],
        "per_step": run.tokens / run.steps if run.tokens and run.steps else None,
        "clock": clock_of(run.history, run.tokens / run.steps if run.tokens and run.steps else 0),
        "curves": curves,
        "samples": _cut(samples, SAMPLE_LENGTH),
    }


def options_data(options: Sequence[Mapping[str, Any]], differing: Sequence[str]) -> dict[str, Any]:
    """What is equal in all runs once; of the others one value per run, ``None`` where a run does not have the option."""
    paths = list(dict.fromkeys(path for each in options for path in each))
    same = {path for path in paths if all(path in each for each in options) and len({each[path] for each in options}) == 1}
    return {
        "same": {path: options[0][path] for path in paths if path in same},
        "varied": {path: [_number(each.get(path)) for each in options] for path in paths if path not in same},
        "differing": [path for path in differing if path not in same],
        "short": short_paths(list(differing), paths),
    }


def thin(steps: Sequence[int], values: Sequence[float], limit: int) -> tuple[list[int], list[float]]:
    """At most about ``limit`` points: the first, the last, and of each stretch between the lowest and the highest."""
    count = len(steps)
    if count <= limit:
        return list(steps), list(values)
    kept = {0, count - 1}
    stretches = max(1, (limit - 2) // 2)
    for number in range(stretches):
        stretch = range(number * count // stretches, (number + 1) * count // stretches)
        kept |= {min(stretch, key=values.__getitem__), max(stretch, key=values.__getitem__)}
    order = sorted(kept)
    return [steps[index] for index in order], [values[index] for index in order]


def clock_of(history: History, per_step: float) -> list[list[float]]:
    """A few steps, and the seconds spent in updates up to each; empty if the speed is not known."""
    if not history.steps or not per_step:
        return []
    seconds = history.seconds(round(per_step))
    if not seconds[-1]:
        return []
    count = min(CLOCK_POINTS, len(seconds))
    chosen = sorted({round(number * (len(seconds) - 1) / max(1, count - 1)) for number in range(count)})
    return [[history.steps[index] for index in chosen], [round(seconds[index], 3) for index in chosen]]


def link_to(directory: Path, folder: Path) -> str:
    """The address of ``directory`` seen from ``folder``: relative, and never taken for a scheme such as ``javascript:``."""
    try:
        path = os.path.relpath(directory.absolute(), folder.absolute())
    except ValueError:  # on another drive
        return directory.absolute().as_uri() + "/"
    return f"./{quote(os.fsencode(Path(path).as_posix()))}/"


def _group_data(group: Group, figure: str, index: Mapping[int, int]) -> dict[str, Any]:
    return {
        "runs": [index[id(run)] for run in group.runs],
        "counted": [index[id(run)] for run in group.counted],
        "count": group.count,
        "mean": _number(group.mean(figure)),
        "deviation": _number(group.deviation(figure)),
    }


def _number(value: Any) -> Any:
    """JSON has no infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}\n… (cut; the run directory has the rest)"
