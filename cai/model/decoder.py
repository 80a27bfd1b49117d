"""What all decoder models have in common: ids in, blocks one after the other, logits or summed loss out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cai.model.base import IGNORE_INDEX
from cai.model.cache import Cache
from cai.model.context import Context, isolation
from cai.model.linear import linear
from cai.model.loss import next_token_loss, soft_cap

LARGE = 2**25
"""Logits (128 MiB in fp32, kept and differentiated: twice that) from which on the loss is computed in chunks."""


PLACES = 256
"""The number of logits computed on a CPU is a multiple of this, or all."""


class Decoder(nn.Module, ABC):
    """A causal language model. The two switches below trade time for memory; neither changes what is computed."""

    chunked_loss: bool | None = None
    """Compute the loss in chunks, so that the logits of a whole batch never exist at once; ``None``: if they are large."""
    gradient_checkpointing: bool = False
    """Keep only what enters each block, and compute its inside again for the backward pass (arXiv:1604.06174)."""
    logit_softcap: float = 0.0
    """Logits are squashed into (-softcap, softcap) by a tanh; 0: they are not."""

    def __init__(self, block_size: int, vocab_size: int) -> None:
        super().__init__()
        self.block_size = block_size
        self.vocab_size = vocab_size

    @abstractmethod
    def hidden(self, ids: Tensor, context: Context | None = None) -> Tensor:
        """``ids (B, T)`` → what the head reads, ``(B, T, C)``, each token seeing what ``context`` says.

        A model that does not take it cannot be trained with ``data.isolate``, and generates without a cache.
        """

    @abstractmethod
    def head_weight(self) -> Tensor:
        """``(V, C)``."""

    def forward(self, ids: Tensor, targets: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """``ids (B, T)`` → logits ``(B, T, V)``; with ``targets (B, T)`` the summed cross-entropy in nats, a scalar.

        ``segments (B, T)``: the number of each token's document in its row; one knows nothing of another.
        Raises ``ValueError`` if T is larger than ``block_size``.
        """
        self._refuse_longer(ids)
        x = self.hidden(ids) if segments is None else self.hidden(ids, isolation(segments))  # (B, T, C)
        if targets is None:
            return self.logits(x)
        x, targets, weight = x.flatten(0, 1), targets.flatten(), self.head_weight()
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            chosen = places_that_count(targets)
            x, targets = x[chosen], targets[chosen]
        chunked = targets.numel() * len(weight) > LARGE if self.chunked_loss is None else self.chunked_loss
        return next_token_loss(x, weight, targets, self.logit_softcap, chunked=chunked)

    def logits(self, x: Tensor) -> Tensor:
        """``(..., C)`` of ``hidden`` → ``(..., V)``."""
        return soft_cap(linear(x, self.head_weight()), self.logit_softcap)

    def new_cache(self, rows: int) -> Cache:
        """An empty one for ``read``."""
        return Cache(rows, self.block_size)

    def read(self, ids: Tensor, cache: Cache, places: Tensor) -> Tensor:
        """Logits ``(B, N, V)`` at N ``places (B, N)`` of ``ids (B, T)``, which come behind what is in ``cache``: the same
        as those of a pass over all tokens from the beginning.

        How many of the T are to stay is for the caller to say, in ``cache.lengths``. Raises ``ValueError`` if a row becomes
        longer than ``block_size``.
        """
        x = self.hidden(ids, cache.begin(ids))  # (B, T, C)
        return self.logits(x.gather(1, places[:, :, None].expand(-1, -1, x.shape[2])))

    def fill(self, ids: Tensor, cache: Cache) -> None:
        """Put ``ids (B, T)`` into ``cache``, behind what is there; no logits are wanted."""
        self.hidden(ids, cache.begin(ids))

    def attention(self, ids: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits ``(B, T, V)`` of ``ids (B, T)`` and each layer's attention weights ``(B, H, T, T)``: how much of token s
        (last dimension) goes into token t. Raises ``ValueError`` if T is larger than ``block_size``."""
        self._refuse_longer(ids)
        watched: list[Tensor] = []
        return self.logits(self.hidden(ids, Context(watched=watched))), watched

    def _refuse_longer(self, ids: Tensor) -> None:
        if self.block_size < ids.shape[1]:
            raise ValueError(
                f"the sequence must be at most model.block_size ({self.block_size}) long, but is {ids.shape[1]}"
            )

    def through(self, block: nn.Module, *inputs: object) -> Tensor:
        """``block(*inputs)``, its inside forgotten if there is gradient checkpointing."""
        if self.gradient_checkpointing and self.training:
            out: Tensor = checkpoint(block, *inputs, use_reentrant=False)
        else:
            out = block(*inputs)
        return out


def places_that_count(targets: Tensor) -> Tensor | slice:
    """Where ``targets (N,)`` count, in order, as an index; logits anywhere else would be computed for nothing.

    A few that do not count follow, so that few different sizes of tensors come up: freed memory is kept for the next. Not
    for accelerators, which would have to wait to know how many there are.
    """
    counts = targets != IGNORE_INDEX
    needed = -(-int(counts.sum()) // PLACES) * PLACES
    return counts.argsort(descending=True, stable=True)[:needed] if needed < len(targets) else slice(None)
