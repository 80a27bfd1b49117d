"""Element-wise functions with their gradients written out.

At a small model's sizes passes over memory take as long as matrix products, and these need half as many as the chains of
operations that autograd records for the same formulas. They have first derivatives alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


class _SquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = F.relu(x)
        ctx.save_for_backward(positive)
        return positive.square()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        positive: Tensor = ctx.saved_tensors[0]
        return (gradient * positive).mul_(2)  # 0 where x was negative


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        scale = (size.square_() / x.shape[-1] + eps).rsqrt_().to(x.dtype)  # (..., 1)
        y: Tensor = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        y, scale = ctx.saved_tensors
        along = (gradient * y).mean(dim=-1, keepdim=True)  # what only changes the length of x
        return torch.addcmul(gradient, y, along, value=-1).mul_(scale), None


class _Shift(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mix: Tensor, positions: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, mix, positions)
        y = x.clone()
        for back, share in enumerate(mix.to(x.dtype)[: x.shape[1] - 1], start=1):
            y[:, back:].addcmul_(_reached(x[:, :-back], back, positions), share)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, mix, positions = ctx.saved_tensors
        of_x, of_mix = gradient.clone(), torch.zeros_like(mix)
        for back, share in enumerate(mix.to(x.dtype)[: x.shape[1] - 1], start=1):
            of_shifted = _reached(gradient[:, back:], back, positions)
            of_x[:, :-back].addcmul_(of_shifted, share)
            of_mix[back - 1] = (of_shifted * x[:, :-back]).sum(dim=(0, 1), dtype=mix.dtype)
        return of_x, of_mix, None


def _reached(shifted: Tensor, back: int, positions: Tensor | None) -> Tensor:
    """``shifted (B, T - back, C)`` where so many tokens stand before in the same document; 0 where not."""
    return shifted if positions is None else shifted.masked_fill(positions[:, back:, None] < back, 0)


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(gradient, cos, -sin), None, None  # the inverse of a rotation turns back


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    if torch.compiler.is_compiling():  # which fuses this, and cannot write into a part of a tensor without a graph break
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    out = torch.empty_like(x)
    into_first, into_second = out.chunk(2, dim=-1)
    torch.mul(first, cos, out=into_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=into_second).addcmul_(first, sin)
    return out


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)² (Primer, arXiv:2109.08668)."""
    out: Tensor = _SquaredReLU.apply(x)  # type: ignore[no-untyped-call]
    return out


def rms_norm(x: Tensor, eps: float) -> Tensor:
    """``x / sqrt(mean(x²) + eps)`` over the last dimension (arXiv:1910.07467), the mean square in fp32 at least."""
    if torch.compiler.is_exporting():  # for other programs one operation is better than several that write in place
        return F.rms_norm(x, x.shape[-1:], eps=eps)
    out: Tensor = _RMSNorm.apply(x, eps)  # type: ignore[no-untyped-call]
    return out


def shift_in(x: Tensor, mix: Tensor, positions: Tensor | None = None) -> Tensor:
    """``x (B, T, C)`` plus ``mix[k - 1]`` of what stands k places before, for each row of ``mix (K, C)``.

    ``positions (B, T)``: of each token in its document, before which there is nothing.
    """
    if torch.compiler.is_exporting() and positions is None:  # what follows writes into parts of a tensor, and asks for T
        before = F.pad(x, (0, 0, len(mix), 0))  # (B, K + T, C)
        shares = (before[:, len(mix) - back : -back] * share for back, share in enumerate(mix.unbind(), start=1))
        return sum(shares, start=x)
    out: Tensor = _Shift.apply(x, mix, positions)  # type: ignore[no-untyped-call]
    return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The halves of ``x (..., D)`` as the axes of D/2 planes, each turned by the angle of ``cos, sin (..., D/2)``."""
    out: Tensor = _Rotation.apply(x, cos, sin)  # type: ignore[no-untyped-call]
    return out
