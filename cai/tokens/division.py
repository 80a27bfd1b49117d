"""Which files of a corpus each machine prepares."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cai.data.base import DataConfig
from cai.data.corpus import Corpus
from cai.data.files import find_files
from cai.data.source import SourceConfig
from cai.errors import ConfigError


@dataclass(frozen=True)
class Part:
    """What one machine has to prepare."""

    number: int
    """From 1."""
    of: int

    @property
    def folder(self) -> str:
        """Where it is in its store."""
        return f"parts/{self.number:04}-of-{self.of:04}"


@dataclass(frozen=True)
class Divided:
    """A corpus and a part of it, neither read yet."""

    outline: str
    """A fingerprint of the whole that is had without reading it: names and sizes of its files, and all options."""
    whole: Callable[[], Corpus]
    own: Callable[[], Corpus]
    files: tuple[int, int] | None
    """How many files the part has, and how many there are; ``None`` for data without files."""


def divide(data: DataConfig, part: Part) -> Divided:
    """``part`` of the corpus of ``data``: whole files, in their order, so that all parts joined are the corpus as it is.

    Raises ``ConfigError`` for what cannot be divided.
    """
    if not isinstance(data, SourceConfig):
        if part.of > 1:
            raise ConfigError(
                f"`prepare.shard` divides data that is read from files of its own, but this data is not, and the shard is"
                f" {part.number}/{part.of}. Leave it out, or use data=text, jsonl, csv, parquet or contacts_file."
            )
        corpus = data.build()
        if corpus.prepared is not None:
            raise ConfigError(
                "`prepare.out` takes a corpus that is not prepared yet, but data=prepared is. Leave it out, and it is taken"
                " into the cache; or copy its folder with a tool of the store."
            )
        return Divided(corpus.fingerprint, lambda: corpus, lambda: corpus, None)
    if part.of > 1 and (problems := list(undividable(data))):
        raise ConfigError(problems)
    files = find_files(data.path)
    if len(files) < part.of:
        raise ConfigError(
            f"`prepare.shard` gives each part whole files, so there must be as many files as parts, but {data.path} has"
            f" {len(files)} and there are {part.of} parts. Try prepare.shard=1/{len(files)}, or cut the files up."
        )
    sizes = [file.stat().st_size for file in files]
    own = [file for file, number in zip(files, shares(sizes, part.of), strict=True) if number == part.number]
    root = Path(os.path.commonpath([file.parent for file in files]))
    outline = data.fingerprint([f"{f.relative_to(root).as_posix()} {size}" for f, size in zip(files, sizes, strict=True)])
    return Divided(outline, data.build, lambda: data.corpus_of(own), (len(own), len(files)))


def undividable(data: SourceConfig) -> Iterator[str]:
    """A sentence for each option under which what becomes of a document depends on all the others."""
    if data.split == "tail":
        yield "`data.split` must be hash for prepare.shard, as a part cannot tell where the tail begins, but is tail."
    if data.balances and data.max_repeats > 1:
        yield (
            f"`data.max_repeats` must be 1 for prepare.shard, as a part cannot tell how large the categories are, but is"
            f" {data.max_repeats:g}. Add data.max_repeats=1, or leave data.balance_by out."
        )
    if data.augment.copies:
        yield (
            "`data.augment.copies` must be 0 for prepare.shard, as copies come in rounds over the whole corpus, but is"
            f" {data.augment.copies}. Add data.augment.copies=0."
        )


def shares(sizes: Sequence[int], parts: int) -> list[int]:
    """For each file, in order, the number from 1 of the part that it goes to.

    That is the part in whose share of the bytes its middle lies; but no part is left without a file.
    """
    total, numbers, before, last = max(1, sum(sizes)), list[int](), 0, 0
    for place, size in enumerate(sizes):
        middle = 1 + (2 * before + size) * parts // (2 * total)
        least = parts - (len(sizes) - 1 - place)  # else there would not be a file for each part that is left
        last = min(max(middle, least, last), last + 1, parts)
        numbers.append(last)
        before += size
    return numbers
