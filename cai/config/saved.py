"""Saved configs: complete, resolved, readable for years.

Written and read with OmegaConf's own dumper and loader: to plain YAML readers 3e-4 is text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf._utils import get_omega_conf_dumper, get_yaml_loader

from cai.config.base import Config
from cai.config.targets import TARGET
from cai.config.upgrades import UPGRADES
from cai.config.validate import Validation
from cai.errors import ConfigError, RunError
from cai.files import write_whole

FORMAT = 8
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
        return config_of(tree, config_format, path, root, trusted)
    except FileNotFoundError:
        raise RunError(f"a run must have its config at {path}, but there is none. Name a run directory.") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} must be a saved config, but cannot be read: {error}") from error


def config_of(tree: dict[str, Any], config_format: int, path: Path, root: type[C], trusted: Collection[str] = ()) -> C:
    """The config that ``tree``, of a file at ``path``, describes. Raises ``ConfigError`` if it is not valid."""
    validation = Validation(trusted=trusted, place="the file")
    config = validation.build(upgrade(tree, config_format, path), root)
    if config is None:
        raise ConfigError([f"{path}: {problem}" for problem in validation.problems])
    return config


def upgrade(tree: dict[str, Any], config_format: int, path: Path) -> dict[str, Any]:
    """A tree of ``config_format`` as one of today's."""
    if config_format > FORMAT:
        raise ConfigError(f"{path} must have a format up to {FORMAT}, but has {config_format}. Update CAI.")
    for number in range(config_format, FORMAT):
        tree = UPGRADES[number](tree)
    return tree
