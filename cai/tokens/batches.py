"""The batch of a step: a pure function of (seed, split, step), with nothing to save and nothing to lose."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cai.data.base import Split
from cai.data.corpus import Corpus
from cai.errors import DataError, TrainingError
from cai.tokens.packing import Ids, PackedRows, Row, cut, next_fit
from cai.tokens.permutation import Permutation
from cai.tokens.shards import Shards
from cai.tokens.writing import SPLITS

Arrays = tuple[Ids, ...]
"""What a model is called with, each ``(B, T)``: inputs, targets, and with ``isolate`` the number of their document."""

SAMPLED = 2**18
"""Targets that are counted for ``loss_without_context``: of so many it is too low by 1/500,000 of the vocabulary at most."""

ROWS = 16
"""That are read for it at once."""

FILLING = -1
"""The number of a row's document that is none: what is left of the row behind the last."""


class TokenDataset:
    """Rows of ``block_size`` tokens out of token shards, in one of two packings.

    ``stream``: windows of the text, its documents joined. An epoch takes every training window once, in an order of its
    own; its windows start at an offset of its own too, so that over the epochs a document is seen at many positions, and
    every token comes up.

    ``documents``: rows begin where documents begin, and hold whole ones (``cai.tokens.packing``). An epoch takes every row
    once, in an order of its own. A document's first token is no target: which document stands before it in a row is chance.

    A batch reads its rows and nothing else: the corpus is neither copied nor mapped, and memory does not grow with it
    (``documents``: only by where each begins).
    """

    def __init__(
        self,
        shards: Shards,
        block_size: int,
        seed: int,
        ignore_index: int,
        *,
        packing: Literal["stream", "documents"] = "stream",
        loss: Literal["all", "answer"] = "all",
        isolate: bool = False,
    ) -> None:
        """``loss="answer"``: only the tokens of answers are targets. ``isolate``: batches say what document each token is
        of, so that the model can keep them apart. Raises ``DataError`` if there is too little text, or no answer.
        """
        if isolate and packing == "stream":
            raise ValueError("isolate needs packing='documents', but packing is 'stream'")
        self.shards = shards
        self.block_size = block_size
        self.seed = seed
        self.ignore_index = ignore_index
        self.packing, self.loss, self.isolate = packing, loss, isolate
        self._room = block_size + 1  # tokens of a row: its inputs, and the target of the last of them
        if loss == "answer":
            _refuse_without_answers(shards)
            # Where documents and their answers begin, in turns: one rising sequence.
            self._turns = {split: shards.documents(split).reshape(-1) for split in SPLITS}
        self._epochs: dict[int, tuple[Permutation, int]] = {}  # of the newest two: a batch may lie across both
        self._packed: PackedRows | None = None
        self.fill = 1.0
        """Share of an epoch's rows that text takes."""
        if packing == "documents":
            self._packed = PackedRows(shards.documents("train")[:, 0], shards.train.tokens, self._room)
            self.n_windows, self.fill = len(self._packed), self._packed.fill
        else:
            # One window less than fits, so that an epoch's offset always has room; a text of one window has no offset.
            self.n_windows = max(1, (shards.train.tokens - 1) // block_size - 1)
        self._refuse_too_little_text()

    def batch(self, step: int, batch_size: int, share: range | None = None) -> Arrays:
        """Training inputs and targets (and documents) ``(batch_size, block_size)`` of ``step``; targets are next tokens.

        ``share``: the rows of the batch that are wanted; no others are read.
        """
        return self._read("train", self._rows(step, batch_size, share))

    @cached_property
    def loss_without_context(self) -> float:
        """Nats of a training target for whoever knows how frequent each token is, and nothing of what stands before it: the
        entropy of the targets, over those of the first rows."""
        counts, rows = np.zeros(self.shards.vocab_size, dtype=np.int64), 0
        while rows < self.n_windows and counts.sum() < SAMPLED:
            targets = self.batch(rows // ROWS, ROWS)[1]
            counts += np.bincount(targets[targets != self.ignore_index], minlength=len(counts))
            rows += ROWS
        shares = counts[counts > 0] / max(1, counts.sum())
        return float(-(shares * np.log(shares)).sum())

    def locate(self, step: int, batch_size: int) -> str:
        """Where the batch of ``step`` lies, in words: to look up the text that did harm."""
        epoch, position = divmod(step * batch_size, self.n_windows)
        starts = ", ".join(str(row[0][0]) for row in self._rows(step, batch_size)[:8])
        more = ", ..." if batch_size > 8 else ""
        return (
            f"{batch_size} windows from position {position} of epoch {epoch}, which begin at tokens {starts}{more} of"
            f" {self.shards.place('train')}"
        )

    def val_batches(
        self, batch_size: int, max_tokens: int | None = None, *, part: int = 0, parts: int = 1
    ) -> Iterator[Arrays]:
        """Every validation target exactly once, in order, in rows that do not overlap; the last one is filled up.

        ``max_tokens`` ends it early, for an estimate, after so many targets, those outside of answers included. Of several
        ``parts`` each has every so many-th batch, and as many as the others: where there are none left for it, one in which
        nothing counts.
        """
        rows = self._val_rows(max_tokens)
        while batches := [chosen for _ in range(parts) if (chosen := list(itertools.islice(rows, batch_size)))]:
            arrays = self._read("val", batches[part] if part < len(batches) else batches[0])
            if part >= len(batches):
                arrays[1][:] = self.ignore_index
            yield arrays

    def _rows(self, step: int, batch_size: int, share: range | None = None) -> list[Row]:
        """The pieces of text in each row of the batch, or of a share of it."""
        wanted = range(batch_size) if share is None else share
        first = step * batch_size
        epochs, positions = np.divmod(np.arange(first + wanted.start, first + wanted.stop), self.n_windows)
        rows: list[Row] = []
        for epoch in np.unique(epochs).tolist():
            order, offset = self._epoch(epoch)
            for number in order(positions[epochs == epoch]).tolist():
                window = [(number * self.block_size + offset, self._room)]
                rows.append(window if self._packed is None else self._packed[number])
        return rows

    def _val_rows(self, max_tokens: int | None) -> Iterator[Row]:
        """The validation text from end to end; its first ``max_tokens`` targets."""
        tokens = self.shards.val.tokens
        if self.packing == "documents":  # not the best fit: the first rows are then those of the first documents
            pieces = cut(self.shards.documents("val")[:, 0], tokens, self._room)
            yield from next_fit(*pieces, self._room, max_tokens)
        else:
            end = tokens - 1 if max_tokens is None else min(tokens - 1, max_tokens)
            yield from ([(start, min(self._room, end + 1 - start))] for start in range(0, end, self.block_size))

    def _epoch(self, epoch: int) -> tuple[Permutation, int]:
        """The order of the rows of ``epoch``, and where windows begin: anywhere that leaves room for the last one."""
        if epoch not in self._epochs:
            slack = 0 if self._packed else self.shards.train.tokens - 1 - self.n_windows * self.block_size
            offset = int(np.random.default_rng((self.seed, epoch)).integers(slack + 1))
            newest = list(self._epochs.items())[-1:]
            self._epochs = dict([*newest, (epoch, (Permutation(self.n_windows, self.seed, epoch), offset))])
        return self._epochs[epoch]

    def _read(self, split: Split, rows: list[Row]) -> Arrays:
        """Inputs and targets of the rows, filled up to the same length, and with ``isolate`` their documents."""
        shape = len(rows), self._room
        ids, places = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        documents = np.full(shape, FILLING, dtype=np.int64)
        with self._reading(split, rows) as read:
            for number, row in enumerate(rows):
                filled = 0
                for document, (start, size) in enumerate(row):
                    here = number, slice(filled, filled + size)
                    ids[here], documents[here] = read(start, size), document
                    places[here] = np.arange(start, start + size)
                    filled += size
        counts = (documents[:, 1:] == documents[:, :-1]) & (documents[:, 1:] != FILLING)
        if self.loss == "answer":
            counts &= np.searchsorted(self._turns[split], places[:, 1:], side="right") % 2 == 0
        x, y = ids[:, :-1], np.where(counts, ids[:, 1:], self.ignore_index)
        return (x, y, documents[:, :-1]) if self.isolate else (x, y)

    @contextmanager
    def _reading(self, split: Split, rows: list[Row]) -> Iterator[Callable[[int, int], NDArray[np.generic]]]:
        """Raises ``TrainingError`` if the shard is gone or is not what it was."""
        try:
            with self.shards.reading(split, [piece for row in rows for piece in row]) as read:
                yield read
        except (OSError, ValueError) as error:
            path = getattr(error, "filename", None) or self.shards.place(split)
            raise TrainingError(
                f"the token shard {path} must stay as it is while a run reads it, but cannot be read any more"
                f" ({getattr(error, 'strerror', None) or error}). {self.shards.remedy('resume the run')}"
            ) from error

    def _refuse_too_little_text(self) -> None:
        train, val = self.shards.train.tokens, self.shards.val.tokens
        if self.packing == "documents":
            least = "a document of at least 2 tokens"
            if not self.n_windows or next(self._val_rows(None), None) is None:
                name = "validation" if self.n_windows else "training"
                raise DataError(f"the {name} text must have {least}, but has none. Use more text, or data.packing=stream.")
            return
        if train < self.block_size + 1:
            raise DataError(
                f"the training text must have at least {self.block_size + 1} tokens (model.block_size + 1), but has {train}."
                f" Use more text or a smaller model.block_size."
            )
        if val < 2:
            raise DataError(
                f"the validation text must have at least 2 tokens, but has {val}. Use more text or a larger data.val_ratio."
            )


def _refuse_without_answers(shards: Shards) -> None:
    for name, stats in (("training", shards.train), ("validation", shards.val)):
        if not stats.answer_tokens:
            raise DataError(
                f"data.loss=answer needs documents with an answer ([ANSWER]), but the {name} text has none. Use"
                f" data.loss=all{', or a larger data.val_ratio' * (name == 'validation')}."
            )


def dataset_of(corpus: Corpus, shards: Shards, block_size: int, seed: int, ignore_index: int) -> TokenDataset:
    """The rows of ``shards`` as their corpus wants them."""
    return TokenDataset(
        shards, block_size, seed, ignore_index, packing=corpus.packing, loss=corpus.loss, isolate=corpus.isolate
    )
