"""Benchmarks are run by hand: what they need of CAI must be there when they are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent.parent / "benchmarks").glob("*.py"))


def taken(script: str) -> Iterator[tuple[str, str]]:
    """Each name that is imported from CAI, and from where."""
    for node in ast.walk(ast.parse(script)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "cai":
            yield from ((str(node.module), alias.name) for alias in node.names)


def there(module: str, name: str) -> bool:
    found = import_module(module)
    return hasattr(found, name) or (hasattr(found, "__path__") and find_spec(f"{module}.{name}") is not None)


def missing(script: str) -> list[str]:
    return [f"{module}.{name}" for module, name in taken(script) if not there(module, name)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.stem))
def test_what_it_imports_is_there(script: Path) -> None:
    assert missing(script.read_text(encoding="utf-8")) == []


def test_what_is_not_is_seen() -> None:
    assert missing("from cai.export import export, no_such_name") == ["cai.export.no_such_name"]
    assert missing("from cai.exchange import onnx") == []
