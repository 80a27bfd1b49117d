"""Where the size of a micro-batch begins if nobody gives it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

import cai
from cai.trainer import memory
from cai.trainer.memory import MicroBatch, sequences_in_cache
from cai.trainer.update import Updater
from tests.trainer.making import make_trainer


@pytest.mark.parametrize(("at_most", "size"), [(None, 12), (100, 12), (12, 12), (11, 6), (5, 4), (1, 1)])
def test_it_is_the_largest_part_of_the_batch_that_is_allowed(at_most: int | None, size: int) -> None:
    assert MicroBatch("auto", 12, at_most).size == size


def test_a_size_of_the_user_s_own_is_kept() -> None:
    assert MicroBatch(12, 12, 2).size == 12


@pytest.mark.parametrize(("model", "sequences"), [("gpt2_nano", 8), ("gpt2_mini", 4), ("gpt2_cai", 2), ("llama_cai", 3)])
def test_the_widest_layer_decides_what_a_cache_holds(model: str, sequences: int) -> None:
    """4 MiB / (bytes of a number x width x tokens), the head left out."""
    config = cai.compose([f"model={model}", "model.block_size=256"]).model
    with torch.device("meta"):
        built = config.build(24_000)
    assert sequences_in_cache(built, config.block_size, 4) == sequences
    assert sequences_in_cache(built, config.block_size, 2) in (2 * sequences, 2 * sequences + 1)


def test_a_sequence_larger_than_the_cache_still_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CACHE", 100)
    with torch.device("meta"):
        assert sequences_in_cache(cai.compose(["model=gpt2_nano"]).model.build(300), 256, 4) == 1


def test_a_cpu_takes_what_its_cache_holds_and_an_accelerator_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CACHE", 3 * 4 * 64 * 16)  # the feed-forward is 64 wide, a sequence 16 long
    trainer = make_trainer(tmp_path, "trainer.batch_size=8", "trainer.micro_batch_size=auto")
    assert trainer.updater.micro_batch.size == 2
    elsewhere = Updater(
        trainer.config,
        trainer.model,
        trainer.optimizer,
        trainer.updater.schedule,
        trainer.dataset,
        dataclasses.replace(trainer.device, type="mps"),
        seed=1,
    )
    assert elsewhere.micro_batch.size == 8
