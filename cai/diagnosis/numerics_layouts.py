"""Tensors as they lie in memory: transposed, cut out, spread. Does a device read and write the right numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cai.device import Device
from cai.diagnosis.numerics_rounding import DTYPES, Errors, after
from cai.model import layers, linear, passes

EPS = 1e-5
Layout = Callable[[Tensor], Tensor]
Op = Callable[..., Tensor]


def _by_columns(x: Tensor) -> Tensor:
    return x.mT.contiguous().mT


def _by_heads(x: Tensor) -> Tensor:
    """As ``split_heads`` leaves it."""
    return x.transpose(-3, -2).contiguous().transpose(-3, -2) if x.ndim > 2 else x


def _part(x: Tensor) -> Tensor:
    """As ``chunk`` leaves it: the middle of something wider."""
    return F.pad(x, (x.shape[-1], x.shape[-1]), value=9.0).narrow(-1, x.shape[-1], x.shape[-1])


def _every_second(x: Tensor) -> Tensor:
    return torch.stack([x + 9, x], dim=-1).flatten(-2)[..., 1::2]


LAYOUTS: dict[str, Layout] = {
    "contiguous": Tensor.contiguous,
    "by columns": _by_columns,
    "by heads": _by_heads,
    "a part": _part,
    "every second": _every_second,
}
"""The same numbers in other places."""


class Case(NamedTuple):
    """An operation, the plain formula of it, and the shapes of what goes in."""

    ours: Op
    plain: Op
    shapes: tuple[tuple[int, ...], ...]
    terms: int
    """Of its longest sum."""


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def _plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores: Tensor = q @ k.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf).softmax(dim=-1) @ v


def _plain_norm(x: Tensor) -> Tensor:
    y: Tensor = x / (x.square().mean(dim=-1, keepdim=True) + EPS).sqrt()
    return y


def _plain_shift(x: Tensor, mix: Tensor) -> Tensor:
    return sum((F.pad(x, (0, 0, back, 0))[:, : x.shape[1]] * share for back, share in enumerate(mix, start=1)), start=x)


def _plain_rotation(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weight, bias)


def _plain_layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _plain_norm(x - x.mean(dim=-1, keepdim=True)) * weight + bias


_HEADS, _FEW, _ROWS = (3, 2, 70, 64), (3, 2, 5, 64), (3, 7, 48)
CASES: dict[str, Case] = {
    "PyTorch's attention": Case(_attention, _plain_attention, (_HEADS,) * 3, 256),
    "PyTorch's attention of few tokens": Case(_attention, _plain_attention, (_FEW,) * 3, 256),
    "attend": Case(lambda *x: layers.attend(*x), _plain_attention, (_HEADS,) * 3, 256),
    "linear": Case(lambda *x: linear.linear(*x), F.linear, (_ROWS, (130, 48), (130,)), 130),
    "layer_norm": Case(_layer_norm, _plain_layer_norm, (_ROWS, (48,), (48,)), 96),
    "rms_norm": Case(lambda x: passes.rms_norm(x, EPS), _plain_norm, (_ROWS,), 96),
    "squared_relu": Case(lambda x: passes.squared_relu(x), lambda x: F.relu(x) ** 2, (_ROWS,), 1),
    "shift_in": Case(lambda *x: passes.shift_in(*x), _plain_shift, (_ROWS, (3, 48)), 32),
    "rotate": Case(lambda *x: passes.rotate(*x), _plain_rotation, ((3, 2, 7, 48), (7, 24), (7, 24)), 2),
}
TRAINED = {"rotate": 1}
"""How many of an operation's inputs get a gradient, where it is not all."""

RESULTS = ("result", "result with gradients", *(f"gradient of input {n}" for n in (1, 2, 3)))
"""Of an operation."""
ROUNDINGS = 16
"""In one operation and its way back, with differences of numbers of one size."""


def in_any_layout(device: Device) -> str:
    """Each operation on inputs and gradients of each layout. Raises ``Wrong``; returns how exact they are."""
    errors, dtype = Errors(), DTYPES[device.precision]
    for name, case in CASES.items():
        *inputs, back = _numbers(case, len(name), dtype)
        trained = TRAINED.get(name, len(inputs))
        for spread in (False, True):
            expected = _results(case.plain, inputs, None if spread else back, trained)
            for layout, lay in LAYOUTS.items():
                *on_device, back_there = (_on(device, x, lay) for x in (*inputs, back))
                found = _results(case.ours, on_device, None if spread else back_there, trained)
                for what, one, right in zip(RESULTS, found, expected, strict=False):
                    where = f"{name}, {layout}{', one gradient for all' * spread}: {what}"
                    errors.add(one, right, after(ROUNDINGS, case.terms, dtype), where)
    return f"{len(CASES)} operations in {len(LAYOUTS)} layouts; {errors}"


def _numbers(case: Case, seed: int, dtype: torch.dtype) -> list[Tensor]:
    """The inputs of ``case`` and a gradient of its result: float64 that ``dtype`` can hold."""
    source = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(shape, generator=source, dtype=torch.float64) for shape in case.shapes]
    back = torch.randn(case.plain(*inputs).shape, generator=source, dtype=torch.float64)
    return [x.to(dtype).double() for x in (*inputs, back)]


def _on(device: Device, x: Tensor, lay: Layout) -> Tensor:
    """Laid out on the device: a copy to it may change the layout."""
    on_device = x.to(DTYPES[device.precision]).to(device.torch_device)
    return lay(on_device) if x.ndim > 1 else on_device


def _results(operation: Op, inputs: Sequence[Tensor], back: Tensor | None, trained: int) -> list[Tensor]:
    """``RESULTS``. Without ``back`` one gradient comes back to all numbers, and is kept once."""
    with torch.no_grad():
        written = operation(*inputs)
    leaves = [x.detach().requires_grad_(n < trained) for n, x in enumerate(inputs)]
    y = operation(*leaves)
    return [written, y.detach(), *torch.autograd.grad(y.sum() if back is None else y, leaves[:trained], back)]
