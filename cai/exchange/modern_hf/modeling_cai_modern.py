"""CAI's ``modern`` model for transformers 4.57 and 5 (PyTorch 2.4 or newer): the same function, in plain formulas.

A pre-norm decoder: RMSNorm without gains, RoPE, no biases, and, each by an option of ``config.json``: QK-norm
(arXiv:2302.05442), token shifts (arXiv:2305.13048), squared ReLU (arXiv:2109.08668), value embeddings (arXiv:2410.17897),
a cap on the logits (arXiv:2408.00118). Parameters have CAI's own names; a tied head is no parameter.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_cai_modern import CaiModernConfig

CACHE = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"
"""What this version of transformers calls the cache."""


def norm(x: Tensor) -> Tensor:
    """RMSNorm over the last dimension, without a gain."""
    return F.rms_norm(x, (x.shape[-1],), eps=1e-6)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """The halves of ``x (B, H, T, D)`` as the axes of planes, each turned by its one of ``angles (B or 1, T, D/2)``."""
    cos, sin = angles.cos()[:, None].to(x.dtype), angles.sin()[:, None].to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def with_past(cache: DynamicCache | None, slot: int, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """``one, other (B, H, T, *)`` behind what is in a layer of the cache: ``(B, H, S, *)``.

    Attention has the first layers, and each token shift one more, as it reaches back to what it saw too.
    """
    if cache is None:
        return one, other
    while len(cache.layers) <= slot:
        cache.layers.append(DynamicLayer())
    return cache.update(one, other, slot)


def refuse_others(cache: object, others: dict[str, Any]) -> None:
    """Raise ``ValueError`` for what transformers may give, but this model does not know."""
    if not isinstance(cache, (DynamicCache, type(None))):
        raise ValueError(f"the cache must be a DynamicCache, but is a {type(cache).__name__}")
    for name in ("inputs_embeds", "output_attentions", "output_hidden_states"):
        if others.get(name) is not None and others[name] is not False:
            raise ValueError(f"{name} is not supported by this model")


def real_tokens(mask: Tensor | None, ids: Tensor, end: int) -> Tensor:
    """``(B, S)``: which tokens are no padding. Raises ``ValueError`` for a mask that does not fit, or with gaps."""
    if mask is None:
        return torch.ones(len(ids), end, dtype=torch.bool, device=ids.device)
    if mask.shape != (len(ids), end):
        raise ValueError(f"attention_mask must have the shape {(len(ids), end)}, but has {tuple(mask.shape)}")
    real = mask.bool()
    count = real.cumsum(dim=1)
    if (~real & (count > 0) & (count < count[:, -1:])).any():
        raise ValueError("attention_mask must not be 0 between tokens: a token shift would reach into the gap")
    return real


class TokenShift(nn.Module):
    """Adds shares of the few tokens before to each token, channel by channel."""

    def __init__(self, width: int, reach: int, slot: int) -> None:
        super().__init__()
        self.mix = nn.ParameterList(torch.zeros(width) for _ in range(reach))
        self.slot = slot

    def forward(self, x: Tensor, real: Tensor, cache: DynamicCache | None) -> Tensor:
        """``x (B, T, C)``; same shape. Before the first of the ``real (B, S)`` tokens there is nothing."""
        if not len(self.mix):
            return x
        past, _ = with_past(cache, self.slot, x[:, None], x[:, None, :, :0])  # (B, 1, S, C)
        past = past[:, 0] * real[:, :, None]  # (B, S, C)
        start, end = past.shape[1] - x.shape[1], past.shape[1]
        for back, share in enumerate(self.mix, start=1):
            x = x + share * F.pad(past, (0, 0, back, 0))[:, start:end]
        return x


class Attention(nn.Module):
    """Multi-head attention with RoPE, optionally with QK-norm and embeddings added to the values."""

    def __init__(self, config: CaiModernConfig, slot: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads, self.qk_norm, self.dropout, self.slot = config.num_attention_heads, config.qk_norm, config.dropout, slot
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Tensor, more_values: Tensor | float, angles: Tensor, seen: Tensor, cache: DynamicCache | None
    ) -> Tensor:
        """``x (B, T, C)``; same shape. ``seen (B, 1, T, S)``: what each token sees."""
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x) + more_values  # (B, T, C)
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (q, k, v))  # (B, H, T, D)
        if self.qk_norm:
            q, k = norm(q), norm(k)
        k, v = with_past(cache, self.slot, rotate(k, angles), v)  # (B, H, S, D)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(rotate(q, angles), k, v, attn_mask=seen, dropout_p=dropout)
        out: Tensor = self.o_proj(y.transpose(1, 2).flatten(2))
        return out


class MLP(nn.Module):
    """Position-wise feed-forward, four times as wide inside."""

    def __init__(self, config: CaiModernConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, 4 * config.hidden_size, bias=False)
        self.down_proj = nn.Linear(4 * config.hidden_size, config.hidden_size, bias=False)
        self.squared = {"relu2": True, "gelu": False}[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        """``x (B, T, C)``; same shape."""
        x = self.up_proj(x)
        out: Tensor = self.down_proj(F.relu(x).square() if self.squared else F.gelu(x))
        return out


class Block(nn.Module):
    """Attention, then feed-forward, each added to what came in."""

    def __init__(self, config: CaiModernConfig, number: int) -> None:
        super().__init__()
        shifts = config.num_hidden_layers + 2 * number
        self.attn_shift = TokenShift(config.hidden_size, config.block_shift, shifts)
        self.attn = Attention(config, number)
        self.mlp_shift = TokenShift(config.hidden_size, config.block_shift, shifts + 1)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)
        self.values = nn.Embedding(config.vocab_size, config.hidden_size) if config.value_embeddings else None

    def forward(
        self, x: Tensor, ids: Tensor, angles: Tensor, real: Tensor, seen: Tensor, cache: DynamicCache | None
    ) -> Tensor:
        """``x (B, T, C)``; same shape."""
        more_values = 0.0 if self.values is None else self.values(ids)
        x = x + self.dropout(self.attn(self.attn_shift(norm(x), real, cache), more_values, angles, seen, cache))
        y: Tensor = x + self.dropout(self.mlp(self.mlp_shift(norm(x), real, cache)))
        return y


class CaiModernForCausalLM(PreTrainedModel, GenerationMixin):
    """Token ids in, logits and, for labels, the loss out."""

    config_class = CaiModernConfig
    _no_split_modules = ["Block"]  # noqa: RUF012
    _supports_sdpa = True

    def __init__(self, config: CaiModernConfig) -> None:
        super().__init__(config)
        width, layers = config.hidden_size, config.num_hidden_layers
        self.embed_tokens = nn.Embedding(config.vocab_size, width)
        self.token_shift = TokenShift(width, config.token_shift, 3 * layers)
        self.layers = nn.ModuleList(Block(config, number) for number in range(layers))
        self.lm_head = None if config.tie_word_embeddings else nn.Linear(width, config.vocab_size, bias=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02 if self.lm_head is None else 1.0)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        elif isinstance(module, nn.ParameterList):
            for share in module:
                nn.init.zeros_(share)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: DynamicCache | None = None,
        past_key_values: DynamicCache | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """``input_ids (B, T)`` → ``logits (B, T, V)``.

        ``attention_mask (B, S)``: 0 for padding to the left or right; S counts what the cache has, too. ``cache``, in older
        versions ``past_key_values``: what was before. ``labels (B, T)`` are ``input_ids``, -100 where they do not count.
        """
        cache = past_key_values if cache is None else cache
        if cache is None and use_cache:
            cache = DynamicCache()
        refuse_others(cache, kwargs)
        start = 0 if cache is None else cache.get_seq_length()
        end = start + input_ids.shape[1]
        if end > (most := self.config.max_position_embeddings):
            raise ValueError(f"the sequence, padding included, must be at most {most} tokens long, but is {end}")
        real = real_tokens(attention_mask, input_ids, end)  # (B, S)
        if position_ids is None:
            position_ids = (real.cumsum(dim=1) - 1).clamp(min=0)[:, start:]  # (B, T)
        angles = self._angles(position_ids)
        places = torch.arange(end, device=input_ids.device)
        # Padding sees all before it, so that nothing is divided by 0.
        seen = (places <= places[start:, None]) & (real[:, None, None, :] | ~real[:, None, start:, None])  # (B, 1, T, S)

        x = norm(self.token_shift(self.embed_tokens(input_ids), real, cache))  # (B, T, C)
        for layer in self.layers:
            x = layer(x, input_ids, angles, real, seen, cache)
        x = norm(x)[:, -logits_to_keep:]
        logits = F.linear(x, (self.embed_tokens if self.lm_head is None else self.lm_head).weight)  # (B, T, V)
        if cap := self.config.logit_softcap:
            logits = cap * torch.tanh(logits / cap)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size, **kwargs)
        more: dict[str, Any] = {CACHE: cache}
        out = CausalLMOutputWithPast(loss=loss, logits=logits, **more)
        as_dict = self.config.return_dict if return_dict is None else return_dict
        return out if as_dict else out.to_tuple()

    def _angles(self, position_ids: Tensor) -> Tensor:
        """``(B or 1, T, D/2)``"""
        width = self.config.hidden_size // self.config.num_attention_heads
        kind = torch.float32 if position_ids.device.type == "mps" else torch.float64  # which that one has not
        powers = torch.arange(0, width, 2, dtype=kind, device=position_ids.device) / width
        angles: Tensor = position_ids[:, :, None] * self.config.rope_base**-powers
        return angles
