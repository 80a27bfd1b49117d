"""What the Trainer costs: its loop against a bare PyTorch loop of the same model, optimizer and batches.

    python benchmarks/overhead.py [--rounds 5] [--steps 150] [overrides ...]

Both in one process, in alternation. The bare loop reads the same windows, clips the gradient norm, steps the same fused
AdamW, and never looks at a loss. The Trainer does all it does in training: it checks every loss and gradient, logs every
ten steps to `metrics.jsonl` and TensorBoard, and shows its bar. Steps in which it evaluates or saves are left out.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import median, report

import cai
from cai.config.roots import TrainConfig
from cai.model.base import IGNORE_INDEX
from cai.recorder import Recorder
from cai.tokens.batches import TokenDataset
from cai.tokens.learned import learn_tokenizer
from cai.tokens.shards import build_shards

WARMUP = 10
PLAIN = [
    *("model=gpt2", "model.block_size=256", "optimizer=adamw", "schedule=cosine", "trainer.batch_size=8"),
    *("data.packing=stream", "data.loss=all", "tokenizer.vocab_size=2048"),
]
"""Small, plain and quick steps, in which a loop's own costs show most."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    steps = options.steps + WARMUP
    cadences = ["trainer.eval_every=0", "trainer.save_every=0", "trainer.sample_every=0", "trainer.samples=0"]
    fixed = [f"trainer.max_steps={steps}", "trainer.eval_max_tokens=256", "device=cpu", *cadences, *PLAIN]
    config = cai.compose([*fixed, *options.overrides])
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        corpus = config.data.build()
        tokenizer = learn_tokenizer(config.tokenizer, corpus, cache)
        dataset = TokenDataset(build_shards(corpus, tokenizer, cache), config.model.block_size, config.seed, IGNORE_INDEX)
        laps: dict[str, list[float]] = {"bare loop": [], "Trainer": []}
        for number in range(options.rounds):
            run = Path(folder) / f"run_{number}"
            run.mkdir()
            laps["bare loop"].append(bare_loop(config, dataset, tokenizer.vocab_size, steps))
            laps["Trainer"].append(trainer_loop(config, dataset, tokenizer.vocab_size, run))
    bare, trainer = (median(laps[name]) for name in ("bare loop", "Trainer"))
    pairs = [b / a for a, b in zip(laps["bare loop"], laps["Trainer"], strict=True)]
    rows: list[list[object]] = [["loop", "ms a step", "ratio"], ["bare loop", f"{1e3 * bare:.2f}", "1"]]
    rows.append(["Trainer", f"{1e3 * trainer:.2f}", f"{median(pairs):.3f}"])
    report("overhead", rows, {"seconds_a_step": laps, "ratio": median(pairs)})


def bare_loop(config: TrainConfig, dataset: TokenDataset, vocab_size: int, steps: int) -> float:
    """Seconds a step."""
    config.device.build().set_up()
    device = config.device.build()
    torch.manual_seed(0)
    model = config.model.build(vocab_size)
    optimizer = config.optimizer.build(model)
    schedule = config.schedule.build(steps)
    peaks = [group["lr"] for group in optimizer.param_groups]
    started = 0.0
    model.train()
    for step in range(steps):
        if step == WARMUP:
            started = time.perf_counter()
        x, y = (torch.from_numpy(array) for array in dataset.batch(step, config.trainer.batch_size))
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * schedule(step)
        with device.autocast():
            loss = model(x, y) / y.numel()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.trainer.grad_clip or math.inf)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return (time.perf_counter() - started) / (steps - WARMUP)


def trainer_loop(config: TrainConfig, dataset: TokenDataset, vocab_size: int, folder: Path) -> float:
    """Seconds a step, from the end of the warm-up to the end of the last update."""
    device = config.device.build()
    device.set_up()
    torch.manual_seed(0)
    model = config.model.build(vocab_size)
    with Recorder(folder) as recorder:
        trainer = config.trainer.build(
            model=model,
            optimizer=config.optimizer.build(model),
            schedule=config.schedule.build(config.trainer.steps(dataset.n_windows)),
            dataset=dataset,
            device=device,
            recorder=recorder,
            samples=list,
            seed=config.seed,
        )
        times: list[float] = []
        update = trainer.updater.update
        trainer.updater.update = noting(update, times)  # type: ignore[method-assign]
        trainer.fit()
    # A lap goes from the end of one update to the end of the next: what is done between them belongs to it.
    return (times[-1] - times[WARMUP - 1]) / (len(times) - WARMUP)


def noting(update: Callable[[int], object], times: list[float]) -> Callable[[int], object]:
    def noted(step: int) -> object:
        result = update(step)
        times.append(time.perf_counter())
        return result

    return noted


if __name__ == "__main__":
    main()
