"""Loss over the validation text: one deterministic pass that touches no randomness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from cai.device import Device
    from cai.tokens.batches import TokenDataset


@dataclass(frozen=True)
class Evaluation:
    """What a pass over the validation text found."""

    loss: float
    """Mean over all targets, nats."""
    bits_per_byte: float
    """The same loss per UTF-8 byte of the text: comparable across tokenizers, as ``loss`` is not."""


@torch.no_grad()
def evaluate(
    model: nn.Module,
    dataset: TokenDataset,
    device: Device,
    *,
    batch_size: int,
    max_tokens: int | None,
) -> Evaluation:
    """Mean loss over every validation target (or the first ``max_tokens``), weighted by targets, not by batches.

    ``model`` (compiled or not) is left in evaluation mode.
    """
    model.eval()
    total, count = 0.0, 0
    for x, y in dataset.val_batches(batch_size, max_tokens):
        with device.autocast():
            total += float(model(device.put(torch.from_numpy(x)), device.put(torch.from_numpy(y))))
        count += int((y != dataset.ignore_index).sum())
    loss, val = total / count, dataset.shards.val
    return Evaluation(loss, loss / math.log(2) * val.tokens / val.bytes)
