"""What a run has left on the disk: checkpoints, exports, evaluations. Whoever wrote them, they are data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from cai.columns import binary, one_line
from cai.comparison.history import number, whole
from cai.entry import BAD, size_of
from cai.errors import CaiError
from cai.evaluation.report import FOLDER
from cai.evaluation.scores import in_short
from cai.exports import EXPORT, read_export
from cai.runs import SAMPLES

MOST = 6
"""Of one kind that are named."""

Rows = list[tuple[str, str]]


def rows_of_files(directory: Path) -> Rows:
    """Each kind of what is there, and how much room all of it takes."""
    rows = _kind("checkpoints", _checkpoints(directory / "checkpoints")) or [("checkpoints", "none")]
    rows += _kind("exports", _exports(directory / "exports"))
    rows += _kind("evaluations", _evaluations(directory / FOLDER))
    names = [name for name in (SAMPLES, "answers.jsonl", "train.log") if (directory / name).is_file()]
    profile = sorted(path.name for path in directory.glob("*profile*"))
    rows += [("to be read", ", ".join([*names, *map(one_line, profile[:MOST])]))] * bool(names or profile)
    rows.append(("size", f"{binary(size_of(directory))} on the disk"))
    return [
        (name if name != before else "", text)
        for (name, text), before in zip(rows, ["", *(r[0] for r in rows)], strict=False)
    ]


def _kind(name: str, found: Iterator[str]) -> Rows:
    """The first of them, the name before the first alone, and how many more there are."""
    texts = list(found)
    texts = [*texts[:MOST], *[f"and {len(texts) - MOST} more"] * (len(texts) > MOST)]
    return [("" if place else name, text) for place, text in enumerate(texts)]


def _checkpoints(folder: Path) -> Iterator[str]:
    """Newest first, files of one step together; of each its step, its size, and whether its head can be read at all."""
    found: dict[tuple[int, int], list[str]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        step = step_of(path)
        try:
            found.setdefault((-1 if step is None else step, path.stat().st_size), []).append(path.stem)
        except OSError:  # written anew at this moment
            continue
    for (step, size), names in sorted(found.items(), reverse=True):
        at = "cannot be read" if step < 0 else f"step {step:,}"
        yield one_line(f"{', '.join(names)}: {at}, {binary(size)}{' each' * (len(names) > 1)}")
    if damaged := sorted(path.name for path in folder.glob("*.damaged")):
        yield one_line(f"put aside as damaged: {', '.join(damaged)}")


def step_of(path: Path) -> int | None:
    """Of a checkpoint, out of its head, which alone is read; ``None`` if that is no checkpoint's."""
    try:
        with safe_open(path, framework="np") as file:
            return whole(_object(json.loads(file.metadata()["state"])).get("step"))
    except (SafetensorError, *BAD):
        return None


def _exports(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob(f"*/{EXPORT}")):
        name, size = path.parent.name, binary(size_of(path.parent))
        try:
            facts = read_export(path.parent)
        except CaiError:
            yield one_line(f"{name}: cannot be read, {size}")
            continue
        of = f"{facts['to']}, {facts.get('precision')}, of {facts.get('checkpoint')} at step {facts['step']:,}"
        yield one_line(f"{name}: {of}, {size}")


def _evaluations(folder: Path) -> Iterator[str]:
    """Newest first: what was found, in a line."""
    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            page = _object(json.loads(path.read_text(encoding="utf-8")))
        except BAD:
            yield one_line(f"{path.name}: cannot be read")
            continue
        figures = {str(key): value for key, value in _object(page.get("figures")).items() if number(value) is not None}
        said = [
            f"{name} {figures[key]:.4g}"
            for key, name in (("loss", "loss"), ("bits_per_byte", "bits per byte"))
            if key in figures
        ]
        said += [in_short(figures)] * bool(in_short(figures))
        yield one_line(f"{path.stem}: {page.get('checkpoint', '?')}, {', '.join(said) or 'no figures'}")


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
