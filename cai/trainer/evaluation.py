"""Loss over the validation text: one deterministic pass that touches no randomness."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from cai.errors import TrainingError
from cai.symptoms.table import tell

if TYPE_CHECKING:
    from cai.trainer.update import Updater

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What a pass over the validation text found."""

    loss: float
    """Mean over all targets that count, nats."""
    bits_per_byte: float
    """The same loss per UTF-8 byte of the text that counts: comparable across tokenizers, as ``loss`` is not."""


def evaluate(updater: Updater, step: int, max_tokens: int | None) -> Evaluation:
    """The model of ``updater`` as it is after ``step`` updates. Raises ``TrainingError`` if its loss is no number."""
    loss = mean_loss(updater, max_tokens)
    val = updater.dataset.shards.val
    counted = (val.answer_tokens, val.answer_bytes) if updater.dataset.loss == "answer" else (val.tokens, val.bytes)
    result = Evaluation(loss, loss / math.log(2) * counted[0] / counted[1])
    log.info("step %d: val loss %.4f, %.4f bits per byte", step, result.loss, result.bits_per_byte)
    if not math.isfinite(loss):
        raise TrainingError.of(tell("nonfinite", "calmer", which="val/loss", value=loss, when=f"after step {step}", more=""))
    return result


def mean_loss(updater: Updater, max_tokens: int | None) -> float:
    """Mean loss over every validation target (or the first ``max_tokens``), weighted by targets, not by batches.

    The model (compiled or not) is left in evaluation mode. Raises ``TrainingError`` if none of the targets counts.
    """
    return updater.micro_batch.fit_forward(lambda size: _pass_over(updater, max_tokens, size))


@torch.no_grad()
def _pass_over(updater: Updater, max_tokens: int | None, size: int) -> float:
    """``mean_loss``, ``size`` sequences at a time."""
    dataset, device = updater.dataset, updater.device
    updater.forward.eval()
    world = updater.world
    sums, count = [], 0
    for arrays in dataset.val_batches(size, max_tokens, part=world.rank, parts=world.size):
        with device.autocast():
            sums.append(updater.forward(*(device.put(torch.from_numpy(array)) for array in arrays)))
        count += int((arrays[1] != dataset.ignore_index).sum())
    found = world.gather((torch.stack(sums).tolist(), count))  # waits for the device once, here
    counted = sum(count for _, count in found)
    if not counted:
        raise TrainingError(
            f"trainer.eval_max_tokens must reach into an answer of the validation text, as data.loss=answer, but is"
            f" {max_tokens}. Try a larger one, or null."
        )
    return math.fsum(each for sums, _ in found for each in sums) / counted
