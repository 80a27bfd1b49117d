"""Training on rows of documents: the same mean however it is cut, answers alone if asked for, documents kept apart."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cai.errors import ConfigError, TrainingError
from cai.model.decoder import Decoder
from cai.tokens.batches import TokenDataset
from cai.tokens.shards import Shards
from cai.tokens.writing import SPLITS, index_path
from cai.trainer.estimate import estimate_seconds
from cai.trainer.evaluation import evaluate, mean_loss
from cai.trainer.trainer import Trainer
from cai.trainer.update import Batch, Updater
from tests.trainer.making import VOCAB_SIZE, QueueingDevice, assert_equal, make_trainer, records_of, take_up

DOUBLE = ("device.precision=fp64", "trainer.batch_size=6")
APART = {"packing": "documents", "loss": "answer", "isolate": True}


def with_documents(shards: Shards) -> Shards:
    """The same tokens as documents of 2 to 23, half of which have an answer: their last third."""
    stats = {}
    for split in SPLITS:
        tokens = shards.stats(split).tokens
        lengths = np.random.default_rng(tokens).integers(2, 24, tokens)
        starts = np.cumsum(lengths) - lengths
        starts = starts[starts < tokens - 1]
        ends = np.append(starts[1:], tokens)
        answers = np.where(np.arange(len(starts)) % 2, ends - np.maximum(1, (ends - starts) // 3), ends)
        np.stack([starts, answers], axis=1).astype("<i8").tofile(index_path(shards.folder, split))
        of_answers = int((ends - answers).sum())
        stats[split] = dataclasses.replace(
            shards.stats(split), documents=len(starts), answer_tokens=of_answers, answer_bytes=5 * of_answers
        )
    return dataclasses.replace(shards, **stats)


def dataset_of(shards: Shards, *args: Any, **options: Any) -> TokenDataset:
    return TokenDataset(with_documents(shards), *args, **options)


def make(folder: Path, *overrides: str, of: dict[str, Any] = APART, **parts: Any) -> Trainer:
    kind: Any = functools.partial(dataset_of, **of)
    return make_trainer(folder, *DOUBLE, *overrides, dataset_class=kind, **parts)


def losses_by_hand(trainer: Trainer, split: Any) -> list[Tensor]:
    """Of every answer's token, the document computed alone; none is longer than a block, or it is left out."""
    shards, found = trainer.dataset.shards, []
    index = np.append(shards.documents(split).reshape(-1), shards.stats(split).tokens).tolist()
    for start, answer, end in zip(index[:-1:2], index[1::2], index[2::2], strict=True):
        assert end - start <= trainer.dataset.block_size + 1
        ids = torch.from_numpy(shards.read(split, start, end - start).astype(np.int64))
        log_probabilities = trainer.model(ids[None, :-1])[0].log_softmax(-1)
        found += [-log_probabilities[at - start - 1, ids[at - start]] for at in range(answer, end)]
    return found


BLOCK = "model.block_size=32"


def test_the_validation_loss_is_the_mean_over_answers_each_document_alone(tmp_path: Path) -> None:
    trainer = make(tmp_path, BLOCK)
    trainer.model.eval()
    with torch.no_grad():
        losses = [float(loss) for loss in losses_by_hand(trainer, "val")]
    val = trainer.dataset.shards.val
    assert len(losses) == val.answer_tokens
    evaluation = evaluate(trainer.updater, 0, None)
    assert evaluation.loss == pytest.approx(math.fsum(losses) / len(losses), rel=1e-9)
    assert evaluation.bits_per_byte == pytest.approx(evaluation.loss / math.log(2) * val.answer_tokens / val.answer_bytes)


def test_an_update_has_the_gradient_of_the_mean_over_answers_each_document_alone(tmp_path: Path) -> None:
    trainer = make(tmp_path, BLOCK, "trainer.micro_batch_size=2")
    rows = trainer.dataset.n_windows
    batch = trainer.updater.batch(0, rows)  # an epoch
    loss = trainer.updater.accumulate(batch, step=0)
    by_hand = torch.stack(losses_by_hand(trainer, "train")).mean()
    assert batch.n_valid == trainer.dataset.shards.train.answer_tokens
    assert float(loss) == pytest.approx(float(by_hand.detach()), rel=1e-9)
    expected = torch.autograd.grad(by_hand, list(trainer.model.parameters()))
    for parameter, gradient in zip(trainer.model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("family", ["gpt2", "modern"])
def test_the_size_of_a_micro_batch_changes_nothing_but_roundoff(tmp_path: Path, family: str) -> None:
    found = []
    for size in (6, 1, 2):
        trainer = make(tmp_path / str(size), f"model={family}", "model.dropout=0.2", f"trainer.micro_batch_size={size}")
        found.append([float(trainer.updater.update(step).loss) for step in range(5)])
    assert found[1] == pytest.approx(found[0], rel=1e-9)
    assert found[2] == pytest.approx(found[0], rel=1e-9)


@pytest.mark.parametrize(
    "of",
    [APART, {"packing": "documents"}, {"packing": "stream", "loss": "answer"}],
    ids=["apart", "documents", "answers of a stream"],
)
def test_whoever_goes_on_ends_as_if_never_stopped(tmp_path: Path, of: dict[str, Any]) -> None:
    each = ("trainer.max_steps=8", "trainer.log_every=1", "trainer.save_every=1", "trainer.keep=9", "trainer.eval_every=3")
    whole = make(tmp_path / "whole", *each, of=of)
    whole.fit()
    (checkpoint,) = (tmp_path / "whole" / "checkpoints").glob("step_*5.safetensors")
    folder = records_of(tmp_path / "whole", tmp_path / "other")
    take_up(make(folder, *each, of=of), checkpoint).fit()
    assert_equal(folder, tmp_path / "whole")


def test_a_device_that_queues_computes_the_same(tmp_path: Path) -> None:
    ahead, plain = make(tmp_path / "ahead", device_class=QueueingDevice), make(tmp_path / "plain")
    for step in range(4):
        assert torch.equal(ahead.updater.update(step).loss, plain.updater.update(step).loss)


def test_a_batch_in_which_nothing_counts_has_no_loss_and_no_gradient(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    (x, y, segments), _ = trainer.updater.batch(0)
    loss = trainer.updater.accumulate(Batch((x, torch.full_like(y, -100), segments), 0), step=0)
    assert float(loss) == 0
    assert all(not p.grad.any() for p in trainer.model.parameters() if p.grad is not None)


def test_an_evaluation_that_reaches_no_answer_says_how_to_reach_one(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    with pytest.raises(TrainingError, match=r"trainer\.eval_max_tokens must reach into an answer .*but is 1\. Try a larger"):
        mean_loss(trainer.updater, 1)


def test_an_estimate_goes_through_the_same_rows(tmp_path: Path) -> None:
    assert estimate_seconds(make(tmp_path)) > 0


class Own(nn.Module):
    """A model of one's own that knows nothing of segments."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(VOCAB_SIZE, VOCAB_SIZE, dtype=torch.float64)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.wte(ids).flatten(0, 1), targets.flatten(), reduction="sum")


class OwnDecoder(Decoder):
    """The same, on CAI's base."""

    def __init__(self) -> None:
        super().__init__(16, VOCAB_SIZE)
        self.wte = nn.Embedding(VOCAB_SIZE, 8, dtype=torch.float64)

    def hidden(self, ids: Tensor) -> Tensor:  # type: ignore[override]
        out: Tensor = self.wte(ids)
        return out

    def head_weight(self) -> Tensor:
        return self.wte.weight


def updater_of(trainer: Trainer, model: nn.Module) -> Updater:
    optimizer = torch.optim.SGD(list(model.named_parameters()))
    return Updater(trainer.config, model, optimizer, trainer.updater.schedule, trainer.dataset, trainer.device, seed=1)


@pytest.mark.parametrize("kind", [Own, OwnDecoder])
def test_a_model_of_one_s_own_trains_unless_documents_are_to_be_isolated(tmp_path: Path, kind: type[nn.Module]) -> None:
    mixed = make(tmp_path / "mixed", of={"packing": "documents", "loss": "answer"})
    assert float(updater_of(mixed, kind()).update(0).loss) > 0
    said = rf"`data\.isolate` needs a model whose forward takes `segments` .* but {kind.__name__} does not\. Use data\.isol"
    with pytest.raises(ConfigError, match=said):
        updater_of(make(tmp_path / "apart"), kind())
