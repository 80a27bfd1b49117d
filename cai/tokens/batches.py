"""The batch of a step: a pure function of (seed, split, step), with nothing to save and nothing to lose."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from cai.data.base import Split
from cai.errors import DataError, TrainingError
from cai.tokens.permutation import Permutation
from cai.tokens.shards import Shards

Ids = NDArray[np.int64]


class TokenDataset:
    """Windows of ``block_size`` tokens out of token shards.

    An epoch takes every training window once, in an order of its own; its windows start at an offset of its own too, so
    that over the epochs a document is seen at many positions, and every token comes up. A batch reads its windows and
    nothing else: the corpus is neither copied nor mapped, and memory does not grow with it.
    """

    def __init__(self, shards: Shards, block_size: int, seed: int, ignore_index: int) -> None:
        """Raises ``DataError`` if the training text is shorter than one window."""
        self.shards = shards
        self.block_size = block_size
        self.seed = seed
        self.ignore_index = ignore_index
        for split, tokens in (("training", shards.train.tokens), ("validation", shards.val.tokens)):
            least = block_size + 1 if split == "training" else 2
            if tokens < least:
                raise DataError(
                    f"the {split} text must have at least {least} tokens (model.block_size + 1), but has {tokens}."
                    f" Use more text or a smaller model.block_size."
                    if split == "training"
                    else f"the validation text must have at least {least} tokens, but has {tokens}."
                    " Use more text or a larger data.val_ratio."
                )
        self._epochs: dict[int, tuple[Permutation, int]] = {}  # of the newest two: a batch may lie across both
        # One window less than fits, so that an epoch's offset always has room; a text of a single window has no offset.
        self.n_windows = max(1, (shards.train.tokens - 1) // block_size - 1)

    def batch(self, step: int, batch_size: int) -> tuple[Ids, Ids]:
        """Training inputs and targets ``(batch_size, block_size)`` of ``step``; targets are the next tokens."""
        rows = self._read("train", self._starts(step, batch_size).tolist(), self.block_size + 1)
        return rows[:, :-1], rows[:, 1:]

    def locate(self, step: int, batch_size: int) -> str:
        """Where the batch of ``step`` lies, in words: to look up the text that did harm."""
        epoch, position = divmod(step * batch_size, self.n_windows)
        starts = ", ".join(str(start) for start in self._starts(step, batch_size)[:8])
        more = ", ..." if batch_size > 8 else ""
        return (
            f"{batch_size} windows from position {position} of epoch {epoch}, which begin at tokens {starts}{more} of"
            f" {self.shards.path('train')}"
        )

    def val_batches(self, batch_size: int, max_tokens: int | None = None) -> Iterator[tuple[Ids, Ids]]:
        """Every validation target exactly once, in order, in windows that do not overlap; the last one is filled up.

        ``max_tokens`` ends it early, for an estimate.
        """
        n_targets = self.shards.val.tokens - 1
        end = n_targets if max_tokens is None else min(n_targets, max_tokens)
        starts = range(0, end, self.block_size)
        for first in range(0, len(starts), batch_size):
            chosen = starts[first : first + batch_size]
            stop = min(chosen[-1] + self.block_size, end)
            (ids,) = self._read("val", chosen[:1], stop - chosen[0] + 1)
            x = np.zeros((len(chosen), self.block_size), dtype=np.int64)
            y = np.full((len(chosen), self.block_size), self.ignore_index, dtype=np.int64)
            x.ravel()[: len(ids) - 1], y.ravel()[: len(ids) - 1] = ids[:-1], ids[1:]
            yield x, y

    def _starts(self, step: int, batch_size: int) -> Ids:
        """Where each window of the batch begins in the shard: ``(batch_size,)``."""
        window = np.arange(step * batch_size, (step + 1) * batch_size)
        epochs, positions = np.divmod(window, self.n_windows)
        starts = np.empty_like(window)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            order, offset = self._epoch(epoch)
            starts[here] = order(positions[here]) * self.block_size + offset
        return starts

    def _epoch(self, epoch: int) -> tuple[Permutation, int]:
        """The order of the windows of ``epoch``, and where they begin: anywhere that leaves room for the last one."""
        if epoch not in self._epochs:
            slack = self.shards.train.tokens - 1 - self.n_windows * self.block_size
            offset = int(np.random.default_rng((self.seed, epoch)).integers(slack + 1))
            newest = list(self._epochs.items())[-1:]
            self._epochs = dict([*newest, (epoch, (Permutation(self.n_windows, self.seed, epoch), offset))])
        return self._epochs[epoch]

    def _read(self, split: Split, starts: Iterable[int], count: int) -> Ids:
        """``count`` tokens from each of ``starts`` on: ``(len(starts), count)``.

        Raises ``TrainingError`` if the shard is gone or is not what it was.
        """
        path, stats = self.shards.path(split), self.shards.train if split == "train" else self.shards.val
        rows = []
        try:
            with path.open("rb", buffering=0) as file:
                if (tokens := os.fstat(file.fileno()).st_size / np.dtype(self.shards.dtype).itemsize) != stats.tokens:
                    raise ValueError(f"it has {tokens:g} tokens, not {stats.tokens}")
                for start in starts:
                    rows.append(row := np.empty(count, dtype=self.shards.dtype))
                    file.seek(start * row.itemsize)
                    if file.readinto(row.data) != row.nbytes:
                        raise ValueError("it has become shorter")
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"the token shard {path} must stay as it is while a run reads it, but cannot be read any more"
                f" ({getattr(error, 'strerror', None) or error}). Remove its folder, if it is there, and resume the run: the"
                " shards are then made anew."
            ) from error
        return np.stack(rows).astype(np.int64)
