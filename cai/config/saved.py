"""Saved configs: complete, resolved, readable for years."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cai.config.base import Config
from cai.config.validate import TARGET, Validation
from cai.errors import ConfigError, RunError

FORMAT = 1
"""Of ``config.yaml``. Raise it together with a new entry in ``UPGRADES``."""

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Format n → a pure function from a tree of format n to the tree of format n + 1 that behaves the same."""

C = TypeVar("C", bound=Config)


def to_tree(config: Config) -> dict[str, Any]:
    """Plain values of ``config``, each component with the ``_target_`` of its own class. The inverse of validation."""
    tree: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Config):
            tree[name] = {TARGET: f"{type(value).__module__}.{type(value).__qualname__}", **to_tree(value)}
        else:
            tree[name] = list(value) if isinstance(value, tuple) else value
    return tree


def save_config(config: Config, path: Path) -> None:
    """Write ``config.yaml``."""
    # OmegaConf's own writer and reader: to plain YAML readers 3e-4 is text.
    path.write_text(OmegaConf.to_yaml(OmegaConf.create({"format": FORMAT, **to_tree(config)})), encoding="utf-8")


def load_config(path: Path, root: type[C], trusted: Collection[str] = ()) -> C:
    """Read a saved config of any format so far. It is data: no interpolation is resolved, no foreign code imported.

    Raises ``RunError`` if there is none, ``ConfigError`` if it is not valid.
    """
    try:
        tree = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except FileNotFoundError:
        raise RunError(f"a run must have its config at {path}, but there is none. Name a run directory.") from None
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} must be a saved config, but cannot be read: {error}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("format"), int):
        raise ConfigError(f"{path} must be a config saved by CAI (with `format: {FORMAT}`), but has no format.")
    validation = Validation(trusted=trusted)
    config = validation.build(upgrade({str(key): value for key, value in tree.items()}, path), root)
    if config is None:
        raise ConfigError([f"{path}: {problem}" for problem in validation.problems])
    return config


def upgrade(tree: dict[str, Any], path: Path) -> dict[str, Any]:
    """A tree of today's format, without its ``format``."""
    format_number = tree.pop("format")
    if format_number > FORMAT:
        raise ConfigError(f"{path} must have a format up to {FORMAT}, but has {format_number}. Update CAI.")
    for number in range(format_number, FORMAT):
        tree = UPGRADES[number](tree)
    return tree
