"""Dropout that is a pure function of (seed, step, sequence): the same however a batch is cut, and on every device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Module):
    """Zeroes each element with probability ``p`` while training and scales the rest by 1/(1-p) (arXiv:1207.0580).

    What is zeroed in row b is decided by ``keys[b]`` alone, see ``keyed``. Without keys it is ``torch.nn.Dropout``.
    """

    keys: Tensor | None = None
    """``(B, 2)`` int32: 64 bits for each row of the batch."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """``x (B, ...)``; same shape."""
        if not self.training or not self.p:
            return x
        if self.keys is None:
            return F.dropout(x, self.p)
        bits = random_bits(self.keys, x[0].numel()).view(x.shape)
        return x * (bits >= int(self.p * 2**31)).to(x.dtype) * (1 / (1 - self.p))


def random_bits(keys: Tensor, count: int) -> Tensor:
    """31 random bits for each of ``count`` positions under each of ``keys (B, 2)``: ``(B, count)`` int32, not negative.

    A counter through MurmurHash3's 32-bit finaliser, keyed before and within; in plain tensor operations, so that the bits
    are the same on every device and ``torch.compile`` fuses them.
    """
    first, second = keys[:, :1], keys[:, 1:]
    bits = torch.arange(count, dtype=torch.int32, device=keys.device)[None] * -0x61C88647 ^ first  # (B, count)
    bits = bits ^ (bits >> 16 & 0xFFFF)  # int32 shifts keep the sign: the mask makes them logical
    bits = bits * -0x7A143595 ^ second
    bits = bits ^ (bits >> 13 & 0x7FFFF)
    bits = bits * -0x3D4D51CB
    return (bits ^ (bits >> 16 & 0xFFFF)) & 0x7FFFFFFF


@contextmanager
def keyed(model: nn.Module, seed: int, step: int, sequences: range) -> Iterator[None]:
    """Key every ``Dropout`` of ``model`` for a forward pass over these sequences of the step's batch."""
    layers = [module for module in model.modules() if isinstance(module, Dropout) and module.p]
    if layers:
        digests = b"".join(_digest(seed, step, sequence, place) for place in range(len(layers)) for sequence in sequences)
        keys = torch.frombuffer(bytearray(digests), dtype=torch.int32).view(len(layers), len(sequences), 2)
        keys = keys.to(next(model.parameters()).device)  # (places, B, 2), one copy for all
        for place, layer in enumerate(layers):
            layer.keys = keys[place]
    try:
        yield
    finally:
        for layer in layers:
            layer.keys = None


def _digest(*numbers: int) -> bytes:
    return hashlib.blake2b("/".join(map(str, numbers)).encode(), digest_size=8).digest()
