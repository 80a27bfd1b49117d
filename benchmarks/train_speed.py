"""Training speed and memory: CAI against the founding recipe, the same shape, batch and random tokens.

    python benchmarks/train_speed.py [--rounds 3] [--steps 6] [--vocab 24000] [overrides ...]

Without overrides the founding size: 6 layers, 6 heads, 384 wide, vocabulary 24,000, 16 x 256 tokens. Each side runs as a
process of its own, in alternation, and reports the median of its steps; peak memory is the process's. CAI is measured in
fp32, as the founding recipe computes, with what trades time for memory turned on and off, and as `device=auto` decides.
FLOP/s are counted as 6 for each parameter that multiplies and 12 for each pair in attention, and shown as a share of a plain
fp32 matrix product on this machine: oneDNN and bf16 go beyond it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
import torch
from measuring import last_json, median, report, run

import cai
from cai.model.base import IGNORE_INDEX
from cai.plan import flops_per_token
from cai.trainer.update import Updater

FOUNDING = ["model=gpt2_cai", "optimizer=adamw", "optimizer.lr=3e-4", "trainer.batch_size=16", "device=cpu"]


class RandomTokens:
    """In the place of a dataset: a batch of random ids for each step."""

    ignore_index = IGNORE_INDEX

    def __init__(self, vocab_size: int, block_size: int) -> None:
        self.vocab_size, self.block_size = vocab_size, block_size

    def batch(self, step: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """``(batch_size, block_size)`` inputs and targets."""
        ids = np.random.default_rng(step).integers(self.vocab_size, size=(batch_size, self.block_size + 1))
        return ids[:, :-1], ids[:, 1:]


def cai_side(vocab_size: int, steps: int, overrides: list[str]) -> dict[str, float]:
    config = cai.compose(overrides)
    device = config.device.build()
    device.set_up()
    torch.manual_seed(0)
    model = config.model.build(vocab_size)
    dataset = RandomTokens(vocab_size, config.model.block_size)
    schedule = config.schedule.build(1000)
    updater = Updater(
        config.trainer,
        model,
        config.optimizer.build(model),
        schedule,
        dataset,
        device,
        seed=0,  # type: ignore[arg-type]
    )
    seconds = timed(lambda step: updater.update(step), steps)
    tokens = config.trainer.batch_size * config.model.block_size
    return {"tokens_per_sec": tokens / seconds, "flops": tokens / seconds * flops_per_token(model, config.model)}


def founding_side(vocab_size: int, steps: int, overrides: list[str]) -> dict[str, float]:
    from founding import Founding, step

    config = cai.compose(overrides)
    shape = config.model
    model = Founding(vocab_size, shape.block_size, shape.n_layer, shape.n_head, shape.n_embd, shape.dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    dataset = RandomTokens(vocab_size, shape.block_size)

    def update(number: int) -> None:
        x, y = (torch.from_numpy(array) for array in dataset.batch(number, config.trainer.batch_size))
        step(model, optimizer, x, y)

    return {"tokens_per_sec": config.trainer.batch_size * shape.block_size / timed(update, steps)}


def timed(update, steps: int) -> float:  # type: ignore[no-untyped-def]
    """Median seconds of a step, the first two left out."""
    laps = []
    for number in range(steps + 2):
        started = time.perf_counter()
        update(number)
        laps.append(time.perf_counter() - started)
    return median(laps[2:])


def gemm_flops(size: int = 1024) -> float:
    """Of an fp32 matrix product."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    laps = []
    for _ in range(20):
        started = time.perf_counter()
        a @ b
        laps.append(time.perf_counter() - started)
    return 2 * size**3 / median(laps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--vocab", type=int, default=24_000)
    parser.add_argument("--side", choices=["cai", "founding"], help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    overrides = [*FOUNDING, *options.overrides]
    if options.side:
        side = cai_side if options.side == "cai" else founding_side
        print(json.dumps(side(options.vocab, options.steps, overrides)))
        return
    sides = {
        "founding": ["--side", "founding"],
        "cai fp32": ["--side", "cai", "device.precision=fp32"],
        "  whole batch at once": ["--side", "cai", "device.precision=fp32", "trainer.micro_batch_size=16"],
        "  and loss not chunked": [
            *("--side", "cai", "device.precision=fp32", "trainer.micro_batch_size=16", "trainer.chunked_loss=false")
        ],
        "  gradient checkpointing": ["--side", "cai", "device.precision=fp32", "trainer.gradient_checkpointing=true"],
        "cai auto": ["--side", "cai"],
    }
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    common = ["--steps", str(options.steps), "--vocab", str(options.vocab), *options.overrides]
    for _ in range(options.rounds):
        for name, words in sides.items():
            child = run([sys.executable, __file__, *words[:2], *common, *words[2:]])
            figures = last_json(child.output)
            found[name].append((figures["tokens_per_sec"], child.peak_gib, figures.get("flops", 0.0)))
    gemm = gemm_flops()
    medians = {name: [median(column) for column in zip(*runs, strict=True)] for name, runs in found.items()}
    base = medians["founding"]
    rows: list[list[object]] = [["side", "tokens/s", "ratio", "peak GiB", "ratio", "share of GEMM"]]
    for name, (speed, peak, flops) in medians.items():
        share = f"{flops / gemm:.0%}" if flops else ""
        rows.append([name, speed, f"{speed / base[0]:.2f}", f"{peak:.2f}", f"{peak / base[1]:.2f}", share])
    report("train_speed", rows, {"runs": found, "gemm_flops": gemm, "overrides": overrides})


if __name__ == "__main__":
    main()
