"""What a model says comes next in each of several rows: with a cache, or each time from the beginning."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from cai.decoding.row import Row


class Reader(ABC):
    """Gives logits, in the type of the weights: a cast of all of them for a single token would cost more than it saves."""

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model
        self.block_size: int = model.block_size  # type: ignore[assignment]
        self.device: torch.device = next((p.device for p in model.parameters()), torch.device("cpu"))

    @torch.inference_mode()
    def logits(self, rows: Sequence[Row], drafts: Sequence[Sequence[int]]) -> Tensor:
        """After each row's context, and after each id of its draft behind it: ``(B, 1 + N, V)``, N being the length of the
        longest draft. What stands behind a shorter draft means nothing.

        Between two calls rows may leave, and others come in their place. Context and draft must fit in ``block_size``.
        """
        with self._evaluating():
            return self._logits(rows, drafts)

    @abstractmethod
    def _logits(self, rows: Sequence[Row], drafts: Sequence[Sequence[int]]) -> Tensor: ...

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """The model is between two tokens as it was: training may go on while a text is written."""
        was_training = self.model.training
        if was_training:
            self.model.eval()
        try:
            yield
        finally:
            if was_training:
                self.model.train()


class PlainReader(Reader):
    """Reads every context from its beginning: for any model, and what the other must agree with."""

    def _logits(self, rows: Sequence[Row], drafts: Sequence[Sequence[int]]) -> Tensor:
        longest = max(map(len, drafts))
        found = []
        for row, draft in zip(rows, drafts, strict=True):
            ids = torch.tensor([[*row.context, *draft]], device=self.device)  # (1, T)
            logits: Tensor = self.model(ids)[0, len(row.context) - 1 :]  # (1 + n, V)
            found.append(nn.functional.pad(logits, (0, 0, 0, longest - len(draft))))
        return torch.stack(found)


class CachedReader(Reader):
    """Reads each id once. For a model with ``new_cache``, ``hidden`` and ``read`` (``cai.model.decoder.Decoder``)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._rows: list[Row] = []
        self._cache: Any = None

    def _logits(self, rows: Sequence[Row], drafts: Sequence[Sequence[int]]) -> Tensor:
        self._seat(rows)
        # All but the last id of a context are read ahead, so that rows old and new go on together.
        if fresh := [seat for seat, row in enumerate(rows) if row.cached < len(row.context) - 1]:
            self._read_ahead(rows, fresh)
        self._cache.lengths = [row.cached for row in rows]
        width = 1 + max(map(len, drafts))
        ids = [[row.context[-1], *draft, *[0] * (width - 1 - len(draft))] for row, draft in zip(rows, drafts, strict=True)]
        places = torch.arange(width, device=self.device).expand(len(rows), -1)
        logits: Tensor = self.model.read(torch.tensor(ids, device=self.device), self._cache, places)
        return logits

    def _seat(self, rows: Sequence[Row]) -> None:
        """A seat in the cache for each row, where it was if it was there."""
        if len(rows) > len(self._rows):
            self._cache = self.model.new_cache(len(rows))
            for row in rows:
                row.cached = 0
        elif len(rows) < len(self._rows):
            there = set(rows)
            free = [seat for seat, row in enumerate(self._rows) if row not in there]
            seats = {row: seat for seat, row in enumerate(self._rows)}
            self._cache.keep([seats[row] if row in seats else free.pop() for row in rows])
        self._rows = list(rows)

    def _read_ahead(self, rows: Sequence[Row], seats: list[int]) -> None:
        contexts = [rows[seat].context[:-1] for seat in seats]
        longest = max(map(len, contexts))
        ids = torch.tensor([[*context, *[0] * (longest - len(context))] for context in contexts], device=self.device)
        cache = self.model.new_cache(len(seats))
        self.model.fill(ids, cache)
        cache.lengths = [len(context) for context in contexts]
        if len(seats) == len(rows):
            self._cache = cache
        else:
            self._cache.put(seats, cache)
        for seat, context in zip(seats, contexts, strict=True):
            rows[seat].cached = len(context)


def reader_of(model: nn.Module) -> Reader:
    """With a cache if the model can."""
    hidden = getattr(model, "hidden", None)
    can = hasattr(model, "new_cache") and callable(hidden) and "context" in inspect.signature(hidden).parameters
    return CachedReader(model) if can else PlainReader(model)
