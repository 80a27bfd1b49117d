"""The files that hold the ids of one side of the split: of any lengths, on this disk or behind a store."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import FileIO
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from cai.errors import DataError, TrainingError
from cai.store import RemoteStore

REQUESTS = 16
"""That a store is asked at once."""
GAP = 2**14
"""Ids that are fetched for nothing rather than ask twice."""

Piece = tuple[int, int]
"""Where it begins, and how many ids it has."""


class Readable(Protocol):
    """What ids are read from."""

    def seek(self, position: int, /) -> int: ...

    def readinto(self, buffer: memoryview, /) -> int | None: ...


class IdFile(ABC):
    """A file of ids."""

    tokens: int

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is, for people."""

    @abstractmethod
    def open(self, itemsize: int) -> AbstractContextManager[Readable]:
        """Opened to be read, ``itemsize`` bytes an id. Raises ``OSError`` or ``ValueError`` if it is not what it was."""


@dataclass(frozen=True)
class LocalFile(IdFile):
    """On this disk."""

    path: Path
    tokens: int

    @property
    def place(self) -> str:
        return str(self.path)

    def open(self, itemsize: int) -> FileIO:
        file = FileIO(self.path)
        there = os.fstat(file.fileno()).st_size / itemsize
        if there != self.tokens:
            file.close()
            raise ValueError(f"it has {there:g} tokens, not {self.tokens}")
        return file


@dataclass(frozen=True)
class RangedFile(IdFile):
    """Behind a store, of which only what is asked for is read."""

    store: RemoteStore
    name: str
    tokens: int

    @property
    def place(self) -> str:
        return f"{self.store.name}/{self.name}"

    def open(self, itemsize: int) -> Ranges:
        return Ranges(self)


class Ranges:
    """A file read by ranges: a request each."""

    def __init__(self, file: RangedFile) -> None:
        self._file, self._position = file, 0

    def seek(self, position: int, /) -> int:
        self._position = position
        return position

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            found = self._file.store.read_range(self._file.name, self._position, self._position + buffer.nbytes)
        except FileNotFoundError as error:
            raise ValueError("it is gone") from error
        except DataError as error:
            raise TrainingError(f"{error} What was saved is intact: resume the run when the store answers.") from error
        buffer.cast("B")[: len(found)] = found
        self._position += len(found)
        return len(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """There is nothing to close."""


class IdFiles:
    """Files one after the other, as one sequence of ids."""

    def __init__(self, files: Sequence[IdFile]) -> None:
        self._files = [file for file in files if file.tokens]
        self.are_remote = any(isinstance(file, RangedFile) for file in self._files)
        self._ends = list(accumulate(file.tokens for file in self._files))

    def __getitem__(self, number: int) -> IdFile:
        return self._files[number]

    def find(self, position: int) -> tuple[int, int, int]:
        """Which file holds the id at ``position``, its place in there, and how many ids there are from it on.

        As many steps as the number of files has bits. Raises ``ValueError`` behind the last id.
        """
        number = bisect_right(self._ends, position)
        if number == len(self._ends):
            raise ValueError(f"there is no token {position:,}")
        left = self._ends[number] - position
        return number, self._files[number].tokens - left, left


def fetch(read: Callable[[int, int], NDArray[Any]], pieces: Sequence[Piece]) -> dict[Piece, NDArray[Any]]:
    """All ``pieces``, asked for at once; those that lie close together in one request."""
    spans: list[list[int]] = []
    for start, count in sorted(pieces):
        if spans and start - spans[-1][1] <= GAP:
            spans[-1][1] = max(spans[-1][1], start + count)
        else:
            spans.append([start, start + count])
    with ThreadPoolExecutor(min(REQUESTS, len(spans))) as pool:
        found = list(pool.map(lambda span: read(span[0], span[1] - span[0]), spans))
    firsts = [first for first, _ in spans]
    places = [(start, count, bisect_right(firsts, start) - 1) for start, count in pieces]
    return {(start, count): found[n][start - firsts[n] :][:count] for start, count, n in places}
