"""A text that is being written: what the model sees of it, what is new, and how much of that may be shown."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Sequence
from typing import Literal, NamedTuple
from unicodedata import normalize

End = Literal["tag", "stop", "length"]
"""Why a text ended: a tag that ends it, one of the strings to stop at, or that it was as long as it may be."""


class Alternative(NamedTuple):
    """A token that might come next, and its probability as the model gives it, before any option changes it."""

    id: int
    probability: float


class Piece(NamedTuple):
    """One new token: the text that may be shown since it is there, and what else it might have been if that was asked.

    The last may be none: what was held back until the end.
    """

    id: int | None
    text: str
    alternatives: tuple[Alternative, ...] = ()


class Row:
    """One text. ``key`` decides, with its position, what is drawn for each of its tokens."""

    def __init__(self, key: tuple[int, ...], prompt: Sequence[int], block_size: int) -> None:
        self.key = key
        self.block_size = block_size
        self.context: list[int] = []
        """What the model sees: at most ``block_size`` ids."""
        self.cached = 0
        """How many of them a cache holds."""
        self.written: list[int] = []
        self.end: End | None = None
        self._see(prompt)

    def write(self, ids: Sequence[int]) -> None:
        """Append new ids; all but the last of them are in the cache already, if there is one."""
        self.written += ids
        self._see(ids)

    def _see(self, ids: Sequence[int]) -> None:
        was_empty = not self.context
        self.context += ids
        self.cached = 0 if was_empty else len(self.context) - 1
        if len(self.context) > self.block_size:
            # Not just the oldest token: each later one would be at another position, and nothing cached right any more.
            self.context = self.context[-max(1, self.block_size // 2) :]
            self.cached = 0


class Text:
    """Ids as text, piece by piece: never half a character, never the beginning of a string to stop at.

    The string that is complete first ends the text (of two at once the longer), however the text is cut into tokens.
    """

    def __init__(self, token_bytes: Sequence[bytes], stop: Sequence[str] = ()) -> None:
        self._token_bytes = token_bytes
        self._stop = [normalize("NFC", each) for each in stop]  # as all text that a model has learned from
        self._decoder = getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False

    def add(self, number: int) -> str:
        """What may be shown now that this id has come. Nothing from a string to stop at on."""
        return self._show(self._decoder.decode(self._token_bytes[number]))

    def close(self) -> str:
        """What is left when no more comes."""
        return self._show(self._decoder.decode(b"", final=True)) + self._release(0)

    def _show(self, new: str) -> str:
        if self.stopped:
            return ""
        self._held += new
        found = [(place + len(stop), place) for stop in self._stop if (place := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            shown, self._held = self._held[: min(found)[1]], ""
            return shown
        return self._release(max((_overlap(self._held, stop) for stop in self._stop), default=0))

    def _release(self, keep: int) -> str:
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown


def _overlap(text: str, stop: str) -> int:
    """How much of the end of ``text`` is a beginning of ``stop``."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
