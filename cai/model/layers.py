"""Layers that several models share."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cai.dropout import Dropout
from cai.model.context import Context
from cai.model.linear import Linear
from cai.model.passes import rms_norm, rotate

SHORT = 128
"""Tokens up to which attention that is spelled out is faster on a CPU than the fused kernel: by a third at 64 (measured)."""


def attend(q: Tensor, k: Tensor, v: Tensor, dropout: Dropout | None = None, context: Context | None = None) -> Tensor:
    """Attention (arXiv:1706.03762), causal unless ``context`` masks it. ``q (B, H, T, D)``, ``k, v (B, K, S, D)`` →
    ``(B, H, T, D)``.

    H must be a multiple of K: each key head serves H / K query heads (arXiv:2305.13245). S is T, or, behind what a cache
    holds, more.
    """
    mask, watched = (None, None) if context is None else (context.mask, context.watched)
    drops = dropout is not None and dropout.training and dropout.p > 0
    T, S = q.shape[-2], k.shape[-2]
    short = not torch.compiler.is_exporting() and 1 < T == S <= SHORT and q.device.type == "cpu"  # a graph is for any length
    # The fused kernels draw dropout from a global state, which knows nothing of (seed, step, sequence).
    if not drops and not short and watched is None:
        is_causal, gqa = mask is None and T == S, q.shape[1] != k.shape[1]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal, enable_gqa=gqa)
    if q.shape[1] != k.shape[1]:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    if mask is None:
        unseen = torch.full((T, S), -math.inf, dtype=q.dtype, device=q.device).triu(1 + S - T)
    else:
        of_row = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -math.inf)  # (B or 1, 1, T, S)
        unseen = of_row.expand(q.shape[0], q.shape[1], -1, -1).flatten(0, 1)  # (B*H, T, S)
    q, k = q.flatten(0, 1), k.flatten(0, 1)  # (B*H, T or S, D)
    scores = torch.baddbmm(unseen, q, k.mT, alpha=q.shape[-1] ** -0.5)  # (B*H, T, S)
    weights = scores.softmax(dim=-1).view(*v.shape[:2], T, S)
    if watched is not None:
        watched.append(weights)
    if dropout is not None:
        weights = dropout(weights)
    y: Tensor = weights.to(v.dtype) @ v
    return y


def split_heads(x: Tensor, head_dim: int) -> Tensor:
    """``(B, T, H*D)`` → ``(B, H, T, D)``."""
    return x.view(*x.shape[:2], -1, head_dim).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """``(B, H, T, D)`` → ``(B, T, H*D)``."""
    return x.transpose(1, 2).flatten(2)


class Rotary(nn.Module):
    """Rotary position embedding (arXiv:2104.09864), the two halves of a head being the two axes, as in Llama."""

    cos: Tensor
    sin: Tensor

    def __init__(self, block_size: int, head_dim: int, base: float) -> None:
        super().__init__()
        frequencies = base ** -(torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)  # (D/2,)
        angles = torch.outer(torch.arange(block_size, dtype=torch.float64), frequencies)  # (block_size, D/2)
        # No weights: made anew with the model, so not kept in checkpoints.
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """``x (B, H, T, D)`` turned by the position of each token; same shape and type."""
        places = slice(x.shape[-2]) if context is None or context.positions is None else context.positions
        if isinstance(places, Tensor):  # the same as by an index, in a fifth of the time (measured)
            cos, sin = (F.embedding(places[:, None], table).to(x.dtype) for table in (self.cos, self.sin))  # (B, 1, T, D/2)
        else:
            cos, sin = self.cos[places].to(x.dtype), self.sin[places].to(x.dtype)  # (T, D/2)
        return rotate(x, cos, sin)


class RMSNorm(nn.Module):
    """Root-mean-square norm with a gain for each channel (arXiv:1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``x (..., C)``; same shape."""
        return rms_norm(x, self.eps) * self.weight


class SwiGLU(nn.Module):
    """Feed-forward with a gate (arXiv:2002.05202). Parameter names follow Llama's own."""

    def __init__(self, n_embd: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = Linear(n_embd, intermediate_size, bias=False)
        self.up_proj = Linear(n_embd, intermediate_size, bias=False)
        self.down_proj = Linear(intermediate_size, n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out
