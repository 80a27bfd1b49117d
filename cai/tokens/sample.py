"""A bounded part of a corpus to learn a tokenizer from: the same in every order of the documents and in every process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

LONG, PIECE = 2**15, 2**13
"""A document of more UTF-8 bytes takes part in pieces of so many characters: it cannot be the whole sample by itself."""

SLACK = 1.25
"""How far what is held may grow above the limit before it is cut back, which takes a sort."""

_BETWEEN = b"\xff"  # stands between the texts of one document; no byte of UTF-8
_DIGEST = 8


def sample_texts(documents: Iterable[tuple[str, ...]], limit: int, seed: int) -> Iterator[str]:
    """The texts of at most ``limit`` UTF-8 bytes of ``documents``: all of them in their order if they fit, else a sample.

    The sample is of whole documents, as parts that all documents share must not come or go by chance. It holds those of
    smallest hash of (seed, text), each once however often it repeats, in the order of their hashes.
    """
    sketch = Sketch(limit, seed)
    for document in documents:
        sketch.add(document)
    return sketch.texts()


class Sketch:
    """The documents of smallest hash, as many as fit the limit ("bottom-k"), found in one pass over any number of them."""

    def __init__(self, limit: int, seed: int) -> None:
        self._limit = limit
        self._salt = seed.to_bytes(8)
        self._held: list[bytes] = []  # documents as they came; once they do not fit any more, hash and document
        self._size = 0
        self._bound: bytes | None = None  # hashes from here on are out for good

    def add(self, document: tuple[str, ...]) -> None:
        """Take one more document into account."""
        if not document:
            return
        packed = _BETWEEN.join([text.encode() for text in document])
        if self._bound is not None:
            self._offer(packed, self._bound)
            return
        self._held.append(packed)
        self._size += _size(packed)
        if self._size > self._limit:
            self._begin_to_choose()

    def texts(self) -> Iterator[str]:
        """The texts of what was chosen."""
        start = 0
        if self._bound is not None:
            self._cut_back()
            start = _DIGEST
        for entry in self._held:
            yield from (text.decode() for text in entry[start:].split(_BETWEEN))

    def _begin_to_choose(self) -> None:
        held, self._held, self._size = self._held, [], 0
        self._bound = b"\xff" * (_DIGEST + 1)
        while held:  # never all of it twice
            self._offer(held.pop(), self._bound)

    def _offer(self, packed: bytes, bound: bytes) -> None:
        for piece in _pieces(packed) if len(packed) > LONG else (packed,):
            digest = hashlib.blake2b(piece, digest_size=_DIGEST, salt=self._salt).digest()
            if digest < bound:
                self._held.append(digest + piece)
                self._size += _size(piece)
        if self._size > self._limit * SLACK:
            self._cut_back()

    def _cut_back(self) -> None:
        """Keep the smallest that fit, each once. What is out stays out, or the order of the documents would matter."""
        self._held.sort()
        size, kept, last = 0, list[bytes](), b""
        for entry in self._held:
            if entry == last:
                continue
            more = size + _size(entry, _DIGEST)
            if more > self._limit:
                self._bound = entry[:_DIGEST]
                break
            kept.append(entry)
            size, last = more, entry
        self._held, self._size = kept, size


def _pieces(packed: bytes) -> Iterator[bytes]:
    for text in map(bytes.decode, packed.split(_BETWEEN)):
        yield from (text[start : start + PIECE].encode() for start in range(0, len(text), PIECE))


def _size(packed: bytes, start: int = 0) -> int:
    """UTF-8 bytes of the texts, which begin at ``start``."""
    return len(packed) - start - packed.count(_BETWEEN, start)
