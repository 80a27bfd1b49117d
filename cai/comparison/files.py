"""A comparison as files for other programs: every run and every figure, nothing rounded."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cai.comparison.finding import shown, writable
from cai.comparison.options import Scalar
from cai.comparison.runs import FIGURES, RunRecord
from cai.comparison.table import Comparison, Group
from cai.files import write_whole

CSV, JSON = "compare.csv", "compare.json"
FORMAT = 1
"""Of ``compare.json``."""


def write_csv(comparison: Comparison, path: Path) -> None:
    """A line for each run, those of the best group first; a column for each figure, newest value of a tag, and option."""
    runs = [(number, run) for number, group in enumerate(comparison.groups, 1) for run in group.runs]
    tags = list(dict.fromkeys(tag for _, run in runs for tag in run.history.columns if tag not in LISTED))
    options = list(dict.fromkeys(path for _, run in runs for path in run.options))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "directory", "group", "best", "status", "error", *FIGURES, *tags, *options])
    for place, run in runs:
        figures = [getattr(run, figure) for figure in FIGURES] + [run.history.last(tag) for tag in tags]
        values = [_spelled(run.options.get(path)) for path in options]
        best = _spelled(run is comparison.best)
        writer.writerow([run.name, shown(run.directory), place, best, run.status, run.error, *figures, *values])
    write_whole(path, writable(text.getvalue()))


LISTED = ("val/loss", "val/bits_per_byte", "perf/tokens_per_sec")
"""Tags whose newest value is a figure already, or stands for less than one."""


def _spelled(value: object) -> object:
    """As on a command line: Python's own ``True`` is read as text elsewhere."""
    return str(value).lower() if isinstance(value, bool) else value


def write_json(comparison: Comparison, path: Path) -> None:
    """The groups with means and deviations, and every run with figures, newest values, options and fingerprints."""
    tree = {
        "format": FORMAT,
        "ranked_by": comparison.ranked_by,
        "best": comparison.best.name if comparison.best else None,
        "differing": comparison.differing,
        "warnings": comparison.warnings,
        "groups": [_group(group) for group in comparison.groups],
        "runs": [_run(run) for run in comparison.runs],
    }
    write_whole(path, writable(json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n"))


def _group(group: Group) -> dict[str, Any]:
    tags = dict.fromkeys(tag for run in group.counted for tag in run.history.columns)
    figures = (*FIGURES, *tags)
    return {
        "runs": [run.name for run in group.runs],
        "counted": [run.name for run in group.counted],
        "status": group.status,
        "options": _options(group.differing),
        "mean": {figure: group.mean(figure) for figure in figures},
        "deviation": {figure: group.deviation(figure) for figure in figures},
    }


def _options(options: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """JSON has no infinity, but an option may be one."""
    infinite = {path for path, value in options.items() if isinstance(value, float) and not math.isfinite(value)}
    return {path: str(value) if path in infinite else value for path, value in options.items()}


def _run(run: RunRecord) -> dict[str, Any]:
    return {
        "name": run.name,
        "directory": shown(run.directory),
        "status": run.status,
        "error": run.error,
        "figures": {figure: getattr(run, figure) for figure in FIGURES},
        "newest": {tag: run.history.last(tag) for tag in run.history.columns},
        "options": _options(run.options),
        "swept": list(run.swept),
        **{key: run.facts.get(key) for key in ("overrides", "started", "ended", "device", "machine", "fingerprints")},
    }
