"""The same model said in two ways: CAI's options and parameter names, and those of a Hugging Face architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cai.model.base import ModelConfig
from cai.tokenizer.base import Tokenizer


class Layout(ABC):
    """One architecture, in both directions."""

    architecture: str
    """Its name in ``config.json``, as ``LlamaForCausalLM``."""
    model_type: str
    """As ``llama``."""
    config_class: type[ModelConfig]
    """CAI's own: this very class, not one derived from it."""

    @abstractmethod
    def page(self, config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
        """What ``config.json`` says, for transformers 4.57 and 5."""

    @abstractmethod
    def config(self, page: Mapping[str, Any], *, block_size: int | None, dropout: float) -> ModelConfig:
        """The options that a ``config.json`` means. ``block_size``: fewer positions than it has, or ``None``: all.

        Raises ``ConfigError`` naming each key whose value CAI's model cannot have.
        """

    @abstractmethod
    def theirs(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """CAI's weights by the architecture's own names and shapes. A tied head is left out."""

    @abstractmethod
    def ours(self, weights: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
        """The inverse: what ``config.build(...)`` takes by ``load_state_dict``. Buffers that are no weights are left out."""


def layout_of(config: ModelConfig) -> Layout:
    """Raises ``ConfigError`` if the model has no architecture of Hugging Face's."""
    raise NotImplementedError


def layout_named(page: Mapping[str, Any], option: str = "model.path") -> Layout:
    """Of a ``config.json``. Raises ``ConfigError`` naming the architecture if CAI has no such model."""
    raise NotImplementedError
