"""Attention: does it look ahead, are its values and gradients right.

Released PyTorch has looked ahead in half precision on MPS, in groups of four tokens and without gradients alone
(pytorch#195910), read transposed inputs wrongly (181133, 163597) and beyond the end of the keys (169222): heads of 64, few
tokens, several rows, lengths that fill no block of 4 or 32. Such are the shapes here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cai.device import Device
from cai.diagnosis.numerics_rounding import DTYPES, MARGIN, Errors, Wrong, of_sum, unchanged, unit
from cai.model import layers
from cai.model.context import Context, isolation


class Shape(NamedTuple):
    """Of an attention."""

    length: int
    head_dim: int
    heads: int
    key_heads: int

    def __str__(self) -> str:
        grouped = f" for {self.key_heads} of keys" if self.key_heads != self.heads else ""
        return f"{self.length} tokens, {self.heads} heads of {self.head_dim}{grouped}"


FEW = (Shape(7, 64, 2, 2), Shape(64, 64, 2, 2), Shape(layers.SHORT + 3, 64, 2, 1))
MANY = (
    *(*FEW, Shape(1, 64, 2, 1), Shape(2, 64, 2, 2), Shape(3, 16, 2, 1), Shape(8, 128, 2, 2), Shape(33, 20, 3, 1)),
    *(Shape(38, 96, 1, 1), Shape(70, 64, 4, 2), Shape(layers.SHORT, 32, 2, 2), Shape(201, 64, 1, 1)),
)
BEHIND = ((1, 1), (1, 5), (1, 39), (1, 70), (1, 1100), (3, 50), (5, 33))
"""Tokens of a pass, and of all that they see."""

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's own."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """CAI's, which takes the kernel or is spelled out, as is faster."""
    return layers.attend(q, k, v)


def spelled_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """CAI's without the kernel, as with dropout."""
    return layers.attend(q, k, v, context=Context(watched=[]))


def documents_apart(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """CAI's with a mask: of rows of several documents."""
    return layers.attend(q, k, v, context=isolation(_segments(q.shape[2]).to(q.device)))


def _segments(length: int) -> Tensor:
    """``(1, T)``: the documents of a row, of 1, 2, 3, ... tokens."""
    return torch.repeat_interleave(torch.arange(length), torch.arange(length) + 1)[None, :length]


def causal(attention: Attention, device: Device, shapes: Sequence[Shape] = MANY) -> str:
    """Try ``attention`` in the precision of ``device``: values, gradients, and what changes with a later token.

    Raises ``Wrong``; returns what was found.
    """
    errors = Errors()
    for number, shape in enumerate(shapes):
        numbers, seen = _numbers(shape, DTYPES[device.precision], number), _seen(attention, shape.length)
        exact = Exact(numbers, seen, DTYPES[device.precision])
        # Without gradients, as text is written, MPS takes another kernel than in training.
        errors.add_each(_forward(attention, device, numbers[:3], f"{shape}"), exact.y, exact.allowed, f"{shape}")
        results = _backward(attention, device, numbers, f"{shape}, with gradients")
        expected = [(exact.y, exact.allowed), *exact.gradients(numbers[3])]
        for name, found, (right, allowed) in zip("yqkv", results, expected, strict=True):
            errors.add_each(found, right, allowed, f"{shape}, {'with gradients' if name == 'y' else f'gradient of {name}'}")
    return f"no token changes with a later one; {errors}"


def behind_a_cache(device: Device) -> str:
    """Try CAI's attention of a few tokens to more that a cache holds. Raises ``Wrong``; returns how exact it is."""
    errors, dtype = Errors(), DTYPES[device.precision]
    for number, (length, keys) in enumerate(BEHIND):
        drawn = (_numbers(Shape(keys, 64, 4, 2), dtype, 2 * number + row) for row in (0, 1))
        q, k, v, _ = (torch.cat(x) for x in zip(*drawn, strict=True))  # (2, H or K, S, D)
        q, seen = q[:, :, keys - length :], torch.ones(keys, keys, dtype=torch.bool).tril()[keys - length :]
        with torch.inference_mode():
            context = Context(seen[None, None].to(device.torch_device)) if length > 1 else None
            there = _on(device, (q, k, v))
            found = layers.attend(there[0], _of_cache(there[1]), _of_cache(there[2]), context=context)
        exact = Exact((q, k, v), seen, dtype)
        errors.add_each(found, exact.y, exact.allowed, f"{length} tokens that see {keys}")
    return str(errors)


def _of_cache(x: Tensor) -> Tensor:
    """``x (B, K, S, D)`` as a cache holds it: in the order of time, in a room for more."""
    return F.pad(x.transpose(1, 2), (0, 0, 0, 0, 0, 5), value=9.0)[:, : x.shape[2]].transpose(1, 2)


def _forward(attention: Attention, device: Device, numbers: Sequence[Tensor], where: str) -> Tensor:
    """What comes out without gradients, ``(1, H, T, D)``. Raises ``Wrong`` if a token changes with a later one."""
    places = _places(numbers[0].shape[2])
    rows = [x.repeat(len(places), 1, 1, 1) for x in numbers]  # (B, H or K, T, D)
    others = [_with_other_token(x, places, by) for x, by in zip(rows, (1.0, 8.0, 64.0), strict=True)]
    with torch.no_grad(), device.autocast():
        first, again, other = (attention(*_on(device, x)) for x in (rows, rows, others))  # (B, H, T, D)
    unchanged(first.transpose(1, 2), again.transpose(1, 2), other.transpose(1, 2), places, where)
    return first[:1]


def _backward(attention: Attention, device: Device, numbers: Sequence[Tensor], where: str) -> list[Tensor]:
    """What comes out with gradients, and those of q, k and v. Raises ``Wrong`` if one goes from a token to a later one.

    Before a token of each row a gradient comes back, from it on none does: none may reach keys and values there.
    """
    places = _places(numbers[0].shape[2])
    later = torch.arange(numbers[0].shape[2]) >= places[:, None]  # (B, T)
    rows = [x.repeat(len(places), 1, 1, 1) for x in numbers]
    rows[3] = rows[3].masked_fill(later[:, None, :, None], 0)
    *leaves, gradient = _on(device, rows)
    leaves = [x.requires_grad_() for x in leaves]
    with device.autocast():
        y = attention(*leaves)
    gradients = torch.autograd.grad(y, leaves, gradient)
    for name, of_name in zip("kv", gradients[1:], strict=True):
        if (reached := of_name.cpu().transpose(1, 2)[later]).ne(0).any():
            by = float(reached.abs().max())
            raise Wrong(f"{where}: {name} of a token has a gradient (of {by:.2g}) from a token before it")
    return [x[:1] for x in (y, *gradients)]


class Exact:
    """Attention in float64, and by how much one in ``dtype`` may be off, number by number.

    A score s = q·k/√D is off by u|s| where it is stored and by the sum behind it, its exponential by that share of itself,
    and the sum that divides it by no more. Weights and values are stored once again, and added up over S tokens. Weights
    below the smallest normal number, which fp16 has at 6e-5, may become 0.
    """

    def __init__(self, numbers: Sequence[Tensor], seen: Tensor, dtype: torch.dtype) -> None:
        q, k, v = numbers[:3]
        self.q, self.groups, self.scale = q, q.shape[1] // k.shape[1], q.shape[-1] ** -0.5
        self.k, self.v = (x.repeat_interleave(self.groups, dim=1) for x in (k, v))
        scores = q @ self.k.mT * self.scale  # (B, H, T, S)
        self.weights = scores.masked_fill(~seen, -math.inf).softmax(dim=-1)
        self.y = self.weights @ self.v
        u, S, D = unit(dtype), *k.shape[2:]
        of_score = u * scores.abs().max() + of_sum(D, dtype) * (q.abs() @ self.k.abs().mT).max() * self.scale
        self.share = MARGIN * (2 * of_score + 3 * u + 2 * of_sum(S, dtype))
        """Of the sum of the sizes of what is added up."""
        self.sizes = self.weights + seen * (torch.finfo(dtype).smallest_normal / self.share)
        """Of the weights, no smaller than what may become 0."""
        self.allowed = self.share * (self.sizes @ self.v.abs())

    def gradients(self, g: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Of q, k and v, where ``g (B, H, T, D)`` comes back; each with what is allowed.

        That of a score is w(g·v - g·y): both terms are off by a share of their size, however little their difference is.
        """
        back = g @ self.v.mT  # (B, H, T, S)
        size = g.abs() @ self.v.abs().mT
        size = self.sizes * (size + (self.sizes * size).sum(dim=-1, keepdim=True))
        of_scores = self.weights * (back - (self.weights * back).sum(dim=-1, keepdim=True))
        exact = of_scores @ self.k, of_scores.mT @ self.q, self.weights.mT @ g
        sizes = size @ self.k.abs(), size.mT @ self.q.abs(), self.sizes.mT @ g.abs()
        scales = self.scale, self.scale, 1.0
        return [
            (self._of_keys(x, n) * scale, self._of_keys(a, n) * 2 * self.share * scale)
            for n, (x, a, scale) in enumerate(zip(exact, sizes, scales, strict=True))
        ]

    def _of_keys(self, x: Tensor, number: int) -> Tensor:
        """Summed over the queries' heads that share one of the keys."""
        return x.view(len(x), -1, self.groups, *x.shape[2:]).sum(dim=2) if number else x


def _numbers(shape: Shape, dtype: torch.dtype, seed: int) -> list[Tensor]:
    """q, k, v and a gradient of what comes out, each ``(1, H or K, T, D)``: float64 that ``dtype`` can hold."""
    source = torch.Generator().manual_seed(seed)
    heads = (shape.heads, shape.key_heads, shape.key_heads, shape.heads)
    drawn = (torch.randn(1, n, shape.length, shape.head_dim, generator=source, dtype=torch.float64) for n in heads)
    return [x.to(dtype).double() for x in drawn]


def _seen(attention: Attention, length: int) -> Tensor:
    """``(T, T)``: which token sees which."""
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    segments = _segments(length)[0]
    return seen & (segments[:, None] == segments) if attention is documents_apart else seen


def _places(length: int) -> Tensor:
    """``(B,)``: the token that is another in each row, none in the first; at any place in a group of four, at the ends."""
    places = {1, 2, 3, length // 2, length // 2 + 1, length * 3 // 4, length - 2, length - 1}
    return torch.tensor([length, *sorted(place for place in places if 0 < place < length)])


def _with_other_token(x: Tensor, places: Tensor, by: float) -> Tensor:
    """``x (B, H, T, D)`` with another token at ``places (B,)``, so many times as large: what is seen of it is not small."""
    changed = x.clone()
    for row, place in enumerate(places[1:].tolist(), start=1):
        changed[row, :, place] = by * x[row, :, place - 1].flip(-1)
    return changed


def _on(device: Device, numbers: Sequence[Tensor]) -> list[Tensor]:
    return [x.to(DTYPES[device.precision]).to(device.torch_device) for x in numbers]
