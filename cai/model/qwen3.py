"""Qwen3 (arXiv:2505.09388): Llama with queries and keys normed head by head.

The same function as ``transformers.Qwen3ForCausalLM`` (tested). Parameter names follow that one's own.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cai.model.base import NonNegativeInt
from cai.model.layers import RMSNorm
from cai.model.llama import Llama, LlamaAttention, LlamaBlock, LlamaConfig

ENERGY = (0.4, 0.3, 0.2, 0.1)
"""Shares of the fastest rotations in a head that looks back a number of tokens: with one alone every sixth would be near."""
GAIN = 2.0
"""Of the norms of queries and keys then: half to two thirds of the attention fall on one token of 960."""
SIZE = 0.1
"""Of their weights, five times the others': the norms make no difference, but an optimizer soon changes what is small."""
CONSTANT = 4.0
"""The embeddings' channel that is the same in all tokens, as a multiple of their spread."""


class Qwen3Config(LlamaConfig):
    """Shape of a dense Qwen3, and how it begins."""

    previous_token_heads: NonNegativeInt

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.previous_token_heads > self.n_head:
            given = f"is {self.previous_token_heads}. Try @.previous_token_heads={self.n_head}."
            yield f"@.previous_token_heads must be at most @.n_head ({self.n_head}), but {given}"

    def build(self, vocab_size: int) -> Qwen3:
        return Qwen3(self, vocab_size)


class Qwen3Attention(LlamaAttention):
    """Grouped-query attention with QK-norm (arXiv:2302.05442), which keeps the scores from growing without bound."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.q_norm = RMSNorm(config.head_dim, config.norm_eps)
        self.k_norm = RMSNorm(config.head_dim, config.norm_eps)

    def normed(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return self.q_norm(q), self.k_norm(k)


class Qwen3Block(LlamaBlock):
    """Llama's block around Qwen3's attention."""

    attention = Qwen3Attention


class Qwen3(Llama):
    """Token ids in, logits or summed loss out."""

    block = Qwen3Block

    def __init__(self, config: Qwen3Config, vocab_size: int) -> None:
        super().__init__(config, vocab_size)
        if config.previous_token_heads:
            self._look_back(config.previous_token_heads, config)

    @torch.no_grad()
    def _look_back(self, heads: int, config: Qwen3Config) -> None:
        """Have the first block's query heads begin by attending to the token before, the one before that, and so on.

        Of such heads induction heads are made (arXiv:2209.11895), and they are late in coming by themselves. A channel that
        is the same in every token makes queries and keys of one direction, which RoPE turns apart by the distance alone; the
        queries of head h are turned ahead by h + 1 tokens. Weights begin so, and are learned like all others.
        """
        attention: Qwen3Attention = self.layers[0].self_attn  # type: ignore[assignment]
        D, group = config.head_dim, config.n_head // config.n_kv_head
        spread = self.embed_tokens.weight.std()
        self.embed_tokens.weight[:, 0] = CONSTANT * spread
        for norm in (attention.q_norm, attention.k_norm):
            norm.weight.fill_(GAIN)
        for head in range(heads):
            for linear, number, angle in ((attention.k_proj, head // group, 0), (attention.q_proj, head, -(head + 1))):
                rows = linear.weight[number * D : (number + 1) * D]  # (D, C)
                rows.zero_()
                rows[:, 0] = SIZE * direction(D, config.rope_base, angle)


def direction(head_dim: int, rope_base: float, turned: int) -> Tensor:
    """``(D,)`` of mean square 1, in the planes that RoPE turns fastest, turned by that many tokens."""
    energy = torch.tensor(ENERGY[: head_dim // 2])
    angles = turned * rope_base ** -(2 * torch.arange(len(energy)) / head_dim)
    lengths = (head_dim * energy / energy.sum()).sqrt()
    vector = torch.zeros(2, head_dim // 2)
    vector[0, : len(energy)], vector[1, : len(energy)] = lengths * angles.cos(), lengths * angles.sin()
    return vector.flatten()
