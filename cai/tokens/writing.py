"""The ids of one side of the split on their way into files: appended, counted, and gone on with after a kill."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cai.data.base import Split

SPLITS: tuple[Split, ...] = ("train", "val")

SHARD_TOKENS = 2**28
"""Ids in one file (512 MiB of 16-bit ids); the next goes on where it ends, in the middle of a document if need be."""


INDEX_BYTES = 16
"""Of each document: two positions of 64 bits."""


@dataclass(frozen=True)
class SplitStats:
    """What one side of the split holds."""

    documents: int = 0
    bytes: int = 0
    """UTF-8 bytes of the documents' text, NFC, tags spelled out."""
    tokens: int = 0
    """Ids in the shard: the documents' and, unless the data says otherwise, one end-of-text after each."""
    unknown: int = 0
    """Ids of ``<unk>`` (only ``char`` has any)."""
    answer_bytes: int = 0
    """Of ``bytes``, those that follow ``[ANSWER]`` and the fixed beginning of answers."""
    answer_tokens: int = 0
    """Of ``tokens``, the same."""


@dataclass(frozen=True)
class Encoded:
    """Documents of one side as they go into its files: ids joined, of each its length and the ids before its answer."""

    ids: NDArray[Any]
    lengths: NDArray[np.int64]
    answers: NDArray[np.int64]
    counted: SplitStats


def shard_path(folder: Path, split: Split, number: int) -> Path:
    """The file ``number`` of a side: ``train.bin``, ``train_1.bin``, ..."""
    return folder / (f"{split}_{number}.bin" if number else f"{split}.bin")


def index_path(folder: Path, split: Split) -> Path:
    """Where each document begins and where its answer does: pairs of 64-bit positions."""
    return folder / f"{split}.index"


class SplitWriter:
    """Appends documents to the files of one side."""

    def __init__(self, folder: Path, split: Split, dtype: np.dtype[Any], stats: SplitStats) -> None:
        """``stats``: what is there already; anything behind it is cut off."""
        self.stats = stats
        self._folder, self._split = folder, split
        (*_, (last, size)), index = _sizes(folder, split, dtype, stats), index_path(folder, split)
        self._file, self._index = _open(last, size), _open(index, INDEX_BYTES * stats.documents)

    def append(self, encoded: Encoded) -> None:
        """Write documents behind those that are there."""
        ids, position = encoded.ids, self.stats.tokens
        starts = position + np.cumsum(encoded.lengths) - encoded.lengths
        # Not by `tofile`, whose error does not tell a full disk from others.
        self._index.write(np.stack([starts, starts + encoded.answers], axis=1).astype("<i8").data)
        counted = asdict(encoded.counted)
        self.stats = SplitStats(**{name: value + counted[name] for name, value in asdict(self.stats).items()})
        while len(ids):
            room = SHARD_TOKENS - position % SHARD_TOKENS
            self._file.write(ids[:room].data)
            position += len(ids[:room])
            if len(ids) >= room:
                self._file.close()
                self._file = _open(shard_path(self._folder, self._split, position // SHARD_TOKENS), 0)
            ids = ids[room:]

    def flush(self) -> None:
        """Give what was appended to the system: from here on a kill of the process does not lose it."""
        self._file.flush()
        self._index.flush()

    def close(self) -> None:
        self._file.close()
        self._index.close()


def confirm(folder: Path, split: Split, dtype: np.dtype[Any], stats: SplitStats) -> None:
    """Raise ``ValueError`` unless the files hold what ``stats`` says."""
    index = index_path(folder, split), INDEX_BYTES * stats.documents
    for path, size in (index, *_sizes(folder, split, dtype, stats)):
        if (path.stat().st_size if path.exists() else 0) < size:
            raise ValueError(f"{path} is shorter than what was written to it")


def _sizes(folder: Path, split: Split, dtype: np.dtype[Any], stats: SplitStats) -> list[tuple[Path, int]]:
    """Each file of ids, the last one included, and how many bytes of it are filled."""
    number, rest = divmod(stats.tokens, SHARD_TOKENS)
    full = [(shard_path(folder, split, each), SHARD_TOKENS * dtype.itemsize) for each in range(number)]
    return [*full, (shard_path(folder, split, number), rest * dtype.itemsize)]


def _open(path: Path, size: int) -> IO[bytes]:
    """A file opened for writing behind its first ``size`` bytes; what is there beyond them is cut off."""
    if not path.exists():
        return path.open("w+b")
    file = path.open("r+b")
    file.truncate(size)
    file.seek(size)
    return file
