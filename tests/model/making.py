"""Small models of every family, each found by its YAML."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

import cai
from cai.model.base import ModelConfig
from cai.resources import conf_folder

FAMILIES = sorted(path.stem.removesuffix("_nano") for path in (conf_folder() / "model").glob("*_nano.yaml"))
VOCAB_SIZE = 61
SMALL = {
    "block_size": 16,
    "n_layer": 2,
    "n_head": 4,
    "n_kv_head": 2,
    "n_embd": 16,
    "head_dim": 6,  # not n_embd / n_head
    "intermediate_size": 20,
    "rope_base": 500.0,
    "dropout": 0.0,
}
"""Of these each family takes the options that it has."""


@functools.cache
def _values(family: str) -> dict[str, Any]:
    config = cai.compose([f"model={family}"]).model
    return {"class": type(config), **config.model_dump()}


def small_config(family: str, **changes: object) -> ModelConfig:
    """The family's YAML, ``SMALL`` and these changes."""
    values = dict(_values(family))
    kind: type[ModelConfig] = values.pop("class")
    return kind.model_validate(values | {key: value for key, value in SMALL.items() if key in values} | changes)


def build(family: str, seed: int = 0, vocab_size: int = VOCAB_SIZE, **changes: object) -> Any:
    """A model as training begins with it."""
    torch.manual_seed(seed)
    return small_config(family, **changes).build(vocab_size)


def build_random(family: str, seed: int = 0, std: float = 0.3, **changes: object) -> Any:
    """A float64 model whose every parameter, gains included, is random, so that none can be mixed up unnoticed."""
    model = build(family, seed, **changes)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model.double().eval()


def random_ids(*shape: int, vocab_size: int = VOCAB_SIZE) -> Tensor:
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(1))


def changed_at(ids: Tensor, t: int) -> Tensor:
    """``ids (1, T)`` with another token at ``t``."""
    changed = ids.clone()
    changed[0, t] = (ids[0, t] + 1) % VOCAB_SIZE
    return changed
