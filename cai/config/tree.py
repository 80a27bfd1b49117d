"""A saved config as plain values: read fast, nothing in it resolved, built or imported."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader

from cai.config.saved import FORMAT, upgrade
from cai.errors import ConfigError, RunError


def read_tree(path: Path) -> dict[str, Any]:
    """The tree in a ``config.yaml`` of any format so far, as one of today's, its ``_target_`` names left as text.

    Raises ``RunError`` if there is none, ``ConfigError`` if it is none of CAI's.
    """
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"a run must have its config at {path}, but there is none. Name a run directory.") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} must be a saved config, but cannot be read: {error}") from error
    config_format = tree.pop("format", None) if isinstance(tree, dict) else None
    if type(config_format) is not int or config_format < 1:
        raise ConfigError(f"{path} must be a config saved by CAI (with `format: {FORMAT}`), but has no such format.")
    return upgrade(tree, config_format, path)


def load_yaml(text: str) -> Any:
    """The values in ``text`` as OmegaConf's loader reads them, 3e-4 a number; by libyaml where PyYAML has it, many times as
    fast.
    """
    if not yaml.__with_libyaml__:
        return yaml.load(text, Loader=get_yaml_loader())
    loader = _fast_loader()(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


@functools.cache
def _fast_loader() -> Any:
    """OmegaConf's rules for values on libyaml's parser."""
    from yaml._yaml import CParser  # not in every build of PyYAML

    class Loader(CParser, get_yaml_loader()):  # type: ignore[misc]
        def __init__(self, stream: str) -> None:
            CParser.__init__(self, stream)
            yaml.constructor.SafeConstructor.__init__(self)
            yaml.resolver.Resolver.__init__(self)

    return Loader
