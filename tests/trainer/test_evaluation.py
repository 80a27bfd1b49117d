"""An evaluation is the mean over every validation target, however it is cut."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cai.errors import TrainingError
from cai.trainer.evaluation import evaluate, mean_loss
from cai.trainer.trainer import Trainer
from tests.trainer.making import make_trainer

DOUBLE = ("device.precision=fp64", "trainer.batch_size=12")


def make(folder: Path, micro_batch_size: int | str, *overrides: str) -> Trainer:
    return make_trainer(folder, *DOUBLE, f"trainer.micro_batch_size={micro_batch_size}", *overrides)


def sizes_of_passes(model: nn.Module) -> list[int]:
    """How many sequences each forward pass from now on is of."""
    seen: list[int] = []

    def note(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append(len(args[0]))

    model.register_forward_pre_hook(note)
    return seen


def by_hand(trainer: Trainer, max_tokens: int | None = None) -> float:
    """The mean over the first targets, one after the other."""
    shards = trainer.dataset.shards
    ids = torch.from_numpy(shards.read("val", 0, shards.val.tokens).astype(np.int64))
    end = min(len(ids) - 1, max_tokens or len(ids))
    losses = []
    for first in range(0, end, trainer.dataset.block_size):
        x = ids[first : first + trainer.dataset.block_size][: len(ids) - 1 - first]
        with torch.no_grad():
            log_probabilities = trainer.model.eval()(x[None])[0].log_softmax(-1)
        rows = range(min(len(x), end - first))
        losses += [-float(log_probabilities[t, ids[first + t + 1]]) for t in rows]
    assert len(losses) == end
    return math.fsum(losses) / end


@pytest.mark.parametrize("max_tokens", [None, 1, 17, 100, 10**6])
def test_it_is_the_mean_over_every_target_or_the_first_ones(tmp_path: Path, max_tokens: int | None) -> None:
    trainer = make(tmp_path, 4)
    assert mean_loss(trainer.updater, max_tokens) == pytest.approx(by_hand(trainer, max_tokens), rel=1e-12)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 6, 12, "auto"])
def test_the_size_of_its_passes_changes_nothing_but_roundoff(tmp_path: Path, micro_batch_size: int | str) -> None:
    found = [mean_loss(make(tmp_path / str(size), size).updater, None) for size in (micro_batch_size, 4)]
    assert found[0] == pytest.approx(found[1], rel=1e-12)


def test_its_passes_are_of_twice_as_many_sequences_as_training_s(tmp_path: Path) -> None:
    trainer = make(tmp_path, 3)
    seen = sizes_of_passes(trainer.model)
    trainer.updater.update(0)
    assert seen == [3, 3, 3, 3]
    seen.clear()
    mean_loss(trainer.updater, None)
    windows = math.ceil((trainer.dataset.shards.val.tokens - 1) / 16)
    assert seen == [6] * (windows // 6) + [windows % 6] * (windows % 6 > 0)


def test_it_computes_without_dropout_and_without_gradients(tmp_path: Path) -> None:
    trainer = make(tmp_path, 4, "model.dropout=0.5")
    kinds: set[tuple[bool, bool]] = set()
    trainer.model.register_forward_pre_hook(lambda module, _: kinds.add((module.training, torch.is_grad_enabled())))
    found = [mean_loss(trainer.updater, None) for _ in range(2)]
    assert found[0] == found[1]
    assert kinds == {(False, False)}


def test_after_it_the_next_update_trains(tmp_path: Path) -> None:
    trainer = make(tmp_path, 4, "model.dropout=0.5")
    plain = make(tmp_path / "plain", 4, "model.dropout=0.5")
    mean_loss(trainer.updater, None)
    assert torch.equal(trainer.updater.update(0).loss, plain.updater.update(0).loss)


def test_bits_per_byte_are_the_nats_of_all_tokens_over_the_bytes_of_the_text(tmp_path: Path) -> None:
    trainer = make(tmp_path, 4)
    evaluation = evaluate(trainer.updater, 0, None)
    val = trainer.dataset.shards.val
    assert val.bytes != val.tokens
    assert evaluation.loss == mean_loss(trainer.updater, None)
    assert evaluation.bits_per_byte == pytest.approx(evaluation.loss * val.tokens / math.log(2) / val.bytes, rel=1e-12)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_an_error_with_its_step(tmp_path: Path, value: float) -> None:
    trainer = make(tmp_path, 4)
    next(trainer.model.parameters()).data.fill_(value)
    with pytest.raises(TrainingError, match=r"val/loss must be a finite number, but is nan after step 7\. Lower"):
        evaluate(trainer.updater, 7, None)
