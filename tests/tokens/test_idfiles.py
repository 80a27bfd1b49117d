"""Ids in files of any lengths, on the disk or behind a store: one sequence."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.store import RemoteStore
from cai.tokens import idfiles
from cai.tokens.idfiles import IdFiles, LocalFile, RangedFile, fetch
from cai.tokens.shards import Shards
from cai.tokens.writing import SplitStats


def shards_of(folder: Path, sizes: list[int], *, remote: int = 0) -> Shards:
    """Shards whose ids count from 0, in files of these sizes, the first ``remote`` of them behind a store."""
    ids, files, store = np.arange(sum(sizes), dtype="uint16"), list[Any](), RemoteStore("memory://ids", "data.path")
    for number, part in enumerate(np.split(ids, np.cumsum(sizes)[:-1])):
        part.tofile(folder / f"{number}.bin")
        store.put(folder / f"{number}.bin", f"{number}.bin")
        local = LocalFile(folder / f"{number}.bin", len(part))
        files.append(RangedFile(store, f"{number}.bin", len(part)) if number < remote else local)
    stats = SplitStats(1, len(ids), len(ids))
    found = {"train": IdFiles(files), "val": IdFiles(files)}
    return Shards(folder, "", "", "uint16", 2**16, stats, stats, files=found)  # type: ignore[arg-type]


@pytest.mark.parametrize("remote", [0, 2, 9])
def test_any_piece_is_what_it_is_in_one_sequence(tmp_path: Path, remote: int) -> None:
    sizes = [3, 0, 1, 10, 0, 0, 5, 1, 0]
    shards = shards_of(tmp_path, sizes, remote=remote)
    for start in range(20):
        for count in range(21 - start):
            assert shards.read("train", start, count).tolist() == list(range(start, start + count))
    with pytest.raises(ValueError, match="there is no token 20"):
        shards.read("train", 19, 2)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 40)), min_size=1, max_size=30), st.integers(0, 60))
def test_pieces_asked_for_at_once_are_what_they_are_one_by_one(pieces: list[tuple[int, int]], gap: int) -> None:
    asked = []

    def read(start: int, count: int) -> Any:
        asked.append((start, count))
        return np.arange(start, start + count)

    before, idfiles.GAP = idfiles.GAP, gap
    try:
        found = fetch(read, pieces)
    finally:
        idfiles.GAP = before
    assert {piece: ids.tolist() for piece, ids in found.items()} == {
        (start, count): list(range(start, start + count)) for start, count in pieces
    }
    starts = sorted(asked)
    assert all(start + count + gap < following for (start, count), (following, _) in itertools.pairwise(starts))


def test_a_store_is_asked_once_for_what_lies_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = shards_of(tmp_path, [40_000], remote=1)
    files, asked = fsspec.filesystem("memory"), []
    answer = files.cat_file
    monkeypatch.setattr(files, "cat_file", lambda path, **span: asked.append(span) or answer(path, **span))
    with shards.reading("train", [(0, 50), (50, 50), (39_000, 7)]) as read:
        assert read(39_000, 7).tolist() == list(range(39_000, 39_007))
        assert read(50, 50).tolist() == list(range(50, 100))
        assert sorted(span["start"] for span in asked) == [0, 78_000]
        assert read(7, 3).tolist() == [7, 8, 9], "what was not announced is read all the same"
    (tmp_path / "0.bin").write_bytes(b"1")
    shards._files["train"][0].store.put(tmp_path / "0.bin", "0.bin")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="it has become shorter"):
        shards.read("train", 100, 10)


def test_the_file_of_a_position_is_found_in_few_steps(tmp_path: Path) -> None:
    """10^12 ids in 4,000 files: none is opened, and the list of them is looked at a dozen times."""

    class Counted(int):
        looked = 0

        def __gt__(self, other: object) -> bool:
            Counted.looked += 1
            return int(self) > other  # type: ignore[operator]

    files = IdFiles([LocalFile(tmp_path, 2**28 - number) for number in range(4000)])
    for position in (0, 10**9, 10**12):
        Counted.looked = 0
        files._ends = [Counted(end) for end in files._ends]
        number, offset, left = files.find(position)
        assert Counted.looked <= 12
        assert position + left == int(files._ends[number])
        assert offset + left == files[number].tokens
