"""What is sent to others says nothing of who sends it: no names of people, no places on their disk."""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

USERS = re.compile(r"""(/(?:home|Users)/)[^/\s"':]+|(\\Users\\{1,2})(?:[^\\/"':\n]+(?=\\)|[^\\\s"':]+)""")
"""The folder of somebody's, on any system."""
SHORTEST = 4
"""Characters of a path or name that is looked for: a shorter one stands in other words too."""


def anonymous(tree: Any, places: Mapping[Path, str]) -> Any:
    """``tree``, plain values, its texts with a placeholder for each of ``places``, for home, Python and who runs it.

    Keys stay as they are.
    """
    known = {**places, Path(os.path.expanduser("~")): "~", Path(sys.prefix): "<python>", Path(sys.base_prefix): "<python>"}
    known |= {path.resolve(): name for path, name in known.items()}
    spelled = {spelling: name for path, name in known.items() for spelling in _spellings(path) if len(spelling) >= SHORTEST}
    longest_first = sorted(spelled, key=len, reverse=True)
    paths = re.compile("|".join(rf"{re.escape(each)}(?![\w-])" for each in longest_first))
    user = _user()
    who = re.compile(rf"(?<![\w-]){re.escape(user)}(?![\w-])" if len(user) >= SHORTEST and user != "root" else r"(?!)")

    def change(text: str) -> str:
        text = paths.sub(lambda found: spelled[found[0]], text)
        return who.sub("<user>", USERS.sub(r"\1\2<user>", text))

    return _replaced(tree, change)


def _spellings(path: Path) -> set[str]:
    """As the system writes it, as Python shows it in quotes, and with slashes."""
    return {str(path), str(path).replace("\\", "\\\\"), path.as_posix()}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a number without a name, as in some containers
        return ""


def _replaced(tree: Any, change: Callable[[str], str]) -> Any:
    if isinstance(tree, str):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: _replaced(value, change) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_replaced(value, change) for value in tree]
    return tree
