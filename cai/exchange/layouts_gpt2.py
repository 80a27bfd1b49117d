"""GPT-2 as ``GPT2LMHeadModel`` of transformers has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cai.exchange.layouts import (
    QUANTIZED,
    Fixed,
    Layout,
    common_page,
    needed,
    positions,
    refuse,
    validated,
)
from cai.model.base import ModelConfig
from cai.model.gpt2 import GPT2Config
from cai.tokenizer.base import Tokenizer

FIXED = (
    Fixed("activation_function", "gelu_new", ("gelu_new", "gelu_pytorch_tanh")),  # two names of one function
    Fixed("layer_norm_epsilon", 1e-5, (1e-5,)),
    Fixed("scale_attn_weights", True, (True,)),
    Fixed("scale_attn_by_inverse_layer_idx", False, (False,)),
    Fixed("add_cross_attention", False, (False,)),
    QUANTIZED,
)

TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
"""Conv1D, which transformers has kept from the original, stores ``(in, out)``."""

BUFFERS = (".attn.bias", ".attn.masked_bias")
"""The causal mask, which old checkpoints hold too."""


class GPT2Layout(Layout):
    """GPT-2 always has biases there: one without is written with zeros, which is the same function."""

    architecture = "GPT2LMHeadModel"
    model_type = "gpt2"
    config_class = GPT2Config

    def page(self, config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
        assert isinstance(config, GPT2Config)
        return common_page(self, tokenizer, tied=config.tie_weights) | {
            "n_positions": config.block_size,
            "n_embd": config.n_embd,
            "n_layer": config.n_layer,
            "n_head": config.n_head,
            "n_inner": None,
            "activation_function": "gelu_new",
            "resid_pdrop": config.dropout,
            "embd_pdrop": config.dropout,
            "attn_pdrop": config.dropout,
            "layer_norm_epsilon": 1e-5,
            "initializer_range": 0.02,
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "reorder_and_upcast_attn": False,
        }

    def config(self, page: Mapping[str, Any], *, block_size: int | None, dropout: float) -> ModelConfig:
        n_embd = needed(page, "n_embd")
        fixed = [*FIXED, Fixed("n_inner", None, (None, 4 * n_embd if isinstance(n_embd, int) else None))]
        refuse([problem for one in fixed for problem in one.problems(page)], self)
        values = {
            "block_size": positions(page, "n_positions", block_size),
            "n_layer": needed(page, "n_layer"),
            "n_head": needed(page, "n_head"),
            "n_embd": n_embd,
            "dropout": dropout,
            "bias": True,
            "tie_weights": page.get("tie_word_embeddings", True),
        }
        return validated(GPT2Config, values)

    def theirs(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = {}
        for name, tensor in weights.items():
            there = name if name.startswith("lm_head") else f"transformer.{name}"
            found[there] = tensor.T if name.endswith(TRANSPOSED) else tensor
            bias = name.removesuffix("weight") + "bias"
            if bias not in weights and name.endswith((*TRANSPOSED, "ln_1.weight", "ln_2.weight", "ln_f.weight")):
                found[f"transformer.{bias}"] = torch.zeros_like(tensor[..., 0] if tensor.dim() == 2 else tensor)
        return found

    def ours(self, weights: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
        assert isinstance(config, GPT2Config)
        found = {}
        for there, tensor in weights.items():
            name = there.removeprefix("transformer.")  # which the original files do not have
            if name.endswith(BUFFERS) or (config.tie_weights and name == "lm_head.weight"):
                continue
            if not config.bias and name.endswith(".bias") and not tensor.any():  # as `theirs` has written them
                continue
            found[name] = tensor.T if name.endswith(TRANSPOSED) else tensor
        if "wpe.weight" in found:
            found["wpe.weight"] = found["wpe.weight"][: config.block_size]
        return found
