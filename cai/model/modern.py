"""The small-scale champion: what makes a small GPT learn most in the least time, each idea an option with its source.

Bound to no published architecture. ``experiments/ablation`` measures what each option brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cai.dropout import Dropout
from cai.model.base import (
    ModelConfig,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    must_be_multiple,
)
from cai.model.context import Context, with_past
from cai.model.decoder import Decoder
from cai.model.layers import Rotary, attend, merge_heads, split_heads
from cai.model.linear import Linear
from cai.model.passes import rms_norm, shift_in, squared_relu

EPS = 1e-6
"""Added to the mean square in every norm."""


class ModernConfig(ModelConfig):
    """Shape of the model, and which of the ideas it uses."""

    n_layer: PositiveInt
    n_head: PositiveInt
    n_embd: PositiveInt
    activation: Literal["relu2", "gelu"]
    qk_norm: bool
    zero_init: bool
    token_shift: NonNegativeInt
    block_shift: NonNegativeInt
    shift_init: NonNegativeFloat
    value_embeddings: bool
    logit_softcap: NonNegativeFloat
    rope_base: PositiveFloat
    dropout: Probability
    tie_weights: bool

    def problems(self) -> Iterator[str]:
        yield from must_be_multiple("n_embd", self.n_embd, "twice @.n_head", 2 * self.n_head)

    def build(self, vocab_size: int) -> Modern:
        return Modern(self, vocab_size)


def norm(x: Tensor) -> Tensor:
    """RMSNorm over the last dimension, without a gain: the matrix that follows can hold it."""
    return rms_norm(x, EPS)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu2": squared_relu, "gelu": F.gelu}


class TokenShift(nn.Module):
    """Adds shares of the few tokens before to each token, channel by channel (RWKV, arXiv:2305.13048): neighbours without
    attention. It begins as the identity, unless ``shift_init`` is given.
    """

    def __init__(self, n_embd: int, reach: int) -> None:
        super().__init__()
        self.mix = nn.ParameterList(torch.zeros(n_embd) for _ in range(reach))  # vectors to an optimizer, not a matrix

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """``x (B, T, C)``; same shape. Before the first token of a document there is nothing."""
        if not len(self.mix):
            return x
        reach, mix = len(self.mix), torch.stack(list(self.mix))
        if context is not None and context.cache is not None:
            return shift_in(context.cache.behind(self, x, reach), mix)[:, reach:]
        positions = None if context is None else context.positions
        assert not isinstance(positions, slice)  # which only a cache gives
        return shift_in(x, mix, positions)


class Attention(nn.Module):
    """Multi-head attention with RoPE, optionally with QK-norm and embeddings added to the values."""

    def __init__(self, config: ModernConfig) -> None:
        super().__init__()
        self.head_dim = config.n_embd // config.n_head
        self.qk_norm = config.qk_norm
        self.q_proj = Linear(config.n_embd, config.n_embd, bias=False)
        self.k_proj = Linear(config.n_embd, config.n_embd, bias=False)
        self.v_proj = Linear(config.n_embd, config.n_embd, bias=False)
        self.o_proj = Linear(config.n_embd, config.n_embd, bias=False)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, rotary: Rotary, more_values: Tensor | None, context: Context | None = None) -> Tensor:
        q, k = split_heads(self.q_proj(x), self.head_dim), split_heads(self.k_proj(x), self.head_dim)  # (B, H, T, D)
        if self.qk_norm:  # arXiv:2302.05442
            q, k = norm(q), norm(k)
        v = self.v_proj(x)  # (B, T, C)
        if more_values is not None:
            v = v + more_values
        v = split_heads(v, self.head_dim)  # (B, H, T, D)
        k, v = with_past(self, rotary(k, context), v, context)
        y = attend(rotary(q, context), k, v, self.dropout, context)  # (B, H, T, D)
        out: Tensor = self.o_proj(merge_heads(y))
        return out


class MLP(nn.Module):
    """Position-wise feed-forward, four times as wide inside."""

    def __init__(self, config: ModernConfig) -> None:
        super().__init__()
        self.up_proj = Linear(config.n_embd, 4 * config.n_embd, bias=False)
        self.down_proj = Linear(4 * config.n_embd, config.n_embd, bias=False)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(self.activation(self.up_proj(x)))
        return out


class Block(nn.Module):
    """Attention, then feed-forward, each added to what came in (pre-norm)."""

    def __init__(self, config: ModernConfig, vocab_size: int) -> None:
        super().__init__()
        self.attn_shift = TokenShift(config.n_embd, config.block_shift)
        self.attn = Attention(config)
        self.mlp_shift = TokenShift(config.n_embd, config.block_shift)
        self.mlp = MLP(config)
        self.attn_dropout = Dropout(config.dropout)
        self.mlp_dropout = Dropout(config.dropout)
        # Tokens speak to later positions by their identity too (value residual, arXiv:2410.17897, from a table of its own).
        self.values = nn.Embedding(vocab_size, config.n_embd) if config.value_embeddings else None

    def forward(self, x: Tensor, ids: Tensor, rotary: Rotary, context: Context | None = None) -> Tensor:
        more_values = None if self.values is None else self.values(ids)
        x = x + self.attn_dropout(self.attn(self.attn_shift(norm(x), context), rotary, more_values, context))
        y: Tensor = x + self.mlp_dropout(self.mlp(self.mlp_shift(norm(x), context)))
        return y


class Modern(Decoder):
    """Token ids in, logits or summed loss out."""

    def __init__(self, config: ModernConfig, vocab_size: int) -> None:
        super().__init__(config.block_size, vocab_size)
        self.logit_softcap = config.logit_softcap
        self.embed_tokens = nn.Embedding(vocab_size, config.n_embd)
        self.token_shift = TokenShift(config.n_embd, config.token_shift)
        self.layers = nn.ModuleList(Block(config, vocab_size) for _ in range(config.n_layer))
        self.rotary = Rotary(config.block_size, config.n_embd // config.n_head, config.rope_base)
        self.lm_head = None if config.tie_weights else Linear(config.n_embd, vocab_size, bias=False)
        self._init_weights(config)

    def _init_weights(self, config: ModernConfig) -> None:
        """Embeddings and matrices so that activations have about unit size; what adds to the residual stream begins at 0.

        With random shares of the tokens before it, each token tells its neighbourhood at once: a head can find where the
        same few tokens stood before (an induction head, arXiv:2209.11895) without having to learn that first.
        """
        for name, share in self.named_parameters():
            if config.shift_init and ".attn_shift." in name:
                nn.init.normal_(share, std=config.shift_init)
        for name, module in self.named_modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02 if config.tie_weights else 1.0)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if config.zero_init and name.endswith(("o_proj", "down_proj", "lm_head")):
                    nn.init.zeros_(module.weight)  # each block begins as the identity (ReZero, arXiv:2003.04887)

    def hidden(self, ids: Tensor, context: Context | None = None) -> Tensor:
        x = self.embed_tokens(ids)  # (B, T, C)
        x = norm(self.token_shift(x, context))
        for layer in self.layers:
            x = self.through(layer, x, ids, self.rotary, context)
        return norm(x)

    def head_weight(self) -> Tensor:
        return self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
