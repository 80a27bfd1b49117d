"""Tokens as people read them: also those that are a piece of a syllable."""

from __future__ import annotations

from collections.abc import Sequence

from cai.tokenizer.display import visible

SUBSCRIPTS = "₁₂₃₄"


def token_texts(pieces: Sequence[bytes]) -> list[str]:
    """The text of each token of a sequence, given the bytes of each. Newlines are ``↵`` before them.

    A character that is cut into pieces stands in each token that has one, with the piece's number: ``병₁``, ``병₂``. Bytes
    that are no character are spelled as ``\\xea``.
    """
    data = b"".join(pieces)
    owner = [token for token, piece in enumerate(pieces) for _ in piece]
    texts = [""] * len(pieces)
    place = 0
    while place < len(data):
        size = _size_at(data, place)
        owners = list(dict.fromkeys(owner[place : place + size]))
        shown = visible(data[place : place + size])
        for number, token in enumerate(owners):
            texts[token] += shown + (SUBSCRIPTS[number] if len(owners) > 1 else "")
        place += size
    return texts


def labels(texts: Sequence[str]) -> list[str]:
    """On one line each, with blanks to be seen."""
    return [text.replace("\n", "").replace(" ", "␣") for text in texts]


def _size_at(data: bytes, place: int) -> int:
    """Bytes of the character that begins at ``place``; 1 if none does."""
    for size in range(1, 5):
        try:
            data[place : place + size].decode()
        except UnicodeDecodeError:
            continue
        return min(size, len(data) - place)
    return 1
