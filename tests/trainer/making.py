"""A trainer over made-up tokens, put together from plain objects as a notebook would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import cai
from cai.model.base import IGNORE_INDEX
from cai.recorder import Recorder
from cai.tokens.batches import Ids, TokenDataset
from cai.tokens.shards import Shards, SplitStats
from cai.trainer.trainer import Trainer

VOCAB_SIZE = 50
OPENED: list[Recorder] = []
"""Recorders made by a test; ``conftest.py`` closes them after it."""


class RaggedDataset(TokenDataset):
    """Rows whose targets count only up to a length that differs from row to row."""

    def batch(self, step: int, batch_size: int) -> tuple[Ids, Ids]:
        x, y = super().batch(step, batch_size)
        y = y.copy()
        for row in range(batch_size):
            y[row, 1 + (step * 5 + row * 7) % self.block_size :] = self.ignore_index
        return x, y


def make_shards(folder: Path, tokens: int = 3000, seed: int = 0) -> Shards:
    """Token files with some regularity to learn: a noisy counter."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    stats = {}
    for split, count in (("train", tokens), ("val", tokens // 5)):
        ids = (np.arange(count) * 3 + random.integers(0, 3, count)) % VOCAB_SIZE
        ids.astype(np.uint16).tofile(folder / f"{split}.bin")
        stats[split] = SplitStats(documents=1, bytes=2 * count, tokens=count, unknown=0)
    return Shards(folder, "made-up", "made-up", "uint16", VOCAB_SIZE, stats["train"], stats["val"])


def make_trainer(
    folder: Path, *overrides: str, dataset_class: type[TokenDataset] = TokenDataset, dtype: torch.dtype = torch.float32
) -> Trainer:
    """A one-layer GPT-2 on CPU. ``folder`` takes the run's files."""
    config = cai.compose(
        [
            "device=cpu",
            "device.precision=fp32",
            "model.block_size=16",
            "model.n_layer=1",
            "model.n_head=2",
            "model.n_embd=16",
            "optimizer.lr=0.01",
            "schedule=cosine",
            "schedule.warmup_steps=2",
            "trainer=smoke",
            "trainer.sample_every=0",
            "trainer.eval_every=0",
            "trainer.eval_max_tokens=null",
            *overrides,
        ]
    )
    dataset = dataset_class(make_shards(folder / "tokens"), config.model.block_size, config.seed, IGNORE_INDEX)
    torch.manual_seed(config.seed)
    model = config.model.build(vocab_size=VOCAB_SIZE).to(dtype)
    OPENED.append(Recorder(folder))
    trainer: Trainer = config.trainer.build(
        model=model,
        optimizer=config.optimizer.build(model),
        schedule=config.schedule.build(config.trainer.steps(dataset.n_windows)),
        dataset=dataset,
        device=config.device.build(),
        recorder=OPENED[-1],
        samples=lambda: [("title", "text")],
        seed=config.seed,
    )
    return trainer


def losses(folder: Path, tag: str = "train/loss") -> dict[int, float]:
    """Step → value from ``metrics.jsonl``."""
    return {entry["step"]: entry[tag] for entry in metrics(folder) if tag in entry}


def metrics(folder: Path) -> Iterator[dict[str, float]]:
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        yield json.loads(line)
