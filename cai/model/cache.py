"""What a decoder has seen, kept so that a further token costs one token: keys, values, and what shifts reach back to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cai.model.context import Context


class Cache:
    """Rows of a batch, each filled from position 0 up to a length of its own. Room for all positions is taken at once.

    A pass writes its T tokens behind each row's length, which then is for the caller to set anew: what is left out (filling
    of a shorter prompt, drafts that were wrong) is written over by the next pass, and never seen.
    """

    def __init__(self, rows: int, capacity: int) -> None:
        self.capacity = capacity
        self.lengths = [0] * rows
        """How many tokens of each row count, from the first on."""
        self._stores: dict[tuple[nn.Module, str], Tensor] = {}
        """``(B, capacity, ...)``, of a token shift ``(B, reach + capacity, C)``."""
        self._starts = [0] * rows
        self._steps = 0

    def begin(self, ids: Tensor) -> Context:
        """The context of a pass over ``ids (B, T)`` behind what the rows have. Raises ``ValueError`` if there is no room."""
        self._starts, self._steps = list(self.lengths), ids.shape[1]
        if (end := max(self._starts) + self._steps) > self.capacity:
            raise ValueError(f"the sequence must be at most model.block_size ({self.capacity}) long, but is {end}")
        if not any(self._starts):
            return Context(cache=self)
        if self._start is not None:
            positions: Tensor | slice = slice(self._start, end)
            if self._steps == 1:  # which sees everything
                return Context(positions=positions, cache=self)
            places = torch.arange(self._start, end, device=ids.device)[None]  # (1, T)
        else:
            starts = torch.tensor(self._starts, device=ids.device)[:, None]
            positions = places = starts + torch.arange(self._steps, device=ids.device)  # (B, T)
        mask = torch.arange(end, device=ids.device) <= places[:, None, :, None]  # (B, 1, T, S)
        return Context(mask, positions, self)

    def extend(self, layer: nn.Module, name: str, x: Tensor) -> Tensor:
        """``x (B, T, ...)`` behind what each row has of it: ``(B, S, ...)``, S being the end of the longest row."""
        store = self._store(layer, name, x, self.capacity)
        self._write(store, x, 0)
        return x if not any(self._starts) else store[:, : max(self._starts) + self._steps]

    def behind(self, layer: nn.Module, x: Tensor, reach: int) -> Tensor:
        """``x (B, T, C)`` with the ``reach`` tokens before it in its row, zeros before the first: ``(B, reach + T, C)``."""
        store = self._store(layer, "x", x, reach + self.capacity)
        self._write(store, x, reach)
        if self._start is not None:
            return store[:, self._start : self._start + reach + self._steps]
        places = torch.tensor(self._starts, device=x.device)[:, None] + torch.arange(reach + self._steps, device=x.device)
        return store.gather(1, places[:, :, None].expand(-1, -1, x.shape[2]))

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, which become 0, 1, ..."""
        self.lengths = [self.lengths[row] for row in rows]
        self._stores = {key: store[list(rows)] for key, store in self._stores.items()}

    def put(self, rows: Sequence[int], other: Cache) -> None:
        """Replace ``rows`` by those of ``other``, a cache of the same model."""
        for row, length in zip(rows, other.lengths, strict=True):
            self.lengths[row] = length
        longest = max(other.lengths)
        for key, store in other._stores.items():
            end = longest + store.shape[1] - self.capacity  # the reach of a token shift comes on top
            own = self._store(*key, store, store.shape[1])
            own[list(rows), :end] = store[:, :end]

    @property
    def nbytes(self) -> int:
        """Of all rows together, as far as passes have filled stores."""
        return sum(store.nbytes for store in self._stores.values())

    @property
    def _start(self) -> int | None:
        """Where the pass begins, if it is the same place in all rows."""
        return self._starts[0] if min(self._starts) == max(self._starts) else None

    def _store(self, layer: nn.Module, name: str, like: Tensor, capacity: int) -> Tensor:
        key = layer, name
        if key not in self._stores:
            self._stores[key] = like.new_zeros(len(self.lengths), capacity, *like.shape[2:])
        return self._stores[key]

    def _write(self, store: Tensor, x: Tensor, offset: int) -> None:
        if self._start is not None:
            store[:, offset + self._start : offset + self._start + self._steps] = x
            return
        rows = torch.arange(len(self._starts), device=x.device)[:, None]
        places = torch.tensor(self._starts, device=x.device)[:, None] + torch.arange(self._steps, device=x.device) + offset
        store[rows, places] = x
