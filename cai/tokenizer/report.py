"""What a tokenizer makes of a text, in figures, and whether that is good enough to train on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from unicodedata import normalize

import numpy as np

from cai.errors import DataError
from cai.symptoms.table import Told, tell
from cai.tokenizer.base import Tokenizer

SAMPLE_BYTES = 300_000
"""Of text that is looked at, from its beginning: figures that are steady to a percent, in a tenth of a second."""

MAX_SPLIT = 0.1
"""Share of Hangul syllables in pieces above which a larger vocabulary is advised.

Measured on reviews, chats, documentation and the Bible, 0.6 to 4 MB each: 10 to 21 % in a BPE of 1,024 tokens, where a
token is barely a syllable; 3 to 8 % of 2,048; 1 to 2 % of 8,000. The default run has 1.2 %.
"""

MAX_UNKNOWN = 0.001
"""Share of characters outside the alphabet above which another one is advised."""


@dataclass(frozen=True)
class TokenizerReport:
    """Figures over a sample of text. Those about Hangul are ``None`` for text that has none."""

    vocab_size: int
    asked: int | None
    """The vocabulary that was asked for, if one was."""
    bytewise: bool
    """Whether every token is a single byte, by design: then every syllable is in pieces."""
    texts: int
    bytes: int
    characters: int
    tokens: int
    unknown: int
    syllables: int
    split: int
    """Hangul syllables with the border of a token inside them."""
    syllable_tokens: int
    """Tokens that hold a Hangul syllable or a piece of one."""
    changed: int
    """Texts that do not come back as they were."""
    example: str
    """The place where the first of those parts from what comes back."""
    random_words: bool = False
    """Whether much of the text is syllables at random: no vocabulary has such words whole, and none should."""

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / self.tokens if self.tokens else 0.0

    @property
    def unknown_share(self) -> float:
        """Of the characters, those outside the alphabet."""
        return self.unknown / self.characters if self.characters else 0.0

    @property
    def hangul_per_token(self) -> float | None:
        """Hangul syllables in each token that holds any of one."""
        return self.syllables / self.syllable_tokens if self.syllables else None

    @property
    def split_share(self) -> float | None:
        """Of the Hangul syllables, those that are split into bytes."""
        return self.split / self.syllables if self.syllables else None

    def figures(self) -> dict[str, float | int | None]:
        """For ``run.json``."""
        return {
            "vocab_size": self.vocab_size,
            "vocab_size_asked": self.asked,
            "sample_bytes": self.bytes,
            "bytes_per_token": _rounded(self.bytes_per_token),
            "hangul_per_token": _rounded(self.hangul_per_token),
            "hangul_split": _rounded(self.split_share),
            "unknown": _rounded(self.unknown_share),
        }

    def summary(self) -> str:
        """One line for the plan."""
        size = f"{self.vocab_size:,}"
        if self.asked is not None and self.asked > self.vocab_size:
            size += f" of the {self.asked:,}"
        parts = [f"{size} tokens, {self.bytes_per_token:.2f} bytes each"]
        if self.hangul_per_token is not None and self.split_share is not None:
            parts.append(f"{self.hangul_per_token:.2f} Hangul syllables each")
            parts.append("a syllable is three by design" if self.bytewise else f"{self.split_share:.1%} of syllables split")
        if self.unknown:
            parts.append(f"{self.unknown_share:.2%} unknown")
        return ", ".join([*parts, "every text comes back exactly" if not self.changed else f"{self.changed} texts changed"])

    def problems(self) -> list[str]:
        """What must not be trained on: text that would be lost without a word."""
        if not self.changed:
            return []
        return [
            f"tokenizer must give every text back exactly, but of {self.texts:,} texts it changes {self.changed:,}; it"
            f" {self.example}. Take out what changes it (lowercasing, stripping, NFKC), or use tokenizer=bpe."
        ]

    def symptoms(self) -> list[Told]:
        """What can be trained on, but costs more tokens than it should."""
        split = None if self.bytewise or self.random_words else self.split_share
        return list(symptoms_of_figures(split, self.unknown_share, self.vocab_size, self.asked))

    def warnings(self) -> list[str]:
        """``symptoms`` as sentences."""
        return [told.sentence for told in self.symptoms()]


def symptoms_of_figures(split: float | None, unknown: float, size: int, asked: int | None) -> Iterator[Told]:
    """What figures tell of a tokenizer of ``size`` tokens. ``split``: ``None`` where syllables are in pieces by design."""
    if split is not None and split > MAX_SPLIT:
        remedy = "korean_tokenizer" if asked is None else "more_korean" if asked > size else "larger_vocabulary"
        yield tell("split", remedy, share=split, size=size, asked=asked, twice=2 * (asked or 0))
    if unknown > MAX_UNKNOWN:
        yield tell("unknown", share=unknown)


def inspect_tokenizer(tokenizer: Tokenizer, texts: Iterable[str], asked: int | None = None) -> TokenizerReport:
    """``describe``, as a gate: raises ``DataError`` if the tokenizer loses text."""
    report = describe(tokenizer, texts, asked)
    if problems := report.problems():
        raise DataError("\n".join(problems))
    return report


def describe(tokenizer: Tokenizer, texts: Iterable[str], asked: int | None = None) -> TokenizerReport:
    """Figures over the first ``SAMPLE_BYTES`` of ``texts``. ``asked``: the vocabulary that was asked for."""
    sample = list(_bounded(texts, SAMPLE_BYTES))
    encoded = tokenizer.encode_batch([(text,) for text in sample])
    changes = [change_of(tokenizer, text, ids) for text, ids in zip(sample, encoded, strict=True)]
    exact = [(text, ids) for text, ids, change in zip(sample, encoded, changes, strict=True) if not change]
    syllables, split, syllable_tokens = _hangul(tokenizer, exact)
    special = set(tokenizer.tag_ids.values())
    ordinary = (raw for number, raw in enumerate(tokenizer.token_bytes) if number not in special)
    return TokenizerReport(
        vocab_size=tokenizer.vocab_size,
        asked=asked,
        bytewise=asked is None and all(len(raw) == 1 for raw in ordinary),
        texts=len(sample),
        bytes=sum(len(text.encode()) for text in sample),
        characters=sum(map(len, sample)),
        tokens=sum(map(len, encoded)),
        unknown=sum(ids.count(tokenizer.unknown_id) for ids in encoded) if tokenizer.unknown_id is not None else 0,
        syllables=syllables,
        split=split,
        syllable_tokens=syllable_tokens,
        changed=len(sample) - len(exact),
        example=next(filter(None, changes), ""),
    )


def change_of(tokenizer: Tokenizer, text: str, ids: Sequence[int]) -> str:
    """How what comes back of an NFC ``text`` differs from it, in words; empty if it does not.

    Where there are unknown tokens every token must stand for one character: then nothing is lost but what is unknown.
    """
    back, unknown_id = tokenizer.decode(ids), tokenizer.unknown_id
    if unknown_id is not None and unknown_id in ids and len(ids) == len(text):
        unknown = tokenizer.token_bytes[unknown_id].decode()
        known = (number != unknown_id for number in ids)
        text = "".join(char if is_known else unknown for char, is_known in zip(text, known, strict=True))
    if back == text:
        return ""
    at = next((i for i, (one, other) in enumerate(zip(text, back, strict=False)) if one != other), min(len(text), len(back)))
    start = max(0, at - 10)
    return f"turns {text[start : at + 10]!r} into {back[start : at + 10]!r}"


def _bounded(texts: Iterable[str], limit: int) -> Iterator[str]:
    for text in texts:
        raw = normalize("NFC", text[:limit]).encode()[:limit]
        yield raw.decode(errors="ignore")
        limit -= len(raw)
        if limit <= 0:
            return


def _hangul(tokenizer: Tokenizer, encoded: Sequence[tuple[str, Sequence[int]]]) -> tuple[int, int, int]:
    """Hangul syllables, those of them with a border inside, and the tokens that hold any part of them."""
    sizes = [len(raw) for raw in tokenizer.token_bytes]
    lengths: list[int] = []
    for text, ids in encoded:
        one_each = tokenizer.unknown_id is not None and tokenizer.unknown_id in ids
        lengths += [len(char.encode()) for char in text] if one_each else [sizes[number] for number in ids]
    raw = np.frombuffer("".join(text for text, _ in encoded).encode(), np.uint8).astype(np.int32)
    border = np.zeros(len(raw) + 1, dtype=bool)
    border[np.cumsum(lengths, dtype=np.int64)] = True
    code = ((raw[:-2] & 15) << 12) | ((raw[1:-1] & 63) << 6) | (raw[2:] & 63)
    # 0xEA to 0xED only ever begin a character of three bytes.
    first = np.flatnonzero((raw[:-2] >= 0xEA) & (raw[:-2] <= 0xED) & (code >= 0xAC00) & (code <= 0xD7A3))
    split = border[first + 1] | border[first + 2]
    token_of_byte = np.cumsum(border[:-1])
    holding = np.unique(token_of_byte[np.concatenate([first, first + 1, first + 2])])
    return len(first), int(split.sum()), len(holding)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
