"""Corpora of up to 2^41 tokens, which are not there: what a batch reads of them, and that it reads the right places."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cai.tokens.batches import TokenDataset
from cai.tokens.idfiles import IdFile, IdFiles
from cai.tokens.shards import Shards
from cai.tokens.writing import SHARD_TOKENS, SplitStats, shard_path

PRIME = 65_521
"""The id at a position is what this leaves of it: positions 2^16, 2^28, 2^32 or 2^40 apart have different ones."""
ROWS, BLOCK = 8, 16
SIZES = (10**6, 10**9, 10**12, 2**41)


class Positions(io.RawIOBase):
    """A token file that is computed."""

    def __init__(self, file: ComputedFile) -> None:
        self.file, self.offset = file, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        assert 0 <= offset < 2 * SHARD_TOKENS
        self.offset = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        ids = np.frombuffer(buffer, dtype=np.uint16)
        ids[:] = (np.arange(len(ids), dtype=np.int64) + self.file.number * SHARD_TOKENS + self.offset // 2) % PRIME
        self.file.seen.read_bytes.append(ids.nbytes)
        return ids.nbytes


@dataclass
class Seen:
    """What was asked of the files."""

    opened: list[int] = field(default_factory=list)
    read_bytes: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class ComputedFile(IdFile):
    """One of as many as a corpus of any size has."""

    number: int
    tokens: int
    seen: Seen

    @property
    def place(self) -> str:
        return f"computed {self.number}"

    def open(self, itemsize: int) -> Positions:
        assert itemsize == 2
        self.seen.opened.append(self.number)
        return Positions(self)


def sides(tokens: int) -> tuple[SplitStats, SplitStats]:
    return SplitStats(documents=1, bytes=4 * tokens, tokens=tokens), SplitStats(documents=1, bytes=4000, tokens=1000)


def shards_of(tokens: int) -> tuple[Shards, Seen]:
    seen = Seen()

    def files(count: int) -> IdFiles:
        starts = range(0, count, SHARD_TOKENS)
        return IdFiles([ComputedFile(number, min(SHARD_TOKENS, count - at), seen) for number, at in enumerate(starts)])

    train, val = sides(tokens)
    kept = {"train": files(train.tokens), "val": files(val.tokens)}
    return Shards(Path("nowhere"), "", "", "uint16", PRIME, train, val, files=kept), seen


@pytest.mark.parametrize("step", [0, 12_345, 2**34])
def test_what_a_batch_reads_does_not_grow_with_the_corpus(step: int) -> None:
    for tokens in SIZES:
        shards, seen = shards_of(tokens)
        dataset = TokenDataset(shards, BLOCK, 1, -100)
        assert seen.opened == []  # nothing is read before there is a batch
        x, y = dataset.batch(step, ROWS)
        assert sum(seen.read_bytes) == ROWS * (BLOCK + 1) * 2
        assert len(seen.opened) <= ROWS + 1  # a row may lie across two files
        assert len(set(seen.opened)) == len(seen.opened)  # each once
        # Each row is text that stands together: ids rise by one.
        assert np.array_equal((x + 1) % PRIME, y)
        assert np.array_equal(x[:, 1:], y[:, :-1])


def test_batches_come_from_all_over_a_large_corpus() -> None:
    shards, seen = shards_of(2**41)
    dataset = TokenDataset(shards, BLOCK, 1, -100)
    for step in range(40):
        dataset.batch(step, ROWS)
    halves = np.array(seen.opened) >= 2**41 // SHARD_TOKENS // 2
    assert 0.3 < halves.mean() < 0.7
    assert len(set(seen.opened)) > 300  # of 8,192 files, 320 looks


def test_what_a_run_does_when_it_begins_does_not_grow_either() -> None:
    read = []
    for tokens in SIZES:
        shards, seen = shards_of(tokens)
        assert TokenDataset(shards, BLOCK, 1, -100).loss_without_context > 0
        assert len(list(TokenDataset(shards, BLOCK, 1, -100).val_batches(4, 256))) == 4
        read.append(sum(seen.read_bytes))
    assert len(set(read)) == 1


@pytest.mark.parametrize("start", [2**32 - 4, 2**32 + 5, 2**40 - 4, 2**40 + 2**28 - 3, 2**41 - 9])
def test_positions_beyond_32_and_40_bits_are_read_right(start: int) -> None:
    assert shards_of(2**41)[0].read("train", start, 9).tolist() == [(start + i) % PRIME for i in range(9)]


def test_so_are_files_across_two_that_lie_there(tmp_path: Path) -> None:
    """The two files around position 2^40, as large as they would be, and sparse."""
    boundary, ids = 2**40, np.arange(1, 9, dtype=np.uint16)
    shards = Shards(tmp_path, "", "", "uint16", PRIME, *sides(10**12 + 2**39))
    for number, offset, part in ((2**12 - 1, SHARD_TOKENS - 4, ids[:4]), (2**12, 0, ids[4:])):
        path = shard_path(tmp_path, "train", number)
        path.touch()
        os.truncate(path, 2 * SHARD_TOKENS)
        with path.open("r+b") as file:
            file.seek(2 * offset)
            file.write(part.tobytes())
    assert shards.read("train", boundary - 5, 10).tolist() == [0, *range(1, 9), 0]
