"""Several processes that train one model: is the curve the same, and what do records and checkpoints cost?

    python benchmarks/ranks.py [--steps 50] [--rounds 3] [--only curve|cost]

Curve: the same run with 1, 2 and 4 Gloo processes on the CPU, DDP and FSDP2, AdamW (with dropout) and Muon, in float64 and
fp32, micro-batches of one sequence, answers alone as targets; the largest relative difference of any training or validation
loss to the run of one process.

Cost: two processes and a model of 20 M parameters, whose checkpoints are large for its steps: seconds of a run by its steps,
with no records, with a record every ten steps, with a checkpoint every ten as well, written in turn and beside training
(`trainer.async_save`), in alternation; and for how long training waits for a checkpoint. Hidden is the share of what
checkpoints cost beyond the last one, which every run writes and waits for, that is saved by writing them beside training: of
the waiting, and of all seconds, which is less where writing has no core of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from measuring import median, report

import cai
from cai.launch import together
from cai.train import train_in
from cai.trainer.folder import CheckpointFolder
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
    *("schedule.warmup_steps=5", "trainer.eval_every=10", "trainer.eval_max_tokens=2000"),
)
QUIET = ("trainer.samples=0", "trainer.answers=0", "device=cpu", "device.threads=1")
OPTIMIZERS = {"adamw": ("model=gpt2_nano", "model.dropout=0.1", "optimizer=adamw"), "muon": ("model=modern_nano",)}
WIDE = (
    *("model=gpt2_nano", "model.n_layer=6", "model.n_head=8", "model.n_embd=512", "model.block_size=128", "optimizer=adamw"),
    *("data.samples=300", "data.loss=all", "data.packing=stream", "trainer.batch_size=4", "device.precision=fp32"),
)
SECONDS = "seconds.json"
"""Of a whole run, its beginning included, which all share; and those of them in which it waits for its checkpoints."""
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
    """Seconds of a step by what is kept of it, those of a checkpoint, and the share of them that is hidden."""
    laps: dict[str, list[float]] = {name: [] for name in COSTS}
    waits: dict[str, list[float]] = {name: [] for name in COSTS}
    fixed = (f"trainer.max_steps={steps}", "trainer.eval_every=0", "trainer.eval_max_tokens=200", "trainer.sample_every=0")
    for number in range(rounds):
        folder = f"cost_{number}"
        order = dict(list(COSTS.items())[number % 2 :: 1] + list(COSTS.items())[: number % 2])
        start(2, {name: [*fixed, *WIDE, *words, *QUIET] for name, words in order.items()}, folder)
        for name in COSTS:
            seconds, waited = json.loads((Path(folder) / name / SECONDS).read_text(encoding="utf-8"))
            laps[name].append(seconds / steps)
            waits[name].append(waited)
    rows: list[list[object]] = [["2 processes", "ms a step", "s in which a run waits for its checkpoints"]]
    rows += [[name, f"{1e3 * median(laps[name]):.1f}", f"{median(waits[name]):.2f}"] for name in COSTS]
    of_laps, of_waits = hidden(laps), hidden(waits)
    rows.append(["hidden", f"{100 * of_laps:.0f} %", f"{100 * of_waits:.0f} %"])
    return rows, {"seconds_a_step": laps, "waiting": waits, "hidden": {"seconds": of_laps, "waiting": of_waits}}


def hidden(spent: dict[str, list[float]]) -> float:
    """The share of what checkpoints add that they do not add if they are written beside training."""
    none, in_turn, beside = (median(spent[name]) for name in ("records", "and checkpoints", "and checkpoints beside"))
    return 1 - (beside - none) / (in_turn - none)


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
        with waiting() as waited:
            started = time.perf_counter()
            train_in(directory / name, cai.compose(words))
            seconds = time.perf_counter() - started
        if current().is_first:
            (directory / name / SECONDS).write_text(json.dumps([seconds, sum(waited)]), encoding="utf-8")


@contextmanager
def waiting() -> Iterator[list[float]]:
    """How long the run inside waits for each of its checkpoints, and at its end for those that are not written yet."""
    times: list[float] = []
    plain = {name: getattr(CheckpointFolder, name) for name in ("save_last", "save_best", "wait")}

    def timed(method: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            begun = time.perf_counter()
            method(*arguments)
            times.append(time.perf_counter() - begun)

        return call

    for name, method in plain.items():
        setattr(CheckpointFolder, name, timed(method))
    try:
        yield times
    finally:
        for name, method in plain.items():
            setattr(CheckpointFolder, name, method)


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line[tag] for line in lines for tag in ("train/loss", "val/loss") if tag in line]


if __name__ == "__main__":
    main()
