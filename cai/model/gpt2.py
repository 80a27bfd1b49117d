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
from cai.model.base import ModelConfig, PositiveInt, Probability, must_be_multiple
from cai.model.context import Context, with_past
from cai.model.decoder import Decoder
from cai.model.layers import attend, merge_heads, split_heads
from cai.model.linear import Linear


class GPT2Config(ModelConfig):
    """Shape of a GPT-2."""

    n_layer: PositiveInt
    n_head: PositiveInt
    n_embd: PositiveInt
    dropout: Probability
    bias: bool
    tie_weights: bool

    def problems(self) -> Iterator[str]:
        yield from must_be_multiple("n_embd", self.n_embd, "@.n_head", self.n_head)

    def build(self, vocab_size: int) -> GPT2:
        return GPT2(self, vocab_size)


class CausalSelfAttention(nn.Module):
    """Multi-head attention, its three projections in one matrix."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.head_dim = config.n_embd // config.n_head
        self.c_attn = Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.attn_dropout = Dropout(config.dropout)
        self.resid_dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        q, k, v = (split_heads(part, self.head_dim) for part in self.c_attn(x).chunk(3, dim=-1))  # each (B, H, T, D)
        k, v = with_past(self, k, v, context)
        y = merge_heads(attend(q, k, v, self.attn_dropout, context))  # (B, T, C)
        out: Tensor = self.resid_dropout(self.c_proj(y))
        return out


class MLP(nn.Module):
    """Position-wise feed-forward, four times as wide inside; GELU in its tanh form, as GPT-2 has it (arXiv:1606.08415)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
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

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        x = x + self.attn(self.ln_1(x), context)
        y: Tensor = x + self.mlp(self.ln_2(x))
        return y


class GPT2(Decoder):
    """Token ids in, logits or summed loss out. Parameter names follow GPT-2's own."""

    def __init__(self, config: GPT2Config, vocab_size: int) -> None:
        super().__init__(config.block_size, vocab_size)
        self.wte = nn.Embedding(vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.drop = Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, bias=config.bias)
        # A tied head is wte itself, not a second name for it: nothing to keep in step when counting, saving or decaying.
        self.lm_head = None if config.tie_weights else Linear(config.n_embd, vocab_size, bias=False)
        self._init_weights(config)

    def _init_weights(self, config: GPT2Config) -> None:
        """Normal(0, 0.02), zero biases; projections into the residual stream divided by sqrt(2 n_layer), as GPT-2."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                residual = name.endswith("c_proj")
                nn.init.normal_(module.weight, std=0.02 / math.sqrt(2 * config.n_layer) if residual else 0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def hidden(self, ids: Tensor, context: Context | None = None) -> Tensor:
        places = slice(ids.shape[1]) if context is None or context.positions is None else context.positions
        if isinstance(places, slice):
            places = torch.arange(places.start or 0, places.stop, device=ids.device)  # (T,)
        x = self.drop(self.wte(ids) + self.wpe(places))  # (B, T, C)
        for block in self.h:
            x = self.through(block, x, context)
        out: Tensor = self.ln_f(x)
        return out

    def head_weight(self) -> Tensor:
        return self.wte.weight if self.lm_head is None else self.lm_head.weight
