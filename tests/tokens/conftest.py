"""Shards made of given ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.data.base import Split
from cai.tokens.batches import TokenDataset
from cai.tokens.shards import Shards, SplitStats

IGNORE = -100


def make_shards(folder: Path, train: Sequence[int], val: Sequence[int] = (1, 2, 3), dtype: str = "uint16") -> Shards:
    """Shards that hold exactly these ids."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, ids in (("train", train), ("val", val)):
        np.array(ids, dtype=dtype).tofile(folder / f"{split}.bin")
    stats = [SplitStats(documents=1, bytes=len(ids), tokens=len(ids), unknown=0) for ids in (train, val)]
    return Shards(folder, "test", "test", dtype, vocab_size=max(*train, *val) + 1, train=stats[0], val=stats[1])


def counting(folder: Path, tokens: int, block_size: int, seed: int = 1337, val_tokens: int = 3) -> TokenDataset:
    """A dataset in which each token is its own position."""
    return TokenDataset(make_shards(folder, range(tokens), range(val_tokens), "uint32"), block_size, seed, IGNORE)


@dataclass(frozen=True)
class CountingShards(Shards):
    """Shards without files, in which each token is its own position."""

    index: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    @contextmanager
    def reading(self, split: Split, ahead: object = ()) -> Iterator[Callable[[int, int], NDArray[Any]]]:
        yield lambda start, count: np.arange(self.stats(split).tokens)[start:][:count]

    def documents(self, split: Split) -> NDArray[np.int64]:
        return self.index[split]


Documents = Sequence[tuple[int, int]]
"""Of each how many tokens come before its answer, and how many are of it."""


def documents_of(train: Documents, val: Documents) -> CountingShards:
    """Shards of documents of these lengths."""
    index, stats = {}, {}
    for split, lengths in (("train", train), ("val", val)):
        sizes = np.array(lengths, dtype=np.int64).reshape(-1, 2)
        starts = np.cumsum(sizes.sum(1)) - sizes.sum(1)
        index[split] = np.stack([starts, starts + sizes[:, 0]], axis=1)
        tokens, of_answers = int(sizes.sum()), int(sizes[:, 1].sum())
        stats[split] = SplitStats(len(sizes), 3 * tokens, tokens, 0, answer_bytes=2 * of_answers, answer_tokens=of_answers)
    return CountingShards(Path("nowhere"), "test", "test", "int64", 1, stats["train"], stats["val"], index=index)
