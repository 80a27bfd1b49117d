"""Llama and Qwen3 as ``LlamaForCausalLM`` and ``Qwen3ForCausalLM`` of transformers have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from cai.errors import ConfigError
from cai.exchange.layouts import (
    QUANTIZED,
    Fixed,
    Layout,
    common_page,
    needed,
    positions,
    refuse,
    spelled,
    validated,
)
from cai.model.base import ModelConfig
from cai.model.llama import LlamaConfig
from cai.model.qwen3 import Qwen3Config
from cai.tokenizer.base import Tokenizer

FIXED = (
    Fixed("hidden_act", "silu", ("silu", "swish")),  # two names of one function
    Fixed("attention_bias", False, (False,)),
    Fixed("mlp_bias", False, (False,)),
    Fixed("partial_rotary_factor", 1.0, (1.0, None)),
    QUANTIZED,
)

PLAIN_ROPE = Fixed("rope_type", "default", ("default",))
WHOLE_ROPE = Fixed("partial_rotary_factor", 1.0, (1.0,))
ROPE_BASE = 10_000.0
"""Of both majors, if ``config.json`` says none."""


class LlamaLayout(Layout):
    """CAI's names are those of the architecture."""

    architecture = "LlamaForCausalLM"
    model_type = "llama"
    config_class: type[LlamaConfig] = LlamaConfig

    def page(self, config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
        assert isinstance(config, LlamaConfig)
        self._refuse_shape(config)
        return common_page(self, tokenizer, tied=config.tie_weights) | {
            "max_position_embeddings": config.block_size,
            "hidden_size": config.n_embd,
            "intermediate_size": config.intermediate_size,
            "num_hidden_layers": config.n_layer,
            "num_attention_heads": config.n_head,
            "num_key_value_heads": config.n_kv_head,
            "head_dim": config.head_dim,
            "hidden_act": "silu",
            "rms_norm_eps": config.norm_eps,
            "rope_theta": config.rope_base,  # transformers 4 reads this, 5 the next
            "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
            "attention_bias": False,
            "attention_dropout": config.dropout,
            "initializer_range": 0.02,
            **self._more(),
        }

    def _refuse_shape(self, config: LlamaConfig) -> None:
        if rest := config.n_embd % config.n_head:
            ways = " or ".join(str(n) for n in (config.n_embd - rest, config.n_embd - rest + config.n_head) if n)
            raise ConfigError(
                f"`model.n_embd` must be a multiple of `model.n_head` ({config.n_head}) in a {self.architecture}, of which"
                f" transformers asks it, but is {config.n_embd}. Train with {ways}, or try to=safetensors."
            )

    def _more(self) -> dict[str, Any]:
        return {"mlp_bias": False}

    def _beginning(self) -> dict[str, Any]:
        """Options that say how training begins, which no ``config.json`` does."""
        return {}

    def config(self, page: Mapping[str, Any], *, block_size: int | None, dropout: float) -> ModelConfig:
        n_layer, n_head, n_embd = (needed(page, key) for key in ("num_hidden_layers", "num_attention_heads", "hidden_size"))
        size = positions(page, "max_position_embeddings", block_size)
        fixed = [problem for one in FIXED for problem in one.problems(page)]
        refuse([*fixed, *_rope(page), *self._windows(page, size)], self)
        n_kv_head = page.get("num_key_value_heads")
        values = {
            "block_size": size,
            "n_layer": n_layer,
            "n_head": n_head,
            "n_kv_head": n_head if n_kv_head is None else n_kv_head,
            "n_embd": n_embd,
            "head_dim": self._head_dim(page),
            "intermediate_size": needed(page, "intermediate_size"),
            "rope_base": _rope_base(page),
            "norm_eps": page.get("rms_norm_eps", 1e-6),
            "dropout": dropout,
            "tie_weights": page.get("tie_word_embeddings", False),
            **self._beginning(),
        }
        return validated(self.config_class, values)

    def _head_dim(self, page: Mapping[str, Any]) -> object:
        head_dim, n_embd, n_head = page.get("head_dim"), page["hidden_size"], page["num_attention_heads"]
        known = isinstance(n_embd, int) and isinstance(n_head, int)
        return n_embd // (n_head or 1) if head_dim is None and known else head_dim  # of no heads validation tells

    def _windows(self, page: Mapping[str, Any], size: object) -> Iterator[str]:
        yield from ()

    def theirs(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name if name.startswith("lm_head") else f"model.{name}": tensor for name, tensor in weights.items()}

    def ours(self, weights: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
        assert isinstance(config, LlamaConfig)
        return {
            name.removeprefix("model."): tensor
            for name, tensor in weights.items()
            if not name.endswith("rotary_emb.inv_freq") and not (config.tie_weights and name == "lm_head.weight")
        }


class Qwen3Layout(LlamaLayout):
    """As Llama, but that layers may look back no further than a window, which CAI's do not."""

    architecture = "Qwen3ForCausalLM"
    model_type = "qwen3"
    config_class = Qwen3Config

    def _refuse_shape(self, config: LlamaConfig) -> None:
        """Any will do."""

    def _more(self) -> dict[str, Any]:
        return {"use_sliding_window": False}

    def _beginning(self) -> dict[str, Any]:
        return {"previous_token_heads": 0}

    def _head_dim(self, page: Mapping[str, Any]) -> object:
        return page.get("head_dim", 128)  # whatever the width

    def _windows(self, page: Mapping[str, Any], size: object) -> Iterator[str]:
        if not page.get("use_sliding_window"):
            return
        window, kinds = page.get("sliding_window", 4096), page.get("layer_types")
        if isinstance(kinds, list):
            slides = any(kind != "full_attention" for kind in kinds)
        else:
            first, layers = page.get("max_window_layers", 28), page["num_hidden_layers"]
            slides = not (isinstance(first, int) and isinstance(layers, int) and first >= layers)
        reaches = window is None or (isinstance(size, int) and isinstance(window, int) and size <= window)
        if slides and not reaches:
            yield f"use_sliding_window must be false, but is true, with windows of {window} (try model.block_size={window})"


def _rope(page: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with how positions are turned: ``rope_scaling`` of transformers 4, ``rope_parameters`` of 5."""
    for key in ("rope_scaling", "rope_parameters"):
        rope = page.get(key)
        if rope is None:
            continue
        if not isinstance(rope, Mapping) or any(isinstance(value, Mapping) for value in rope.values()):
            yield f"{key} must be one for all layers, but is {spelled(rope)}"
            continue
        kind = {"rope_type": rope.get("rope_type", rope.get("type", "default"))}
        for problem in (*PLAIN_ROPE.problems(kind), *WHOLE_ROPE.problems(rope)):
            yield f"{key}.{problem}"
    known, base = page.get("rope_theta"), _base_in(page, "rope_parameters")
    if known is not None and base is not None and known != base:
        yield f"rope_theta must be that of rope_parameters ({spelled(base)}), but is {spelled(known)}"


def _base_in(page: Mapping[str, Any], key: str) -> object:
    rope = page.get(key)
    return rope.get("rope_theta") if isinstance(rope, Mapping) else None


def _rope_base(page: Mapping[str, Any]) -> object:
    given = (_base_in(page, "rope_parameters"), _base_in(page, "rope_scaling"), page.get("rope_theta"))
    base = next((one for one in given if one is not None), ROPE_BASE)
    if isinstance(base, int) and not isinstance(base, bool) and abs(base) < 1e300:  # of others validation tells
        return float(base)
    return base
