"""Run directories as a run leaves them, written in a moment, and records of runs without any directory."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.comparison.history import History
from cai.comparison.runs import RunRecord, figures_of, tokens_per_step
from cai.config.saved import config_text, to_tree
from cai.runs import METRICS, SAMPLES
from cai.sweeps import Sweep, SweepJob
from tests.conftest import TINY

Values = Mapping[str, float | None]

FACTS: dict[str, Any] = {
    "status": "finished",
    "started": "2026-01-01T00:00:00+00:00",
    "ended": "2026-01-01T00:01:00+00:00",
    "fingerprints": {"corpus": "c0", "tokenizer": "t0", "tokens": "s0", "ids": "i0"},
    "device": {"type": "cpu", "precision": "fp32", "threads": 1},
    "machine": {"system": "Linux-6", "processor": "x86_64", "cpu_count": 2},
    "code": {"commit": "0123456789abcdef", "dirty": False},
    "versions": {"cai": "1", "torch": "2.13"},
    "parameters": {"total": 9616, "without_embeddings": 3216},
    "max_steps": 6,
    "steps": 6,
    "seconds": 2.0,
    "metrics": {},
}
LINES: dict[int, Values] = {
    0: {"val/loss": 6.0, "val/bits_per_byte": 5.0},
    2: {"train/loss": 5.5, "perf/tokens_per_sec": 100.0},
    3: {"val/loss": 4.0, "val/bits_per_byte": 3.3},
    6: {"train/loss": 4.5, "perf/tokens_per_sec": 200.0, "val/loss": 4.25, "val/bits_per_byte": 3.5},
}


@functools.cache
def composed(*overrides: str) -> Any:
    """A whole config of a tiny run."""
    import cai

    return cai.compose([*TINY, *overrides])


def make_run(directory: Path, *overrides: str, lines: Mapping[int, Values] = LINES, **facts: Any) -> Path:
    """A run directory with the config of ``overrides``; a fact that is ``None`` is left out."""
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(config_text(composed(*overrides)), encoding="utf-8")
    known = {key: value for key, value in (FACTS | facts).items() if value is not None}
    (directory / "run.json").write_text(json.dumps(known), encoding="utf-8")
    text = "".join(json.dumps({"step": step, **values}) + "\n" for step, values in lines.items())
    (directory / METRICS).write_text(text, encoding="utf-8")
    (directory / SAMPLES).write_text(
        "## Step 3: 옛\n\n```\n글\n```\n\n## Step 6: 새\n\n```\n새 글\n```\n\n", encoding="utf-8"
    )
    return directory


def make_sweep(directory: Path, overrides: Sequence[Sequence[str]]) -> list[Path]:
    """``sweep.json`` of jobs none of which has begun. Returns their directories."""
    directory.mkdir(parents=True)
    jobs = [SweepJob(f"{number}_job", tuple(each), to_tree(composed(*each))) for number, each in enumerate(overrides)]
    Sweep(directory, (), tuple(jobs)).save()
    return [directory / job.folder for job in jobs]


OPTIONS: dict[str, Any] = {
    "seed": 1,
    "model.class": "cai.model.modern.ModernConfig",
    "model.block_size": 32,
    "model.n_layer": 4,
    "data.isolate": False,
    "data.loss": "all",
    "data.packing": "stream",
    "data.seed": 1337,
    "optimizer.lr": 0.01,
    "trainer.batch_size": 4,
    "trainer.answers": 0,
    "trainer.eval_every": 3,
    "trainer.eval_max_tokens": "null",
}


def record(
    name: str,
    loss: float | None = 4.0,
    *,
    status: str = "finished",
    facts: Mapping[str, Any] | None = None,
    columns: Mapping[str, float] | None = None,
    **options: Any,
) -> RunRecord:
    """A run that was evaluated twice, 1 above ``loss`` and at it. ``__`` in ``options`` stands for a dot."""
    values = OPTIONS | {key.replace("__", "."): value for key, value in options.items()}
    known = FACTS | (facts or {})
    bits = {"val/bits_per_byte": [None if loss is None else loss + 0.8, None if loss is None else loss * 0.8]}
    losses: dict[str, list[float | None]] = {"val/loss": [None if loss is None else loss + 1, loss], **bits}
    history = History([3, 6], {**losses, **{tag: [None, value] for tag, value in (columns or {}).items()}})
    figures = figures_of(known, history, tokens_per_step(values))
    return RunRecord(Path(name), name, status, None, values, (), known, history, **figures)
