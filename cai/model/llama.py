"""Llama (arXiv:2302.13971, grouped queries as in arXiv:2307.09288): RoPE, RMSNorm, SwiGLU, no biases.

The same function as ``transformers.LlamaForCausalLM`` (tested). Parameter names follow that one's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from cai.dropout import Dropout
from cai.model.base import ModelConfig, PositiveFloat, PositiveInt, Probability, must_be_multiple
from cai.model.context import Context, with_past
from cai.model.decoder import Decoder
from cai.model.layers import RMSNorm, Rotary, SwiGLU, attend, merge_heads, split_heads
from cai.model.linear import Linear


class LlamaConfig(ModelConfig):
    """Shape of a Llama."""

    n_layer: PositiveInt
    n_head: PositiveInt
    n_kv_head: PositiveInt
    n_embd: PositiveInt
    head_dim: PositiveInt
    intermediate_size: PositiveInt
    rope_base: PositiveFloat
    norm_eps: PositiveFloat
    dropout: Probability
    tie_weights: bool

    def problems(self) -> Iterator[str]:
        yield from must_be_multiple("n_head", self.n_head, "@.n_kv_head", self.n_kv_head)
        if self.head_dim % 2:
            yield f"@.head_dim must be even, as RoPE turns pairs, but is {self.head_dim}. Try {self.head_dim + 1}."

    def build(self, vocab_size: int) -> Llama:
        return Llama(self, vocab_size)


class LlamaAttention(nn.Module):
    """Grouped-query attention: each of K key heads serves H / K query heads (arXiv:2305.13245)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.q_proj = Linear(config.n_embd, config.n_head * config.head_dim, bias=False)
        self.k_proj = Linear(config.n_embd, config.n_kv_head * config.head_dim, bias=False)
        self.v_proj = Linear(config.n_embd, config.n_kv_head * config.head_dim, bias=False)
        self.o_proj = Linear(config.n_head * config.head_dim, config.n_embd, bias=False)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, rotary: Rotary, context: Context | None = None) -> Tensor:
        q, k = self.normed(split_heads(self.q_proj(x), self.head_dim), split_heads(self.k_proj(x), self.head_dim))
        v = split_heads(self.v_proj(x), self.head_dim)  # (B, K, T, D)
        k, v = with_past(self, rotary(k, context), v, context)
        y = attend(rotary(q, context), k, v, self.dropout, context)  # (B, H, T, D)
        out: Tensor = self.o_proj(merge_heads(y))
        return out

    def normed(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys before they are turned; Llama leaves them as they are."""
        return q, k


class LlamaBlock(nn.Module):
    """Attention, then feed-forward, each added to what came in (pre-norm)."""

    attention: type[LlamaAttention] = LlamaAttention

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.n_embd, config.norm_eps)
        self.self_attn = self.attention(config)
        self.post_attention_layernorm = RMSNorm(config.n_embd, config.norm_eps)
        self.mlp = SwiGLU(config.n_embd, config.intermediate_size)
        self.attn_dropout = Dropout(config.dropout)
        self.mlp_dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, rotary: Rotary, context: Context | None = None) -> Tensor:
        x = x + self.attn_dropout(self.self_attn(self.input_layernorm(x), rotary, context))
        y: Tensor = x + self.mlp_dropout(self.mlp(self.post_attention_layernorm(x)))
        return y


class Llama(Decoder):
    """Token ids in, logits or summed loss out."""

    block: type[LlamaBlock] = LlamaBlock

    def __init__(self, config: LlamaConfig, vocab_size: int) -> None:
        super().__init__(config.block_size, vocab_size)
        self.embed_tokens = nn.Embedding(vocab_size, config.n_embd)
        self.layers = nn.ModuleList(self.block(config) for _ in range(config.n_layer))
        self.norm = RMSNorm(config.n_embd, config.norm_eps)
        self.rotary = Rotary(config.block_size, config.head_dim, config.rope_base)
        self.lm_head = None if config.tie_weights else Linear(config.n_embd, vocab_size, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def hidden(self, ids: Tensor, context: Context | None = None) -> Tensor:
        x = self.embed_tokens(ids)  # (B, T, C)
        for layer in self.layers:
            x = self.through(layer, x, self.rotary, context)
        out: Tensor = self.norm(x)
        return out

    def head_weight(self) -> Tensor:
        return self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
