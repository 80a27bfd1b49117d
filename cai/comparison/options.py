"""The options of runs, flat, and in which of them runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cai.config.targets import TARGET

Scalar = bool | int | float | str
CLASS = "class"
"""Last part of the dotted path that stands for a component's class."""

NOT_THE_RUNS = frozenset({"output_dir", "name", "sweep", "format"})
"""Of a config, what decides where a run is kept and not what it is."""


def flatten_tree(tree: Mapping[str, Any]) -> dict[str, Scalar]:
    """Dotted path → value of a saved config: nested options opened, lists and ``None`` as the text that Hydra reads."""
    flat: dict[str, Scalar] = {}
    _flatten({key: value for key, value in tree.items() if key not in NOT_THE_RUNS}, "", flat)
    return flat


def _flatten(tree: Mapping[str, Any], prefix: str, flat: dict[str, Scalar]) -> None:
    for key, value in tree.items():
        path = f"{prefix}{CLASS if key == TARGET else key}"
        if isinstance(value, Mapping) and value:
            _flatten(value, f"{path}.", flat)
        else:
            flat[path] = value if isinstance(value, bool | int | float | str) else as_typed(value)


def as_typed(value: Any) -> str:
    """``value`` as it is typed on a command line."""
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(as_typed, value))}]"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def differing_options(options: Sequence[Mapping[str, Scalar]]) -> list[str]:
    """The dotted paths in which ``options`` differ, in their own order.

    What only some of them have counts, unless it comes with another class, which is named itself.
    """
    paths = dict.fromkeys(path for each in options for path in each)
    values = {path: {each[path] for each in options if path in each} for path in paths}
    missing = {path for path in paths if any(path not in each for each in options)}
    other_class = tuple(path.removesuffix(CLASS) for path in paths if path.endswith(f".{CLASS}") and len(values[path]) > 1)
    return [path for path in paths if len(values[path]) > 1 or (path in missing and not path.startswith(other_class))]


def short_paths(paths: Sequence[str], among: Sequence[str]) -> dict[str, str]:
    """Each of ``paths`` by its shortest suffix of whole parts that no other path of ``among`` ends in."""
    known = dict.fromkeys([*paths, *among])
    counts: dict[str, int] = {}
    for path in known:
        for suffix in _suffixes(path):
            counts[suffix] = counts.get(suffix, 0) + 1
    return {path: next((suffix for suffix in _suffixes(path) if counts[suffix] == 1), path) for path in paths}


def _suffixes(path: str) -> list[str]:
    """Shortest first."""
    parts = path.split(".")
    return [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
