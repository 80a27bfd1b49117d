"""Places as a model card tells them: names of folders above, on the machine that wrote it, are nobody else's business."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

BEGUN_WITH = ("model.path", "trainer.init_from")
PIECES = re.compile(r"[^,\[\](){}'\"=]+")
"""Of a value in Hydra's grammar, each that may be a path."""


def shown(path: Path) -> str:
    """As it is called from here, or its last part."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def public(text: str) -> str:
    """A path that begins at a root or at somebody's home by ``shown``; any other text as it is."""
    if "\n" in text or text == "~":
        return text
    path = Path(os.path.expanduser(text))
    if path.is_absolute():
        return shown(path) or text
    return PureWindowsPath(text).name if PureWindowsPath(text).is_absolute() else text


def public_tree(value: Any) -> Any:
    """Options with every text in them ``public``."""
    if isinstance(value, Mapping):
        return {key: public_tree(item) for key, item in value.items()}
    if isinstance(value, list):
        return [public_tree(item) for item in value]
    return public(value) if isinstance(value, str) else value


def public_word(word: str, init_from: str | None) -> str:
    """An override as it was typed. ``init_from``: what ``last`` was then, where training began with a model."""
    key, equals, value = word.partition("=")
    if key.lstrip("+") in BEGUN_WITH and value == "last" and init_from is not None:
        value = init_from
    whole = public(value)
    return key + equals + (whole if whole != value else PIECES.sub(lambda piece: public(piece[0]), value))
