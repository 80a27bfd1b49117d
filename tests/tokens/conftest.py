"""Shards made of given ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

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
