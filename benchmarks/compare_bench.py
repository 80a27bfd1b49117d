"""How long `cai compare` takes over a sweep of 200 runs with 1,000 points each, as a process of its own.

    python benchmarks/compare_bench.py [--runs 200] [--points 1000] [--rounds 3] [--keep DIR] [--events]

The directories are made from one real tiny run's files: its config, run.json and samples, with the swept options, losses and
speeds of each job put in. `--keep` leaves them in DIR; `--events` writes TensorBoard's files too, as a run does.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import median, report, run

import cai
from cai.config.roots import TrainConfig
from cai.config.saved import FORMAT, save_config, to_tree
from cai.recorder import Recorder
from cai.tensorboard import hyperparameters

TINY = (
    *("trainer=smoke", "trainer.max_steps=6", "trainer.eval_every=3", "trainer.log_every=2", "trainer.eval_max_tokens=256"),
    *("data.samples=120", "data.questions=3", "data.wild=0.0", "data.val_ratio=0.2", "tokenizer.vocab_size=400"),
    *("model.n_layer=1", "model.n_head=2", "model.n_embd=16", "model.block_size=32", "generation.max_new_tokens=20"),
    *("device=cpu", "schedule.warmup_steps=2"),
)
LAYERS, RATES, LOG_EVERY, EVAL_EVERY = (2, 4, 6, 8, 12), (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128), 10, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--events", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.keep or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-m", "cai", "train", *TINY, f"output_dir={scratch}/real"])
        (real,) = (path.parent for path in Path(scratch).glob("real/*/*/run.json"))
        make_sweep(folder, real, options.runs, options.points, options.events)
        command = [sys.executable, "-m", "cai", "compare", folder, f"out={scratch}/comparison"]
        run(command, Path(scratch))  # fills the caches
        computed, seconds = cpu_seconds(), []
        for _ in range(options.rounds):
            seconds.append(run(command, Path(scratch)).seconds)
        computed = (cpu_seconds() - computed) / options.rounds
        sizes = {path.name: path.stat().st_size for path in Path(scratch, "comparison").iterdir()}
    rows: list[list[object]] = [["cai compare", "seconds", "worst", "of them computing"]]
    rows.append([f"{options.runs} runs of {options.points:,} points", median(seconds), max(seconds), computed])
    report("compare_bench", rows, {"seconds": seconds, "cpu_seconds": computed, "bytes": sizes})


def cpu_seconds() -> float:
    """What all processes that have ended have computed: a busy neighbour does not change it much."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def make_sweep(folder: Path, real: Path, count: int, points: int, events: bool) -> None:
    """``count`` finished jobs of one sweep in ``folder``, in the form of the run ``real``."""
    facts = json.loads((real / "run.json").read_text(encoding="utf-8"))
    config = cai.load_config(real / "config.yaml", TrainConfig)
    trainer = config.trainer.model_copy(update={"max_steps": points * LOG_EVERY})
    seeds = range(1, math.ceil(count / len(LAYERS) / len(RATES)) + 1)
    jobs = []
    for number, (layers, rate, seed) in enumerate(itertools.islice(itertools.product(LAYERS, RATES, seeds), count)):
        model = config.model.model_copy(update={"n_layer": layers})
        optimizer = config.optimizer.model_copy(update={"lr": rate})
        job = config.model_copy(update={"model": model, "optimizer": optimizer, "trainer": trainer, "seed": seed})
        overrides = [f"model.n_layer={layers}", f"optimizer.lr={rate}", f"seed={seed}"]
        directory = folder / f"{number}_{'_'.join(overrides).replace('=', '-')}"
        directory.mkdir()
        save_config(job, directory / "config.yaml")
        (directory / "samples.md").write_bytes((real / "samples.md").read_bytes())
        lines = dict(metrics(layers, rate, seed, points))
        if events:
            record(directory, job, overrides, lines)
        else:
            text = "".join(json.dumps({"step": step, **values}) + "\n" for step, values in lines.items())
            (directory / "metrics.jsonl").write_text(text, encoding="utf-8")
        ended = ended_facts(facts, overrides, lines)
        (directory / "run.json").write_text(json.dumps(ended, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        jobs.append({"folder": directory.name, "overrides": overrides, "config": to_tree(job)})
    listing = {"format": FORMAT, "overrides": ["-m"], "at_once": 1, "threads": 0, "jobs": jobs}
    (folder / "sweep.json").write_text(json.dumps(listing, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def metrics(layers: int, rate: float, seed: int, points: int) -> Iterator[tuple[int, dict[str, float]]]:
    """Step → what a run logs there: a loss that falls to a floor, which is lowest at one rate and falls with depth."""
    noise = random.Random(f"{layers} {rate} {seed}")
    floor = 2.0 + 0.15 * math.log(rate / 0.016) ** 2 + 0.8 / layers + noise.gauss(0, 0.02)
    for step in range(0, points * LOG_EVERY, LOG_EVERY):
        loss = floor + (6.0 - floor) * math.exp(-5 * step / (points * LOG_EVERY))
        values = {
            "train/loss": loss + noise.gauss(0, 0.05),
            "train/lr": rate * (1 - step / (points * LOG_EVERY)),
            "train/grad_norm": abs(noise.gauss(0.6, 0.1)),
            "perf/tokens_per_sec": 60_000 / layers * noise.uniform(0.95, 1.05),
            "perf/memory_gib": 0.3 + 0.01 * layers,
        }
        if step % EVAL_EVERY == 0:
            values |= {"val/loss": loss + 0.02, "val/bits_per_byte": (loss + 0.02) * 0.83}
        yield step, values


def record(directory: Path, config: TrainConfig, overrides: list[str], lines: dict[int, dict[str, float]]) -> None:
    """The same through a run's own recorder."""
    with Recorder(directory) as recorder:
        recorder.hyperparameters(hyperparameters(config, overrides))
        for step, values in lines.items():
            recorder.metrics(step, values)


def ended_facts(facts: dict[str, Any], overrides: list[str], lines: dict[int, dict[str, float]]) -> dict[str, Any]:
    """``run.json`` of a run that has come to its end with these ``lines``."""
    losses = {step: values["val/loss"] for step, values in lines.items() if "val/loss" in values}
    best, steps = min(losses, key=losses.__getitem__), len(lines) * LOG_EVERY
    speeds = [values["perf/tokens_per_sec"] for values in lines.values()]
    tokens = steps * 4 * 32
    newest = {tag: value for values in lines.values() for tag, value in values.items()}
    reached = {"steps": steps, "best_val_loss": losses[best], "best_step": best, "saved_step": steps}
    speed = {"seconds": round(tokens / (sum(speeds) / len(speeds)), 3), "metrics": newest}
    return {**facts, "overrides": overrides, "max_steps": steps, **reached, **speed}


if __name__ == "__main__":
    main()
