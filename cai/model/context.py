"""What the tokens of a pass know beyond themselves: where they stand, what they see, and what was before this pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

if TYPE_CHECKING:
    from cai.model.cache import Cache


class Context(NamedTuple):
    """Handed down to every layer. A pass over plain rows, each token seeing those before it, has none."""

    mask: Tensor | None = None
    """``(B, 1, T, S)``: whether a token of the pass sees each of the S there are; ``None``: all up to itself."""
    positions: Tensor | slice | None = None
    """``(B, T)``, or a slice for all rows: where each token stands in its document; ``None``: from 0 on."""
    cache: Cache | None = None
    """Holds what was before this pass."""
    watched: list[Tensor] | None = None
    """Takes the attention weights ``(B, H, T, S)`` of layer after layer."""


def isolation(segments: Tensor | None) -> Context | None:
    """For rows of several documents that know nothing of each other: from each token's document, ``segments (B, T)``."""
    if segments is None:
        return None
    mask = (segments[:, None, :, None] == segments[:, None, None, :]).tril()  # (B, 1, T, T)
    return Context(mask, mask[:, 0].sum(dim=-1) - 1)


def with_past(layer: nn.Module, k: Tensor, v: Tensor, context: Context | None) -> tuple[Tensor, Tensor]:
    """Keys and values ``(B, K, T, D)`` of this pass behind those that ``layer`` had before: ``(B, K, S, D)``."""
    if context is None or context.cache is None:
        return k, v
    # Time comes first in a cache, so that a token is written in one piece.
    k, v = (context.cache.extend(layer, name, x.transpose(1, 2)).transpose(1, 2) for name, x in (("k", k), ("v", v)))
    return k, v
