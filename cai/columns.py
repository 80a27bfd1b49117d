"""Text in the columns of a terminal: on one line, and as wide as it is seen, a Hangul syllable taking two."""

from __future__ import annotations

import unicodedata

ELLIPSIS = "…"


def one_line(text: str) -> str:
    """As it can be printed, whoever wrote it: what would move the cursor or begin a line is written out as ``\\x1b``, and
    syllables that come in pieces are put together.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in unicodedata.normalize("NFC", text))


def width(text: str) -> int:
    """Columns of a terminal that ``text``, which is on one line, takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(char: str) -> int:
    # A mark and the vowel or final of a syllable in pieces stand over or in the column of what is before them.
    if unicodedata.category(char) in ("Mn", "Me", "Cf") or "\u1160" <= char <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def pad(text: str, columns: int, right: bool = False) -> str:
    """``text`` with blanks after it, or before it if it is to end at the ``right``; as it is if it is wider."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def cut(text: str, columns: int, *, tail: bool = False, mark: str = ELLIPSIS) -> str:
    """The beginning of ``text``, or its ``tail``, in at most so many columns, with ``mark`` for what is left out."""
    if width(text) <= columns:
        return text
    kept, room = "", columns - width(mark)
    for char in reversed(text) if tail else text:
        room -= _width(char)
        if room < 0:
            break
        kept = char + kept if tail else kept + char
    return mark + kept if tail else kept + mark


def duration(seconds: float) -> str:
    """``0.04 s``, ``48 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 04 h``."""
    whole = round(seconds)
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return (
        f"{whole // 3600} h {whole % 3600 // 60:02d} min"
        if whole < 172_800
        else f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"
    )


def binary(size: float) -> str:
    """Bytes, readable: ``512 B``, ``1.2 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"
