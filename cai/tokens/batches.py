"""The batch of a step: a pure function of (seed, split, step), with nothing to save and nothing to lose."""

from __future__ import annotations

from collections.abc import Iterator

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
    that over the epochs a document is seen at many positions, and every token comes up. Files are mapped anew for each
    batch: the map of a long run would otherwise hold every page it ever touched.
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
        # One window less than fits, so that an epoch's offset always has room; a text of a single window has no offset.
        self.n_windows = max(1, (shards.train.tokens - 1) // block_size - 1)

    def batch(self, step: int, batch_size: int) -> tuple[Ids, Ids]:
        """Training inputs and targets ``(batch_size, block_size)`` of ``step``; targets are the next tokens."""
        tokens = self._map("train")
        starts = self._starts(step, batch_size)
        rows = np.stack([tokens[start : start + self.block_size + 1] for start in starts]).astype(np.int64)
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
        tokens = self._map("val")
        end = len(tokens) - 1 if max_tokens is None else min(len(tokens) - 1, max_tokens)
        starts = range(0, end, self.block_size)
        for first in range(0, len(starts), batch_size):
            chosen = starts[first : first + batch_size]
            x = np.zeros((len(chosen), self.block_size), dtype=np.int64)
            y = np.full((len(chosen), self.block_size), self.ignore_index, dtype=np.int64)
            for row, start in enumerate(chosen):
                stop = min(start + self.block_size, end)
                x[row, : stop - start] = tokens[start:stop]
                y[row, : stop - start] = tokens[start + 1 : stop + 1]
            yield x, y

    def _starts(self, step: int, batch_size: int) -> Ids:
        """Where each window of the batch begins in the shard: ``(batch_size,)``."""
        window = np.arange(step * batch_size, (step + 1) * batch_size)
        epochs, positions = np.divmod(window, self.n_windows)
        starts = np.empty_like(window)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            order = Permutation(self.n_windows, self.seed, int(epoch))
            starts[here] = order(positions[here]) * self.block_size + self._offset(int(epoch))
        return starts

    def _offset(self, epoch: int) -> int:
        """Where the windows of ``epoch`` begin: anywhere that leaves room for the last one."""
        slack = self.shards.train.tokens - 1 - self.n_windows * self.block_size
        return int(np.random.default_rng((self.seed, epoch)).integers(slack + 1))

    def _map(self, split: Split) -> NDArray[np.unsignedinteger]:
        path = self.shards.path(split)
        tokens = self.shards.train.tokens if split == "train" else self.shards.val.tokens
        try:
            found = np.memmap(path, dtype=self.shards.dtype, mode="r")
            if len(found) != tokens:
                raise ValueError(f"it has {len(found)} tokens, not {tokens}")
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"the token shard {path} must stay as it is while a run reads it, but cannot be read any more"
                f" ({getattr(error, 'strerror', None) or error}). Remove its folder, if it is there, and resume the run: the"
                " shards are then made anew."
            ) from error
        return found
