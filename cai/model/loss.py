"""The loss of next-token prediction, whole or in chunks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cai.model.base import IGNORE_INDEX
from cai.model.linear import linear

CHUNK_BYTES = 2**25
"""Of logits in one chunk that are computed twice. Large enough for the matrix products to run at full speed."""


def soft_cap(logits: Tensor, cap: float) -> Tensor:
    """``cap * tanh(logits / cap)`` (Gemma 2, arXiv:2408.00118); ``cap`` 0 leaves them as they are."""
    return cap * torch.tanh(logits / cap) if cap else logits


def next_token_loss(x: Tensor, weight: Tensor, targets: Tensor, softcap: float = 0.0, *, chunked: bool = False) -> Tensor:
    """Summed cross-entropy in nats of ``targets (N,)`` under the logits of ``x (N, C)`` and the head ``weight (V, C)``.

    ``chunked``: the logits ``(N, V)`` never exist at once. By PyTorch's ``linear_cross_entropy``, which computes gradients
    on the way forward; with a cap, which it has not, and under autocast, where it would round the sum to the 8 bits of
    bfloat16, by computing each chunk's logits a second time.
    """
    if not chunked:
        return _loss_of_chunk(x, weight, targets, softcap)
    if softcap or torch.is_autocast_enabled(x.device.type):
        rows = max(1, CHUNK_BYTES // (4 * len(weight)))
        pieces = zip(torch.split(x, rows), torch.split(targets, rows), strict=True)
        losses = [checkpoint(_loss_of_chunk, a, weight, b, softcap, use_reentrant=False) for a, b in pieces]
        return torch.stack(losses).sum()
    options = nn.LinearCrossEntropyOptions()
    return F.linear_cross_entropy(x, weight, targets, reduction="sum", ignore_index=IGNORE_INDEX, options=options)


def _loss_of_chunk(x: Tensor, weight: Tensor, targets: Tensor, softcap: float) -> Tensor:
    if torch.is_autocast_enabled(x.device.type):  # not its own cast, which all chunks share, their gradients added in 8 bits
        weight = weight.to(torch.get_autocast_dtype(x.device.type))
    logits = linear(x, weight)
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()  # a sum over thousands of targets needs more than their 8 to 11 bits
    return F.cross_entropy(soft_cap(logits, softcap), targets, ignore_index=IGNORE_INDEX, reduction="sum")
