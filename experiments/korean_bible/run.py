"""GPT-2 with AdamW against `modern` with Muon on the Korean Bible, equal wall-clock, a learning-rate sweep for both.

    python experiments/korean_bible/run.py path/to/krv.txt [--size mini] [--tokenizer char] [--sweep-minutes 2]
        [--final-minutes 10]

Both sides have the same text, tokenizer, size, batch and schedule. First their speed is measured in alternation; steps are
then chosen so that each run computes for the given time. Every rate of RATES is tried for the shorter time, the best for
the longer. Writes configs/, losses.csv and prints the tables. Keep the machine idle.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import statistics
from pathlib import Path
from typing import Any

from cai.cli import main as cai

HERE = Path(__file__).parent
COMMON = [
    *("data=text", "data.separator=blank_line", "schedule=wsd", "schedule.decay_ratio=0.6"),
    *("schedule.min_lr_ratio=0.0", "schedule.warmup_steps=50", "trainer.batch_size=16", "trainer.log_every=100"),
    *("trainer.eval_every=0", "trainer.save_every=0", "trainer.sample_every=0", "trainer.samples=0", "device=cpu"),
]
SIDES = {
    "gpt2_adamw": ["model=gpt2_{size}", "optimizer=adamw", "model.block_size=256"],
    "modern_muon": [
        *("model=modern_{size}", "model.block_size=256", "model.block_shift=2"),
        *("optimizer=muon", "optimizer.momentum=0.95", "optimizer.vector_lr_ratio=4.0"),
    ],
}
RATES = {
    "gpt2_adamw": [5e-4, 1e-3, 2e-3, 4e-3],
    "modern_muon": [5e-3, 1e-2, 2e-2],
}


def train(name: str, words: list[str]) -> dict[str, Any]:
    """One run; its `run.json` and where it lies."""
    if cai(["train", f"name={name}", *words]):
        raise SystemExit(f"{name} failed")
    directory = max(Path("outputs", name).glob("*/run.json")).parent
    return {**json.loads((directory / "run.json").read_text()), "directory": directory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--size", default="mini")
    parser.add_argument("--tokenizer", default="char")
    parser.add_argument("--sweep-minutes", type=float, default=2)
    parser.add_argument("--final-minutes", type=float, default=10)
    options = parser.parse_args()
    words = {side: [w.format(size=options.size) for w in own] + COMMON for side, own in SIDES.items()}
    shared = [f"data.path={options.text}", f"tokenizer={options.tokenizer}"]
    words = {side: [*own, *shared] for side, own in words.items()}

    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(2):
        for side in SIDES:
            facts = train(f"korean_speed_{side}", [*words[side], "trainer.max_steps=40", "trainer.eval_max_tokens=256"])
            seconds[side].append(facts["seconds"] / 40)
    a_step = {side: statistics.median(values) for side, values in seconds.items()}
    print({side: f"{1000 * value:.1f} ms a step" for side, value in a_step.items()})

    rows: list[list[object]] = []
    (HERE / "configs").mkdir(exist_ok=True)
    for side in SIDES:
        found: dict[float, float] = {}
        for rate in RATES[side]:
            found[rate] = record(side, rate, options.sweep_minutes, words, a_step, rows)
        best = min(found, key=lambda rate: found[rate])
        record(side, best, options.final_minutes, words, a_step, rows)
    with (HERE / "losses.csv").open("w", newline="") as file:
        head = ("side", "options", "lr", "minutes", "steps", "seconds", "parameters", "val_loss", "bits_per_byte")
        csv.writer(file).writerows([head, *rows])
    print("\n".join("  ".join(str(cell) for cell in row) for row in rows))


def record(
    side: str, rate: float, minutes: float, words: dict[str, list[str]], a_step: dict[str, float], rows: list[list[object]]
) -> float:
    """Train ``side`` at ``rate`` for ``minutes`` and add a row. Returns bits per byte."""
    steps = round(60 * minutes / a_step[side])
    facts = train(f"korean_{side}", [*words[side], f"optimizer.lr={rate}", f"trainer.max_steps={steps}"])
    metrics = facts["metrics"]
    bits = metrics["val/bits_per_byte"]
    total = facts["parameters"]["total"]
    options = " ".join(SIDES[side][2:])
    rows.append([side, options, rate, minutes, steps, facts["seconds"], total, f"{metrics['val/loss']:.4f}", f"{bits:.4f}"])
    config = re.sub(r"^  path: .*", "  path: krv.txt", (facts["directory"] / "config.yaml").read_text(), flags=re.M)
    (HERE / "configs" / f"{side}_{rate}_{minutes:g}min.yaml").write_text(config)
    print(*rows[-1])
    return float(bits)


if __name__ == "__main__":
    main()
