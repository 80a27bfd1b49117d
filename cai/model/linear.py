"""Linear maps by the faster of PyTorch's two libraries for matrix products on a CPU.

In fp32 PyTorch multiplies by MKL, which leaves half of an AMD processor's AVX-512 unused; oneDNN, which it carries too and
takes for bf16, does not: 200 against 400 GFLOP/s on two cores (measured). Elsewhere, and in every other type, this is
``F.linear``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cai.hardware import onednn_is_faster

SMALL = 128
"""Rows or columns below which oneDNN loses its lead in products over the long side of both (measured)."""


class Linear(nn.Linear):
    """``torch.nn.Linear``, by ``linear``."""

    def forward(self, input: Tensor) -> Tensor:
        """``(..., in_features)`` → ``(..., out_features)``."""
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x (..., I) @ weight (O, I).T + bias (O,)`` → ``(..., O)``."""
    if torch.compiler.is_compiling():  # asked first: the compiler follows no further
        return F.linear(x, weight, bias)
    is_plain = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    if is_plain and onednn_is_faster():
        if not torch.is_grad_enabled():
            return _product(x, weight, bias)
        y: Tensor = _OneDNNLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return y
    return F.linear(x, weight, bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


class _OneDNNLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = gradient.reshape(-1, gradient.shape[-1])  # (N, O)
        return (
            _product(gradient, weight.t()) if of_x else None,
            _product_of_columns(rows, x.reshape(-1, x.shape[-1])) if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
        )


def _product_of_columns(a: Tensor, b: Tensor) -> Tensor:
    """``a (N, O).T @ b (N, I)`` → ``(O, I)``: by oneDNN with the smaller side first, by MKL where a side is very small."""
    n_out, n_in = a.shape[1], b.shape[1]
    if min(n_out, n_in) < SMALL:
        return a.t() @ b
    return _product(a.t(), b.t()) if n_out <= n_in else _product(b.t(), a.t()).t()
