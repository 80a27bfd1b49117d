"""What became of everything that was read: nothing is lost in silence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any

from cai.data.forms import Forms
from cai.errors import DataError

SKIP = "data.on_error=skip leaves such text out and counts it."
"""How every message about unreadable text ends."""

EXCERPT = 200
"""Characters of a dropped text that the report quotes."""


class Report:
    """Counts of documents read, changed and dropped in one pass over a source; each that is dropped goes to ``file``.

    A pass may be made again at any time and gives the same report.
    """

    def __init__(self, file: IO[str] | None = None) -> None:
        self.read = 0
        self.kept = 0
        self.changed: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.forms = Forms()
        """Of the documents that are trained on."""
        self._file = file

    def change(self, *names: str) -> None:
        """One document was changed by each of these switches."""
        self.changed.update(names)

    def drop(self, reason: str, where: str, text: str) -> None:
        """Something is left out: counted, and written down with its place and its beginning."""
        self.dropped[reason] += 1
        if self._file is not None:
            entry = {"reason": reason, "where": where, "text": text[:EXCERPT]}
            # A lone surrogate, which JSON can spell and UTF-8 cannot, is written as an escape.
            line = json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
            self._file.write(line + "\n")

    def refuse(self, on_error: str, message: str, reason: str, where: str, text: str) -> None:
        """What cannot be read: a ``DataError`` that says so, or under ``data.on_error=skip`` something dropped."""
        if on_error == "stop":
            raise DataError(f"{message} {SKIP}")
        self.drop(reason, where, text)

    def to_tree(self) -> dict[str, Any]:
        """The counts as plain values, for a page that is kept."""
        tree = {"read": self.read, "kept": self.kept, "changed": dict(self.changed), "dropped": dict(self.dropped)}
        one_sided = self.forms.to_tree()
        return tree | ({"one_sided": one_sided} if one_sided else {})


def describe_report(tree: Mapping[str, Any]) -> str:
    """The counts in a line: ``12,001 read, 11,998 kept; left out: 2 duplicate, 1 empty; changed: 17 by whitespace``."""
    words = [f"{tree.get('read', 0):,} read, {tree.get('kept', 0):,} kept"]
    if dropped := tree.get("dropped"):
        words.append("left out: " + ", ".join(f"{count:,} {reason}" for reason, count in dropped.items()))
    if changed := tree.get("changed"):
        words.append("changed: " + ", ".join(f"{count:,} by {name}" for name, count in changed.items()))
    return "; ".join(words)
