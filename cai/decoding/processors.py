"""What options do to the logits of the next token, each as its source defines it. All take and give ``(B, V)`` fp32.

"Written" are the new ids of each row, without its prompt: what a question or document says may be said again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Written = Sequence[Sequence[int]]


def penalize_repetition(logits: Tensor, written: Written, penalty: float) -> Tensor:
    """CTRL's penalized sampling (arXiv:1909.05858, section 4.1) for what is written: positive logits are divided, negative
    ones multiplied (where division would raise the probability), by ``penalty``, at 1 nothing.
    """
    logits = logits.clone()
    for row, ids in zip(logits, written, strict=True):
        seen = torch.tensor(sorted(set(ids)), dtype=torch.int64)
        row[seen] = torch.where(row[seen] > 0, row[seen] / penalty, row[seen] * penalty)
    return logits


def penalize_frequency(logits: Tensor, written: Written, frequency: float, presence: float) -> Tensor:
    """OpenAI's penalties: each id loses ``frequency`` for each time it is written, and ``presence`` if it is at all."""
    logits = logits.clone()
    for row, ids in zip(logits, written, strict=True):
        counts = torch.bincount(torch.tensor(ids, dtype=torch.int64), minlength=len(row))[: len(row)]
        row -= frequency * counts + presence * (counts > 0)
    return logits


def forbid_repeated_ngrams(logits: Tensor, written: Written, n: int) -> Tensor:
    """No run of ``n`` ids is written twice (arXiv:1705.04304, section 2.5)."""
    logits = logits.clone()
    for row, ids in zip(logits, written, strict=True):
        start = tuple(ids[len(ids) - n + 1 :]) if n > 1 else ()
        follows = [ids[i + n - 1] for i in range(len(ids) - n + 1) if tuple(ids[i : i + n - 1]) == start]
        if len(set(follows)) < len(row):  # or nothing would be left
            row[follows] = -math.inf
    return logits


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Top-p (arXiv:1904.09751): of ``probabilities (B, K)``, largest first, the fewest that reach ``top_p``; 0 the rest."""
    before = probabilities.cumsum(-1) - probabilities
    return probabilities.masked_fill(before >= top_p, 0.0)


def at_least(probabilities: Tensor, min_p: float) -> Tensor:
    """Min-p (arXiv:2407.01082): those that have at least this share of the largest's; 0 the rest."""
    return probabilities.masked_fill(probabilities < min_p * probabilities.amax(-1, keepdim=True), 0.0)
