"""Which config class a ``_target_`` names: none is imported before its package is known to be trusted."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

from cai.config.base import Config
from cai.errors import ConfigError

TARGET = "_target_"

C = TypeVar("C", bound=Config)


def resolve_target(target: str, base: type[C], trusted: Collection[str], path: str) -> type[C]:
    """The config class a ``_target_`` names. Nothing is imported before the name is known to be trusted.

    Raises ``ConfigError`` for a package that is not trusted, and for anything but a concrete subclass of ``base``.
    """
    module_name, _, class_name = target.rpartition(".")
    top = module_name.partition(".")[0]
    if not _is_trusted(top, trusted):
        raise ConfigError(
            f"`{path}.{TARGET}` must name a class of a trusted package (cai), but is {target}."
            f" If {top or target} is yours, add trust={top or '<package>'} to the command."
        )
    if top != "cai" and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # a package of the user's own may lie in the current folder
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except (ImportError, SyntaxError) as error:
        raise ConfigError(f"`{path}.{TARGET}` must be importable, but {target} is not: {error}. Mend the module.") from error
    if not (isinstance(found, type) and issubclass(found, base)) or inspect.isabstract(found):
        raise ConfigError(f"`{path}.{TARGET}` must name a {base.__name__} that can be built, but is {target}.")
    return found


def _is_trusted(package: str, trusted: Collection[str]) -> bool:
    if package == "experiments":  # only the folder beside this very package, not whatever a stranger's folder holds
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec else []
        return [Path(place).resolve() for place in places] == [Path(__file__).resolve().parents[2] / package]
    return package == "cai" or package in trusted
