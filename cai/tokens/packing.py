"""Which documents go into which row: as little as possible of a row is left empty, and nothing is left out.

A row has room for the tokens of one forward pass and the target of the last. A document that is longer is cut into pieces;
each begins with the token that the one before ended with, so that every token but a document's first is a target once.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

Row = list[tuple[int, int]]
"""Pieces of text, one after the other: where each begins, and how many tokens it has."""


def cut(starts: Ids, end: int, room: int) -> tuple[Ids, Ids]:
    """Where each piece begins and how long it is, of documents that begin at ``starts``, the last of which ends at ``end``.

    A document of a single token has no target, hence no piece.
    """
    starts = np.asarray(starts)  # it may be mapped
    lengths = np.diff(starts, append=end)
    counts = -(-np.maximum(lengths - 1, 0) // (room - 1))
    document = np.repeat(np.arange(len(starts)), counts)
    number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)  # of the piece in its document
    skipped = number * (room - 1)
    return starts[document] + skipped, np.minimum(lengths[document] - skipped, room)


def next_fit(starts: Ids, sizes: Ids, room: int, max_targets: int | None = None) -> Iterator[Row]:
    """Rows filled one after the other, the pieces in their order; ends when there are so many targets."""
    if max_targets is not None:
        before = np.cumsum(sizes - 1) - (sizes - 1)
        starts, sizes = starts[before < max_targets], np.minimum(sizes, max_targets - before + 1)[before < max_targets]
    row: Row = []
    left = room
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        if size > left:
            yield row
            row, left = [], room
        row.append((start, size))
        left -= size
    if row:
        yield row


def best_fit(sizes: Ids, room: int) -> Ids:
    """The row of each piece, by best-fit decreasing: the longest first, each where it leaves the least room.

    Pieces of one size and rows with the same room left are dealt with together, so this takes as many operations as there
    are sizes, whatever the number of pieces.
    """
    by_size = np.argsort(-sizes, kind="stable")
    row_of = np.empty_like(by_size)
    rows = _OpenRows(room)
    for pieces in np.split(by_size, np.flatnonzero(np.diff(sizes[by_size])) + 1) if len(sizes) else ():
        size = int(sizes[pieces[0]])
        while len(pieces):
            left, numbers = rows.take(size, wanted=len(pieces))
            each = left // size  # a row that is the best for one is the best for the next too, until it is full
            full = min(len(pieces) // each, len(numbers))
            row_of[pieces[: full * each]] = np.repeat(numbers[:full], each)
            rows.put(left - each * size, numbers[:full])
            pieces, numbers = pieces[full * each :], numbers[full:]
            if len(numbers):  # the pieces that are left, if any, do not fill a row
                row_of[pieces] = numbers[0]
                rows.put(left - len(pieces) * size, numbers[:1])
                rows.put(left, numbers[1:])
                break
    return row_of


class _OpenRows:
    """Numbers of rows by the room that they have left."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._made = 0
        self._rows: dict[int, list[Ids]] = {}
        self._rooms: list[int] = []  # the keys, in order

    def take(self, size: int, wanted: int) -> tuple[int, Ids]:
        """Some of the rows with the least room that is enough for ``size``; new ones for ``wanted`` such pieces if there
        are none."""
        place = bisect_left(self._rooms, size)
        if place == len(self._rooms):
            new = -(-wanted // (self._room // size))
            self._made += new
            return self._room, np.arange(self._made - new, self._made)
        left = self._rooms[place]
        rows = self._rows[left].pop()
        if not self._rows[left]:
            del self._rows[left], self._rooms[place]
        return left, rows

    def put(self, left: int, rows: Ids) -> None:
        """Keep ``rows``, if another piece could go into them."""
        if left > 1 and len(rows):
            if left not in self._rows:
                self._rows[left] = []
                insort(self._rooms, left)
            self._rows[left].append(rows)


class PackedRows:
    """All documents of a split in rows, by best fit. Some 20 bytes of memory for each document."""

    fill: float
    """Share of the room that the documents take."""

    def __init__(self, starts: Ids, end: int, room: int) -> None:
        """``starts`` of the documents, the last of which ends at ``end``; tokens in a row."""
        starts, sizes = cut(starts, end, room)
        row_of = best_fit(sizes, room)
        by_row = np.argsort(row_of, kind="stable")  # in a row, documents keep their order
        self._starts, self._sizes = starts[by_row], sizes[by_row].astype(np.int32)
        self._ends = np.cumsum(np.bincount(row_of))
        self.fill = float(sizes.sum() / max(1, len(self._ends) * room))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> Row:
        here = slice(int(self._ends[number - 1]) if number else 0, int(self._ends[number]))
        return list(zip(self._starts[here].tolist(), self._sizes[here].tolist(), strict=True))
