"""Long documents in pieces, every character of them in one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

BREAKS = [re.compile(pattern) for pattern in (r"\n[^\S\n]*\n", r"\n", r"[.!?。…][\"'”’)\]]*\s", r"\s")]
"""Where a text is best cut, the best first: after a blank line, a line, a sentence, a word."""


def chunks(text: str, size: int) -> Iterator[str]:
    """Pieces of at most ``size`` characters whose concatenation is ``text``; cut at the best place of their second half."""
    start = 0
    while len(text) - start > size:
        end = _cut(text, start, start + size)
        yield text[start:end]
        start = end
    if start < len(text) or not text:
        yield text[start:]


def _cut(text: str, start: int, limit: int) -> int:
    """The end of the piece from ``start``: the last break up to ``limit``, else ``limit`` between two characters."""
    middle = start + max(1, (limit - start) // 2)
    for pattern in BREAKS:
        ends = [match.end() for match in pattern.finditer(text, middle, limit)]
        if ends:
            return ends[-1]
    end = limit
    while end > start + 1 and _joined(text[end - 1], text[end]):
        end -= 1
    return end if end > start + 1 else limit


def _joined(before: str, after: str) -> bool:
    """Whether two code points are seen as one character: combining marks, joiners and what they join."""
    return before == "\u200d" or after == "\u200d" or unicodedata.category(after) in ("Mn", "Me") or after == "\ufe0f"
