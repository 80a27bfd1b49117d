"""Saved configs: complete, resolved, readable for years.

Written and read with OmegaConf's own dumper and loader: to plain YAML readers 3e-4 is text.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf._utils import get_omega_conf_dumper, get_yaml_loader

from cai.config.base import Config
from cai.config.targets import TARGET
from cai.config.validate import Validation
from cai.errors import ConfigError, RunError
from cai.files import write_whole

FORMAT = 5
"""Of ``config.yaml``. Raise it together with a new entry in ``UPGRADES``."""

C = TypeVar("C", bound=Config)


def to_tree(config: Config) -> dict[str, Any]:
    """Plain values of ``config``, each component with the ``_target_`` of its own class. The inverse of validation."""
    return {name: _component_tree(getattr(config, name)) for name in type(config).model_fields}


def _component_tree(value: Any) -> Any:
    """A component with its class's name; anything else as it is."""
    if not isinstance(value, Config):
        return _plain(value)
    return {TARGET: f"{type(value).__module__}.{type(value).__qualname__}", **_plain(value)}


def _plain(value: Any) -> Any:
    """A value of a component, options nested in it included, as YAML knows it."""
    if isinstance(value, Config):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):  # from names to components, or to numbers
        return {name: _component_tree(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def save_config(config: Config, path: Path) -> None:
    """Write ``config.yaml``."""
    write_whole(path, config_text(config))


def config_text(config: Config) -> str:
    """What ``config.yaml`` holds."""
    tree = {"format": FORMAT, **to_tree(config)}
    text = _dump(tree, readable=True)
    return text if yaml.load(text, Loader=get_yaml_loader()) == tree else _dump(tree, readable=False)


def _dump(tree: dict[str, Any], readable: bool) -> str:
    """YAML text; ``readable`` leaves Korean as it is instead of escaping all but ASCII."""
    text: str = yaml.dump(
        tree, Dumper=get_omega_conf_dumper(), default_flow_style=False, sort_keys=False, allow_unicode=readable
    )
    return text


def load_config(path: Path, root: type[C], trusted: Collection[str] = ()) -> C:
    """Read a saved config of any format so far. It is data: no interpolation is resolved, no foreign code imported.

    Raises ``RunError`` if there is none, ``ConfigError`` if it is not valid.
    """
    try:
        # OmegaConf's reader without OmegaConf's interpolation: a text that holds `${` is that text.
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=get_yaml_loader())
        config_format = tree.pop("format", None) if isinstance(tree, dict) else None
        if type(config_format) is not int or config_format < 1:
            raise ConfigError(f"{path} must be a config saved by CAI (with `format: {FORMAT}`), but has no such format.")
        validation = Validation(trusted=trusted, place="the file")
        config = validation.build(upgrade(tree, config_format, path), root)
    except FileNotFoundError:
        raise RunError(f"a run must have its config at {path}, but there is none. Name a run directory.") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} must be a saved config, but cannot be read: {error}") from error
    if config is None:
        raise ConfigError([f"{path}: {problem}" for problem in validation.problems])
    return config


def _to_2(tree: dict[str, Any]) -> dict[str, Any]:
    """What is done at a number that is not finite became an option; ``micro_batch_size: null`` was the whole batch."""
    if not isinstance(trainer := tree.get("trainer"), dict):
        return tree  # validation says what is wrong
    trainer = {"on_nonfinite": "stop", "max_skipped": 10, **trainer}
    if "micro_batch_size" in trainer and trainer["micro_batch_size"] is None:
        trainer["micro_batch_size"] = trainer.get("batch_size")
    return {**tree, "trainer": trainer}


def _to_3(tree: dict[str, Any]) -> dict[str, Any]:
    """Switches that trade time for memory, an average of the weights, a compiled optimizer, text without its ends marked."""
    added: dict[str, dict[str, Any]] = {
        "trainer": {"chunked_loss": False, "gradient_checkpointing": False, "ema_decay": 0.0},
        "device": {"compile_optimizer": False},
        "data": {"end_of_text": True},
    }
    tree = dict(tree)
    for group, options in added.items():
        part = tree.get(group)
        if isinstance(part, dict) and (group != "data" or part.get(TARGET) == "cai.data.text.TextConfig"):
            tree[group] = {**options, **part}
    return tree


SOURCE_OPTIONS_OF_4: dict[str, Any] = {
    "encoding": "utf-8",
    "on_error": "stop",
    "parse_tags": False,
    "clean": {
        "nfc": True,
        "control_characters": False,
        "whitespace": False,
        "contact_labels": False,
        "telephones": "keep",
        "duplicates": "keep",
        "near_threshold": 0.8,
    },
    "chunk": 0,
    "max_repeats": 4.0,
    "augment": {
        "copies": 0,
        "seed": 1337,
        "questions": True,
        "synonyms": None,
        "sentences": False,
        "layout": True,
    },
    "marker": None,
    "split_by": "document",
}


def _to_4(tree: dict[str, Any]) -> dict[str, Any]:
    """How text is read, cleaned, cut and varied, and how rows are made of it, became options."""
    tree = dict(tree)
    data = tree.get("data")
    if isinstance(data, dict):
        added = {"packing": "stream", "isolate": False, "loss": "all"}
        if data.get(TARGET) == "cai.data.text.TextConfig":
            added |= copy.deepcopy(SOURCE_OPTIONS_OF_4)
        tree["data"] = {**added, **data}
    tokenizer = tree.get("tokenizer")
    if isinstance(tokenizer, dict) and tokenizer.get(TARGET) == "cai.tokenizer.bpe.BPEConfig":
        tree["tokenizer"] = {"sample_mb": None, "sample_seed": 1337, **tokenizer}
    return tree


def _to_5(tree: dict[str, Any]) -> dict[str, Any]:
    """Further ways to choose the next token and to end a text, answers scored at the end, and wild worlds."""
    added: dict[str, dict[str, Any]] = {
        "generation": {
            "repetition_penalty": 1.0,
            "frequency_penalty": 0.0,
            "presence_penalty": 0.0,
            "no_repeat_ngram": 0,
            "top_p": 1.0,
            "min_p": 0.0,
            "stop": [],
            "lookup_tokens": 0,
            "show": None,
        },
        "trainer": {"answers": 0},
    }
    tree = dict(tree)
    for group, options in added.items():
        if isinstance(part := tree.get(group), dict):
            tree[group] = {**options, **part}
    if isinstance(data := tree.get("data"), dict) and data.get(TARGET) == "cai.data.contacts.ContactsConfig":
        tree["data"] = {"wild": 0.0, **data}
    return tree


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _to_2, 2: _to_3, 3: _to_4, 4: _to_5}
"""Format n → a pure function from a tree of format n to the tree of format n + 1 that behaves the same."""


def upgrade(tree: dict[str, Any], config_format: int, path: Path) -> dict[str, Any]:
    """A tree of ``config_format`` as one of today's."""
    if config_format > FORMAT:
        raise ConfigError(f"{path} must have a format up to {FORMAT}, but has {config_format}. Update CAI.")
    for number in range(config_format, FORMAT):
        tree = UPGRADES[number](tree)
    return tree
