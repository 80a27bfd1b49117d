"""Validation reads every target once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tokens.conftest import IGNORE, counting

BLOCK = 8


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
@pytest.mark.parametrize("val_tokens", [2, 7, 8, 9, 10, 16, 17, 18, 24, 25, 26, 63, 64, 65, 66])
def test_every_target_comes_once_in_order_with_its_context(tmp_path: Path, val_tokens: int, batch_size: int) -> None:
    batches = list(counting(tmp_path, 100, BLOCK, val_tokens=val_tokens).val_batches(batch_size))
    targets = [int(target) for _, y in batches for target in y.ravel() if target != IGNORE]
    assert targets == list(range(1, val_tokens))
    for x, y in batches:
        valid = y != IGNORE
        np.testing.assert_array_equal(x[valid], y[valid] - 1)
        assert (x[~valid][1:] == 0).all(), "padding is an id that every model knows"
        assert (x[~valid][:1] == val_tokens - 1).all(), "before it stands the last token, which predicts nothing"


@pytest.mark.parametrize(
    ("val_tokens", "shapes"),
    [(2, [1]), (9, [1]), (10, [2]), (17, [2]), (18, [2, 1]), (33, [2, 2]), (34, [2, 2, 1])],
)
def test_only_the_last_batch_and_the_last_window_are_partial(tmp_path: Path, val_tokens: int, shapes: list[int]) -> None:
    batches = list(counting(tmp_path, 100, BLOCK, val_tokens=val_tokens).val_batches(2))
    assert [x.shape for x, _ in batches] == [y.shape for _, y in batches] == [(rows, BLOCK) for rows in shapes]
    ignored = [int((row == IGNORE).sum()) for _, y in batches for row in y]
    assert ignored[:-1] == [0] * (len(ignored) - 1)
    assert ignored[-1] == -(val_tokens - 1) % BLOCK
    last = batches[-1][1][-1]
    assert (last[BLOCK - ignored[-1] :] == IGNORE).all(), "padding stands at the end"


@pytest.mark.parametrize("max_tokens", [1, 7, 8, 9, 20, 39, 40, 41, 1000])
def test_max_tokens_ends_it_early_at_exactly_that_many_targets(tmp_path: Path, max_tokens: int) -> None:
    dataset = counting(tmp_path, 100, BLOCK, val_tokens=41)
    targets = [int(target) for _, y in dataset.val_batches(3, max_tokens) for target in y.ravel() if target != IGNORE]
    assert targets == list(range(1, min(max_tokens, 40) + 1))


def test_validation_is_the_same_for_every_seed_and_time(tmp_path: Path) -> None:
    first = list(counting(tmp_path, 100, BLOCK, seed=1, val_tokens=50).val_batches(3))
    dataset = counting(tmp_path, 100, BLOCK, seed=2, val_tokens=50)
    dataset.batch(3, 4)
    for _ in range(2):
        for (x, y), (first_x, first_y) in zip(dataset.val_batches(3), first, strict=True):
            np.testing.assert_array_equal(x, first_x)
            np.testing.assert_array_equal(y, first_y)


def test_a_batch_can_be_changed_without_touching_the_file(tmp_path: Path) -> None:
    dataset = counting(tmp_path, 100, BLOCK, val_tokens=50)
    before = [(dataset.shards.folder / f"{split}.bin").read_bytes() for split in ("train", "val")]
    for x, y in [dataset.batch(0, 2), *dataset.val_batches(3)]:
        x += 1
        y += 1
    assert [(dataset.shards.folder / f"{split}.bin").read_bytes() for split in ("train", "val")] == before
