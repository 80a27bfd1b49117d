"""Qwen3 (arXiv:2505.09388): Llama with queries and keys normed head by head.

The same function as ``transformers.Qwen3ForCausalLM`` (tested). Parameter names follow that one's own.
"""

from __future__ import annotations

from torch import Tensor

from cai.model.layers import RMSNorm
from cai.model.llama import Llama, LlamaAttention, LlamaBlock, LlamaConfig


class Qwen3Config(LlamaConfig):
    """Shape of a dense Qwen3."""

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
