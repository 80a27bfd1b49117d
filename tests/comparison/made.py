"""Runs made up for tests of the report: as many as wanted, with options, curves, texts, a failed and a running one."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.comparison.runs import FIGURES, History, RunRecord, figures_of
from cai.comparison.table import Comparison, compare_runs

BASE = {
    "seed": 1,
    "model.class": "cai.model.gpt2.GPT2Config",
    "model.block_size": 64,
    "trainer.batch_size": 8,
    "data.path": "글",
}
GRID = {"model.n_layer": (2, 4, 6, 8), "optimizer.lr": (1e-4, 3e-4, 1e-3, 4e-3), "model.activation": ("gelu", "relu2")}


def made_history(options: Mapping[str, Any], points: int, every: int = 10) -> History:
    """A loss that falls, the lower the nearer the rate is to 2e-3 and the deeper the model, with some noise."""
    source = random.Random(str(sorted(options.items())))
    rate, depth = (options.get(path) for path in ("optimizer.lr", "model.n_layer"))
    end = 1.5 - 0.02 * (depth if isinstance(depth, int) else 4)
    end += 0.3 * abs(math.log10(rate / 2e-3)) if isinstance(rate, float) else 0.0
    steps = [number * every for number in range(points)]
    loss = [end + 5 * math.exp(-8 * number / points) + source.gauss(0, 0.06) for number in range(points)]
    evaluated = max(1, points // 20)
    val = [loss[n] + 0.05 if n % evaluated == 0 or n == points - 1 else None for n in range(points)]
    columns: dict[str, list[float | None]] = {
        "train/loss": [None, *loss[1:]],
        "val/loss": val,
        "val/bits_per_byte": [value and value / 2 for value in val],
        "perf/tokens_per_sec": [None, *[9_000 + source.gauss(0, 300) for _ in loss[1:]]],
    }
    return History(steps, columns)


def made_run(
    directory: Path, points: int = 60, *, status: str = "finished", error: str | None = None, **options: Any
) -> RunRecord:
    """One run. ``options`` have ``__`` for the dots of their paths."""
    every = {**BASE, **{path.replace("__", "."): value for path, value in options.items()}}
    history = made_history(every, points) if points else History([], {})
    per_step = every["trainer.batch_size"] * every["model.block_size"]
    facts: dict[str, Any] = {"status": status, "parameters": {"total": 100_000}}
    if status not in ("running", "waiting"):
        facts["ended"] = "2026-01-01T00:00:00+00:00"
    figures = figures_of(facts, history, per_step) if points else dict.fromkeys(FIGURES)
    return RunRecord(directory, directory.name, status, error, every, tuple(GRID), facts, history, **figures)


def made_comparison(folder: Path, count: int, points: int = 60, extra: Sequence[RunRecord] = ()) -> Comparison:
    """``count`` runs over ``GRID``; when it is used up, again with other seeds."""
    runs = []
    grid = itertools.islice(itertools.cycle(itertools.product(*GRID.values())), count)
    size = math.prod(map(len, GRID.values()))
    for number, values in enumerate(grid):
        options = dict(zip((path.replace(".", "__") for path in GRID), values, strict=True))
        directory = folder / "sweep" / f"{number}_n_layer-{values[0]}_lr-{values[1]}_{values[2]}"
        directory.mkdir(parents=True, exist_ok=True)
        text = f"## Step 600: 병원 전화번호 알려 줘\n\n```\n요약:\n- {number}번째 실행. TEL: 02-123-{number:04}\n```\n"
        (directory / "samples.md").write_text(text, encoding="utf-8")
        runs.append(made_run(directory, points, seed=1 + number // size, **options))
    return compare_runs([*runs, *extra])
