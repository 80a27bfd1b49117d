"""The same model said in two ways: CAI's options and parameter names, and those of a Hugging Face architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from torch import Tensor

from cai.errors import ConfigError
from cai.markup import PAD
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
        """What ``config.json`` says, for transformers 4.57 and 5. Raises ``ConfigError`` if it cannot say ``config``."""

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

    def files(self) -> Mapping[str, str]:
        """Name → text of what the folder holds besides: the code of an architecture that transformers does not have."""
        return {}


def layouts() -> list[Layout]:
    """Every architecture there is."""
    from cai.exchange.layouts_gpt2 import GPT2Layout
    from cai.exchange.layouts_llama import LlamaLayout, Qwen3Layout
    from cai.exchange.layouts_modern import MODERN

    return [GPT2Layout(), LlamaLayout(), Qwen3Layout(), MODERN]


def layout_of(config: ModelConfig) -> Layout:
    """Raises ``ConfigError`` if the model has no architecture of Hugging Face's."""
    every = layouts()
    for layout in every:
        if type(config) is layout.config_class:
            return layout
    known = ", ".join(layout.config_class.__name__ for layout in every)
    raise ConfigError(
        f"`to` needs a model that has a Hugging Face architecture ({known}), but the run's is {type(config).__name__}."
        " Try to=safetensors, which holds any."
    )


def layout_named(page: Mapping[str, Any], option: str = "model.path") -> Layout:
    """Of a ``config.json``. Raises ``ConfigError`` naming the architecture if CAI has no such model."""
    every = {layout.architecture: layout for layout in layouts()}
    names = page.get("architectures")
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and name in every:
            return every[name]
    there = ", ".join(map(str, names)) if isinstance(names, list) and names else f"none (its architectures is {names!r})"
    raise ConfigError(
        f"`{option}` must be a checkpoint of an architecture that CAI has ({', '.join(every)}), but its config.json names"
        f" {there}."
    )


def common_page(layout: Layout, tokenizer: Tokenizer, *, tied: bool) -> dict[str, Any]:
    """What ``config.json`` says whatever the architecture: its name, and the tokens that mean something."""
    return {
        "architectures": [layout.architecture],
        "model_type": layout.model_type,
        "vocab_size": tokenizer.vocab_size,
        "bos_token_id": tokenizer.eos_id,  # as GPT-2: a text begins where another ended
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.tag_ids[PAD],
        "tie_word_embeddings": tied,
        "use_cache": True,
    }


class Fixed(NamedTuple):
    """A key of ``config.json`` that CAI's model knows with some values alone."""

    key: str
    default: object
    """What transformers takes if the key is missing."""
    allowed: Sequence[object]

    def problems(self, page: Mapping[str, Any]) -> Iterator[str]:
        value = page.get(self.key, self.default)
        if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in self.allowed):
            yield f"{self.key} must be {' or '.join(map(spelled, self.allowed))}, but is {spelled(value)}"


QUANTIZED = Fixed("quantization_config", None, (None,))


def spelled(value: object) -> str:
    """As JSON spells it, and not at length."""
    known = {None: "null", True: "true", False: "false"}
    return known[value] if value is None or isinstance(value, bool) else str(value)[:80]


def refuse(problems: Sequence[str], layout: Layout) -> None:
    """Raise ``ConfigError`` if there are any. Each says of ``config.json`` what must be, and what is."""
    if problems:
        raise ConfigError(
            [f"`model.path`: CAI's {layout.model_type} has no such option; in config.json {one}." for one in problems]
        )


def positions(page: Mapping[str, Any], key: str, block_size: int | None) -> object:
    """``block_size``, or else all positions. Raises ``ConfigError`` for more than there are."""
    there = needed(page, key)
    if block_size is not None and isinstance(there, int) and block_size > there:
        raise ConfigError(f"`model.block_size` must be at most {key} of config.json ({there}), but is {block_size}.")
    return there if block_size is None else block_size


def needed(page: Mapping[str, Any], key: str) -> Any:
    """Raises ``ConfigError`` if ``config.json`` lacks a key that has no sensible default."""
    if key not in page:
        raise ConfigError(f"`model.path` must have a whole config.json, but {key} is missing in it.")
    return page[key]


def validated(kind: type[ModelConfig], values: Mapping[str, object]) -> ModelConfig:
    """The options, checked as those of a YAML are. Raises ``ConfigError``."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        found = []
        for detail in error.errors():
            place = ".".join(["model", *map(str, detail["loc"])])
            told = detail["msg"].removeprefix("Value error, ").replace("@.", "model.")
            found.append(f"`model.path`: config.json gives `{place}` the value {spelled(detail['input'])}: {told}")
        raise ConfigError(found) from None
