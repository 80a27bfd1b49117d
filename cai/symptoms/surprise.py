"""How surprised a model is by a text that it has written: far more than by real text if the draw took what is unlikely."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from cai.model.base import IGNORE_INDEX


@torch.inference_mode()
def surprise(model: nn.Module, context: Sequence[int], written: Sequence[int]) -> float:
    """Nats of each ``written`` id to ``model`` (in evaluation mode) behind ``context``, on average.

    In windows of ``block_size`` that go on by half of it: each id is seen behind half a window at least, or all there is.
    """
    block_size: int = model.block_size  # type: ignore[assignment]
    device = next(model.parameters()).device
    ids, total = [*context, *written], 0.0
    done = len(context)  # ids before this place are counted, or given
    while done < len(ids):
        start = 0 if len(ids) - 1 <= block_size else min(max(0, done - 1 - block_size // 2), len(ids) - 1 - block_size)
        window = torch.tensor([ids[start : start + block_size + 1]], device=device)  # (1, T + 1)
        targets = window[:, 1:].clone()
        targets[:, : done - 1 - start] = IGNORE_INDEX
        total += float(model(window[:, :-1], targets))
        done = start + window.shape[1]
    return total / len(written)
