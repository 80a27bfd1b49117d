"""What a batch reads from the shard is what stands there, and only that."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cai.errors import TrainingError
from cai.tokens.batches import TokenDataset
from tests.tokens.conftest import IGNORE, counting, make_shards

BLOCK = 16


def random_dataset(folder: Path, dtype: str, tokens: int = 1000, seed: int = 5) -> TokenDataset:
    """Random ids, up to the largest that the type holds."""
    largest = 2**16 if dtype == "uint16" else 2**31
    train, val = (np.random.default_rng(n).integers(0, largest, count).tolist() for n, count in ((1, tokens), (2, 101)))
    return TokenDataset(make_shards(folder, train, val, dtype), BLOCK, seed, IGNORE)


def mapped(dataset: TokenDataset, split: str) -> Any:
    return np.memmap(dataset.shards.folder / f"{split}.bin", dtype=dataset.shards.dtype, mode="r")


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
@pytest.mark.parametrize("batch_size", [1, 4, 150])  # the last is more than two epochs
def test_windows_are_slices_of_the_file(tmp_path: Path, dtype: str, batch_size: int) -> None:
    dataset = random_dataset(tmp_path, dtype)
    ids = mapped(dataset, "train")
    for step in (0, 1, 15, 61, 10**9):
        x, y = dataset.batch(step, batch_size)
        starts = [start for ((start, _),) in dataset._rows(step, batch_size)]
        np.testing.assert_array_equal(x, [ids[start : start + BLOCK] for start in starts])
        np.testing.assert_array_equal(y, [ids[start + 1 : start + BLOCK + 1] for start in starts])
        assert x.dtype == y.dtype == np.int64


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_validation_is_the_file_from_end_to_end(tmp_path: Path, dtype: str) -> None:
    dataset = random_dataset(tmp_path, dtype)
    ids = mapped(dataset, "val").astype(np.int64)
    pairs = [(x[y != IGNORE], y[y != IGNORE]) for x, y in dataset.val_batches(3)]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in pairs]), ids[:-1])
    np.testing.assert_array_equal(np.concatenate([y for _, y in pairs]), ids[1:])


def test_a_batch_across_the_border_of_two_epochs_is_the_end_of_one_and_the_beginning_of_the_next(tmp_path: Path) -> None:
    dataset = counting(tmp_path, 1000, BLOCK)
    assert dataset.n_windows % 8
    step = dataset.n_windows // 8  # it begins in epoch 0 and ends in epoch 1
    first = dataset.n_windows - 8 * step
    x, _ = dataset.batch(step, 8)
    ends, begins = counting(tmp_path, 1000, BLOCK), counting(tmp_path, 1000, BLOCK)
    np.testing.assert_array_equal(x[:first], ends.batch(0, dataset.n_windows)[0][-first:])
    np.testing.assert_array_equal(x[first:], begins.batch(1, dataset.n_windows)[0][: 8 - first])
    offsets = {int(row[0]) % BLOCK for row in x[:first]}, {int(row[0]) % BLOCK for row in x[first:]}
    assert [len(one) for one in offsets] == [1, 1]
    assert offsets[0] != offsets[1]  # each epoch has its own


def test_to_and_fro_over_a_border_gives_the_same_batches(tmp_path: Path) -> None:
    dataset = counting(tmp_path, 200, BLOCK)
    forward = {step: dataset.batch(step, 4) for step in range(20)}  # seven epochs
    assert dataset.n_windows * 7 < 80
    for step in (19, 0, 18, 3, 2, 3, 2, 10):
        np.testing.assert_array_equal(dataset.batch(step, 4), forward[step])


def test_a_batch_reads_its_own_bytes_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = counting(tmp_path, 100_000, BLOCK)
    read: list[int] = []

    class Noting(FileIO):
        def readinto(self, buffer: Any) -> int:
            read.append(count := super().readinto(buffer))
            return count

    monkeypatch.setattr("cai.tokens.idfiles.FileIO", Noting)
    dataset.batch(3, 4)
    assert read == [(BLOCK + 1) * 4] * 4


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_shard_that_is_cut_while_it_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str) -> None:
    dataset = counting(tmp_path, 1000, BLOCK, val_tokens=100)
    size = (tmp_path / f"{split}.bin").stat().st_size
    original = os.fstat

    def cut_after(descriptor: int) -> os.stat_result:
        found = original(descriptor)
        if found.st_size == size:
            os.truncate(tmp_path / f"{split}.bin", 10)
        return found

    monkeypatch.setattr(os, "fstat", cut_after)
    with pytest.raises(TrainingError, match=rf"{split}\.bin must stay as it is .*it has become shorter.*resume the run"):
        dataset.batch(0, 4) if split == "train" else next(dataset.val_batches(4))
