"""Documents that were there before: the same text, or nearly the same."""

from __future__ import annotations

import hashlib
from array import array
from typing import Final

from cai.data.cleaning import CleanConfig
from cai.errors import ConfigError

SHINGLE: Final = 5
"""Characters that are compared as one piece. Five Korean ones are about two words."""
_PERMUTATIONS: Final = 128
"""Numbers in a sketch. The similarity they estimate is off by 0.035 (standard deviation) at 0.8."""
_SEED: Final = 1


class Duplicates:
    """Tells the first document of its kind from repetitions. Raises ``ConfigError`` if a package is missing."""

    def __init__(self, config: CleanConfig) -> None:
        self._exact = _Hashes() if config.duplicates != "keep" else None
        self._near = _Sketches(config.near_threshold) if config.duplicates == "near" else None

    def seen(self, text: str) -> str | None:
        """``None`` for the first of its kind, else "duplicate" or "near duplicate"; remembers ``text``.

        About 16 bytes a document for exact duplicates (two texts in 10 million are confused with a probability of 3e-6),
        2 KB for near ones. The answer depends on the texts and their order alone. A text is compared with those that
        were kept, so that a chain of small changes does not swallow what differs a lot.
        """
        if self._exact is not None and not self._exact.add(text):
            return "duplicate"
        if self._near is not None and not self._near.add(text):
            return "near duplicate"
        return None


class _Hashes:
    """A set of 64-bit hashes: open addressing in one flat table, at most two thirds full. A set takes four times that."""

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 1024))
        self._count = 0

    def add(self, text: str) -> bool:
        """Whether ``text`` was not there yet."""
        if self._count * 3 > len(self._table) * 2:
            old, self._table = self._table, array("Q", bytes(16 * len(self._table)))
            for value in old:
                if value:
                    self._table[self._slot(value)] = value
        # 0 marks an empty slot.
        value = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1
        slot = self._slot(value)
        is_new = not self._table[slot]
        self._table[slot] = value
        self._count += is_new
        return is_new

    def _slot(self, value: int) -> int:
        """Where ``value`` is, or belongs."""
        table, mask = self._table, len(self._table) - 1
        slot = value & mask
        while table[slot] not in (0, value):
            slot = (slot + 1) & mask
        return slot


class _Sketches:
    """MinHash sketches of the texts that were kept, found again through their bands (LSH), compared in full."""

    def __init__(self, threshold: float) -> None:
        try:
            from rensa import RMinHash, RMinHashDeduplicator
        except ImportError:
            raise ConfigError(
                'data.clean.duplicates=near needs the package rensa, which cannot be imported. Try: pip install "cai[near]"'
            ) from None
        self._sketch = RMinHash
        self._kept = RMinHashDeduplicator(threshold, _PERMUTATIONS, True, bands(threshold), _SEED)

    def add(self, text: str) -> bool:
        """Whether ``text`` is like no other. One shorter than a shingle always is."""
        plain = " ".join(text.split())
        if len(plain) < SHINGLE:
            return True
        sketch = self._sketch(_PERMUTATIONS, _SEED)
        sketch.update(plain[i : i + SHINGLE] for i in range(len(plain) - SHINGLE + 1))
        return bool(self._kept.add(str(self._kept.len()), sketch))


def bands(threshold: float) -> int:
    """Into how many bands a sketch is cut: as few as still find nine in ten pairs that are just similar enough."""
    counts = (1 << power for power in range(_PERMUTATIONS.bit_length()))
    return next((n for n in counts if 1 - (1 - threshold ** (_PERMUTATIONS // n)) ** n >= 0.9), _PERMUTATIONS)
