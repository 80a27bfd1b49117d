"""GPT-2 (Radford et al. 2019): learned positions, pre-LayerNorm, GELU, biases.

The same function as ``transformers.GPT2LMHeadModel`` (tested), written for training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cai.dropout import Dropout
from cai.model.base import IGNORE_INDEX, ModelConfig, PositiveInt, Probability


class GPT2Config(ModelConfig):
    """Shape of a GPT-2."""

    n_layer: PositiveInt
    n_head: PositiveInt
    n_embd: PositiveInt
    dropout: Probability
    bias: bool
    tie_weights: bool

    def problems(self) -> Iterator[str]:
        if rest := self.n_embd % self.n_head:
            lower, upper = self.n_embd - rest, self.n_embd - rest + self.n_head
            ways = " or ".join(str(n) for n in (lower, upper) if n)
            yield f"@.n_embd must be a multiple of @.n_head ({self.n_head}), but is {self.n_embd}. Try {ways}."

    def build(self, vocab_size: int) -> GPT2:
        return GPT2(self, vocab_size)


class CausalSelfAttention(nn.Module):
    """Multi-head attention in which position t sees positions 0..t (arXiv:1706.03762)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.attn_dropout = Dropout(config.dropout)
        self.resid_dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        heads = self.c_attn(x).view(B, T, 3, self.n_head, C // self.n_head)  # (B, T, 3, H, D)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        if self.training and self.attn_dropout.p:
            # Spelled out: the fused kernels draw from a global state, which knows nothing of (seed, step, sequence).
            scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, T, T)
            future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
            y = self.attn_dropout(scores.masked_fill(future, -math.inf).softmax(dim=-1)).to(v.dtype) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, D)
        y = y.transpose(1, 2).reshape(B, T, C)  # (B, T, C)
        out: Tensor = self.resid_dropout(self.c_proj(y))
        return out


class MLP(nn.Module):
    """Position-wise feed-forward, four times as wide inside; GELU in its tanh form, as GPT-2 has it (arXiv:1606.08415)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")))
        return out


class Block(nn.Module):
    """Attention, then feed-forward, each added to what came in (pre-norm)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        y: Tensor = x + self.mlp(self.ln_2(x))
        return y


class GPT2(nn.Module):
    """Token ids in, logits or summed loss out. Parameter names follow GPT-2's own."""

    def __init__(self, config: GPT2Config, vocab_size: int) -> None:
        super().__init__()
        self.block_size = config.block_size
        self.vocab_size = vocab_size
        self.wte = nn.Embedding(vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.drop = Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, bias=config.bias)
        # A tied head is wte itself, not a second name for it: nothing to keep in step when counting, saving or decaying.
        self.lm_head = None if config.tie_weights else nn.Linear(config.n_embd, vocab_size, bias=False)
        self._init_weights(config)

    def _init_weights(self, config: GPT2Config) -> None:
        """Normal(0, 0.02), zero biases; projections into the residual stream divided by sqrt(2 n_layer), as GPT-2."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                residual = name.endswith("c_proj")
                nn.init.normal_(module.weight, std=0.02 / math.sqrt(2 * config.n_layer) if residual else 0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:
        """``ids (B, T)`` → logits ``(B, T, V)``; with ``targets (B, T)`` the summed cross-entropy in nats, a scalar.

        Raises ``ValueError`` if T is larger than ``block_size``.
        """
        T = ids.shape[1]
        if self.block_size < T:
            raise ValueError(f"the sequence must be at most model.block_size ({self.block_size}) long, but is {T}")
        x = self.wte(ids) + self.wpe(torch.arange(T, device=ids.device))  # (B, T, C)
        x = self.drop(x)
        for block in self.h:
            x = block(x)
        head = self.wte.weight if self.lm_head is None else self.lm_head.weight
        logits = F.linear(self.ln_f(x), head)  # (B, T, V)
        if targets is None:
            return logits
        if logits.dtype in (torch.bfloat16, torch.float16):
            logits = logits.float()  # a sum over thousands of targets needs more than their 8 to 11 bits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX, reduction="sum")
