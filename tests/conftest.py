"""Shared by all tests: one torch thread each, a scratch folder, and overrides that make a run tiny."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from cai.cli import main

TINY = (
    "device=cpu",
    "device.precision=fp32",
    "device.threads=1",
    "data.samples=120",
    "data.questions=3",
    "data.wild=0.0",
    "data.packing=stream",
    "data.loss=all",
    "data.val_ratio=0.2",
    "tokenizer=bpe",
    "tokenizer.vocab_size=400",
    "model.n_layer=1",
    "model.n_head=2",
    "model.n_embd=16",
    "model.block_size=32",
    "trainer=smoke",
    "trainer.max_steps=6",
    "trainer.eval_every=3",
    "trainer.log_every=2",
    "trainer.eval_max_tokens=256",
    "generation.max_new_tokens=4",
    "schedule.warmup_steps=2",
    "trainer.answers=0",
)
"""A run of the embedded corpus that ends within a second."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_directories(folder: Path) -> list[Path]:
    """Every run below ``folder``, oldest first."""
    return sorted(path.parent for path in folder.glob("**/run.json"))


def train_tiny(*overrides: str, tiny: Sequence[str] = TINY) -> Path:
    """Train in the current folder and return the run's directory. The command must succeed."""
    before = set(run_directories(Path("outputs")))
    assert main(["train", *tiny, *overrides]) == 0
    (directory,) = set(run_directories(Path("outputs"))) - before
    return directory
