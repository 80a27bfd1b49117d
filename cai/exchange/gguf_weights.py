"""A model's weights as a file of llama.cpp's has them: names, shapes, and the order of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from torch import Tensor

from cai.exchange.layouts import layout_of
from cai.exchange.layouts_gpt2 import TRANSPOSED
from cai.model.base import ModelConfig
from cai.model.gpt2 import GPT2Config
from cai.model.llama import LlamaConfig
from cai.model.qwen3 import Qwen3Config

ARCHITECTURES: dict[type[ModelConfig], str] = {GPT2Config: "gpt2", LlamaConfig: "llama", Qwen3Config: "qwen3"}
"""The classes themselves, not those derived from them → llama.cpp's names."""


def theirs(weights: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """CAI's weights by the file's names, matrices ``(out, in)``. A tied head is left out: llama.cpp takes the embedding.

    GPT-2 always has biases there: one without gets zeros.
    """
    return {
        name: _pairs_together(_straight(weight, there), heads)
        if (heads := _turned(name, config))
        else _straight(weight, there)
        for there, weight, name in _named(weights, config)
    }


def ours(found: Mapping[str, Tensor], config: ModelConfig, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse. ``like``: the weights of any model of ``config``. Raises ``ValueError`` for one that the file lacks."""
    weights = {}
    for there, _, name in _named(like, config):
        if name not in found:
            raise ValueError(f"{name} is missing in it")
        heads = _turned(name, config)
        weights[there] = _straight(_halves_together(found[name], heads) if heads else found[name], there)
    return layout_of(config).ours(weights, config)


def _named(weights: Mapping[str, Tensor], config: ModelConfig) -> Iterator[tuple[str, Tensor, str]]:
    """Each weight's name in a Hugging Face checkpoint, itself as it is there, and its name in the file."""
    gguf: Any = import_module("gguf")
    architecture = gguf.MODEL_ARCH[ARCHITECTURES[type(config)].upper()]
    names = gguf.get_tensor_name_map(architecture, config.model_dump()["n_layer"])
    for there, weight in layout_of(config).theirs(weights).items():
        yield there, weight, names.get_name(there, try_suffixes=(".weight", ".bias"))


def _straight(weight: Tensor, there: str) -> Tensor:
    """Of ``(in, out)``, as Hugging Face's GPT-2 has it, ``(out, in)``; and the other way round."""
    return weight.T if there.endswith(TRANSPOSED) else weight


def _turned(name: str, config: ModelConfig) -> int:
    """How many heads the rows of a matrix are, if positions turn them in another order there; else 0.

    llama.cpp turns neighbours in a Llama, where CAI and Hugging Face turn row i with row i + head_dim / 2; in a Qwen3 it
    does as they do.
    """
    if type(config) is not LlamaConfig:
        return 0
    return config.n_head if name.endswith("attn_q.weight") else config.n_kv_head if name.endswith("attn_k.weight") else 0


def _pairs_together(x: Tensor, heads: int) -> Tensor:
    """``(heads * head_dim, C)``, the two halves of each head → neighbours."""
    return x.reshape(heads, 2, -1, x.shape[1]).transpose(1, 2).reshape(x.shape)


def _halves_together(x: Tensor, heads: int) -> Tensor:
    """The inverse."""
    return x.reshape(heads, -1, 2, x.shape[1]).transpose(1, 2).reshape(x.shape)
