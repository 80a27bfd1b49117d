"""Several processes that train one model: is the curve the same, and what do records and checkpoints cost?

    python benchmarks/ranks.py [--steps 50] [--rounds 3] [--only curve|cost]

Curve: the same run with 1, 2 and 4 Gloo processes on the CPU, DDP and FSDP2, AdamW (with dropout) and Muon, in float64 and
fp32, micro-batches of one sequence, answers alone as targets; the largest relative difference of any training or validation
loss to the run of one process.

Cost: two processes, the default model; seconds of a run by its steps, with no records, with a record every ten steps, with a
checkpoint every ten as well, written in turn and beside training (`trainer.async_save`), in alternation. Hidden is the share
of a checkpoint's seconds that writing it beside training saves.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from measuring import median, report

import cai
from cai.launch import together
from cai.train import train_in
from cai.world import current

SMALL = (
    *("model.n_layer=2", "model.n_head=2", "model.n_embd=32", "model.block_size=128", "tokenizer.vocab_size=400"),
    *(
        "data.samples=300",
        "trainer.batch_size=8",
        "trainer.micro_batch_size=1",
        "trainer.log_every=1",
        "trainer.save_every=0",
    ),
    *("trainer.eval_every=10", "trainer.eval_max_tokens=2000"),
)
QUIET = ("trainer.samples=0", "trainer.answers=0", "device=cpu", "device.threads=1")
OPTIMIZERS = {"adamw": ("model=gpt2_nano", "model.dropout=0.1", "optimizer=adamw"), "muon": ("model=modern_nano",)}
SECONDS = "seconds.txt"
"""Of a whole run: its beginning, which all share, included."""
COSTS = {
    "no records": ("trainer.log_every=100000", "trainer.save_every=0"),
    "records": ("trainer.log_every=10", "trainer.save_every=0"),
    "and checkpoints": ("trainer.log_every=10", "trainer.save_every=10"),
    "and checkpoints beside": ("trainer.log_every=10", "trainer.save_every=10", "trainer.async_save=true"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("curve", "cost"))
    options = parser.parse_args()
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            curve = compare_curves(options.steps) if options.only != "cost" else None
            cost = compare_costs(options.steps, options.rounds) if options.only != "curve" else None
        finally:
            os.chdir(home)
    rows = (curve[0] if curve else []) + (cost[0] if cost else [])
    report("ranks", rows, {"curve": curve and curve[1], "cost": cost and cost[1]})


def compare_curves(steps: int) -> tuple[list[list[object]], dict[str, float]]:
    """The largest relative difference of a loss for each kind of run and number of processes."""
    kinds = [" ".join(kind) for kind in itertools.product(OPTIMIZERS, ("ddp", "fsdp"), ("fp64", "fp32"))]
    for processes in (1, 2, 4):
        start(processes, {kind: words_of(kind, steps) for kind in kinds}, f"curve_{processes}")
    rows: list[list[object]] = [["50 steps" if steps == 50 else f"{steps} steps", "2 processes", "4 processes"]]
    found = {}
    for kind in kinds:
        alone, *others = (losses(Path(f"curve_{processes}") / kind) for processes in (1, 2, 4))
        apart = [max(abs(a - b) / abs(a) for a, b in zip(alone, other, strict=True)) for other in others]
        found |= {f"{kind} {processes}": value for processes, value in zip((2, 4), apart, strict=True)}
        rows.append([kind, *(f"{value:.1e}" for value in apart)])
    return rows, found


def compare_costs(steps: int, rounds: int) -> tuple[list[list[object]], dict[str, object]]:
    """Seconds of a step by what is kept of it, and the share of a checkpoint's that is hidden."""
    laps: dict[str, list[float]] = {name: [] for name in COSTS}
    fixed = (f"trainer.max_steps={steps}", "trainer.eval_every=0", "trainer.eval_max_tokens=2000", "trainer.sample_every=0")
    for number in range(rounds):
        folder = f"cost_{number}"
        start(2, {name: [*fixed, *words, *QUIET] for name, words in COSTS.items()}, folder)
        for name in COSTS:
            laps[name].append(float((Path(folder) / name / SECONDS).read_text(encoding="utf-8")) / steps)
    middle = {name: median(values) for name, values in laps.items()}
    rows: list[list[object]] = [["2 processes", "ms a step", "more than before"]]
    for (name, seconds), before in zip(middle.items(), [None, *list(middle.values())[:2], middle["records"]], strict=True):
        rows.append([name, f"{1e3 * seconds:.1f}", "" if before is None else f"{100 * (seconds / before - 1):.1f} %"])
    in_turn, beside = (middle[name] - middle["records"] for name in ("and checkpoints", "and checkpoints beside"))
    hidden = 1 - beside / in_turn
    rows.append(["of a checkpoint's time hidden", f"{100 * hidden:.0f} %", ""])
    return rows, {"seconds_a_step": laps, "hidden": hidden}


def words_of(kind: str, steps: int) -> list[str]:
    optimizer, strategy, precision = kind.split()
    given = [f"trainer.max_steps={steps}", f"device.strategy={strategy}", f"device.precision={precision}"]
    return [*OPTIMIZERS[optimizer], *SMALL, *QUIET, *given]


def start(processes: int, runs: dict[str, Sequence[str]], folder: str) -> None:
    """Train each of ``runs`` in a folder of its name, all with one start of the processes."""
    device = cai.compose([*QUIET, f"device.processes={processes}"]).device
    together(device, train_each, Path(folder), {name: list(words) for name, words in runs.items()})


def train_each(directory: Path, runs: dict[str, list[str]]) -> None:
    for name, words in runs.items():
        if current().is_first:
            (directory / name).mkdir(parents=True)
        started = time.perf_counter()
        train_in(directory / name, cai.compose(words))
        if current().is_first:
            (directory / name / SECONDS).write_text(str(time.perf_counter() - started), encoding="utf-8")


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line[tag] for line in lines for tag in ("train/loss", "val/loss") if tag in line]


if __name__ == "__main__":
    main()
