"""The batch of a step is a pure function of (seed, step)."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cai.errors import DataError, TrainingError
from cai.tokens.batches import TokenDataset
from tests.tokens.conftest import IGNORE, counting, make_shards

PRINT_BATCH = """
import sys
from pathlib import Path
from tests.tokens.conftest import counting
print(counting(Path(sys.argv[1]), 1000, 16).batch(12, 4)[0][:, 0].tolist())
"""


def starts(dataset: TokenDataset, step: int, batch_size: int) -> list[int]:
    """Where in the file the windows of a step begin; each token of ``counting`` is its position."""
    begin: list[int] = dataset.batch(step, batch_size)[0][:, 0].tolist()
    return begin


def epoch_starts(dataset: TokenDataset, epoch: int) -> list[int]:
    return starts(dataset, epoch, dataset.n_windows)


def test_a_batch_depends_on_the_step_alone_and_not_on_what_was_asked_before(tmp_path: Path) -> None:
    dataset = counting(tmp_path, 1000, 16)
    forward = [dataset.batch(step, 4) for step in range(60)]
    other = counting(tmp_path, 1000, 16)
    for step in np.random.default_rng(0).permutation(60).tolist():
        for again in (dataset.batch(step, 4), other.batch(step, 4)):
            np.testing.assert_array_equal(again, forward[step])


def test_another_process_gives_the_same_batch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_BATCH, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(starts(counting(tmp_path, 1000, 16), 12, 4))


def test_the_random_state_of_numpy_is_neither_read_nor_changed(tmp_path: Path) -> None:
    dataset = counting(tmp_path, 1000, 16)
    np.random.seed(0)
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    first = starts(dataset, 5, 4)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]
    np.random.seed(1)
    assert starts(dataset, 5, 4) == first


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 24, 100])
def test_the_windows_come_in_the_same_order_whatever_the_batch_size(tmp_path: Path, batch_size: int) -> None:
    dataset = counting(tmp_path, 500, 16)  # fewer windows than the largest batch: several epochs in one batch
    order = starts(dataset, 0, 600)
    pieces = [start for step in range(600 // batch_size) for start in starts(dataset, step, batch_size)]
    assert pieces == order[: len(pieces)]


def test_targets_are_the_tokens_that_follow_in_the_file(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).permutation(2000).tolist()
    dataset = TokenDataset(make_shards(tmp_path, ids), 16, 3, IGNORE)
    x, y = dataset.batch(4, 8)
    assert x.shape == y.shape == (8, 16)
    assert x.dtype == y.dtype == np.int64
    np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
    following = dict(itertools.pairwise(ids))
    assert y.ravel().tolist() == [following[token] for token in x.ravel().tolist()]


@pytest.mark.parametrize("block_size", [1, 7, 16])
@pytest.mark.parametrize("extra", [0, 1, 6, 7, 8, 15])
@pytest.mark.parametrize("blocks", [1, 2, 3, 10])
def test_an_epoch_takes_no_target_twice_and_leaves_less_than_two_windows_out(
    tmp_path: Path, blocks: int, extra: int, block_size: int
) -> None:
    tokens = blocks * block_size + extra + 1
    dataset = counting(tmp_path, tokens, block_size)
    for epoch in range(4):
        _, y = dataset.batch(epoch, dataset.n_windows)
        targets = y.ravel().tolist()
        assert len(set(targets)) == len(targets)
        assert tokens - 1 - len(targets) < 2 * block_size
        assert min(targets) >= 1
        assert max(targets) < tokens
        gaps = np.diff(sorted(targets))
        assert set(gaps.tolist()) <= {1}, "windows lie side by side"


@pytest.mark.parametrize("tokens", [17, 24, 25, 200])
def test_over_the_epochs_every_target_is_seen(tmp_path: Path, tokens: int) -> None:
    dataset = counting(tmp_path, tokens, 8)
    seen = {int(target) for epoch in range(100) for target in dataset.batch(epoch, dataset.n_windows)[1].ravel()}
    assert seen == set(range(1, tokens))


def test_epochs_differ_in_order_and_in_where_windows_begin(tmp_path: Path) -> None:
    dataset = counting(tmp_path, 1000, 16)
    epochs = [epoch_starts(dataset, epoch) for epoch in range(12)]
    assert len({tuple(epoch) for epoch in epochs}) == 12
    assert len({min(epoch) for epoch in epochs}) > 4
    assert all(epoch != sorted(epoch) for epoch in epochs)
    assert len({tuple(np.argsort(epoch)) for epoch in epochs}) == 12


def test_seeds_differ(tmp_path: Path) -> None:
    orders = {tuple(epoch_starts(counting(tmp_path, 1000, 16, seed), 0)) for seed in range(10)}
    assert len(orders) == 10


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_every_seed_that_a_run_may_have_works(tmp_path: Path, seed: int) -> None:
    assert len(set(epoch_starts(counting(tmp_path, 100, 8, seed), 0))) == 11


def test_a_step_far_ahead_is_as_near_as_the_first(tmp_path: Path) -> None:
    dataset = counting(tmp_path, 1000, 16)
    x, _ = dataset.batch(10**12, 4)
    assert x.shape == (4, 16)
    assert 0 <= x.min() <= x.max() < 999


@pytest.mark.parametrize("block_size", [1, 2, 16])
def test_the_smallest_text_is_one_window_and_its_last_target(tmp_path: Path, block_size: int) -> None:
    dataset = counting(tmp_path, block_size + 1, block_size)
    for step in range(3):
        x, y = dataset.batch(step, 2)
        assert x.tolist() == [list(range(block_size))] * 2
        assert y.tolist() == [list(range(1, block_size + 1))] * 2


@pytest.mark.parametrize("tokens", [2, 15, 16])
def test_a_training_text_below_one_window_is_refused_with_its_numbers(tmp_path: Path, tokens: int) -> None:
    with pytest.raises(DataError, match=rf"training text must have at least 17 tokens .* but has {tokens}\. Use more text"):
        counting(tmp_path, tokens, 16)


@pytest.mark.parametrize("val_tokens", [1])
def test_a_validation_text_without_a_target_is_refused_with_its_numbers(tmp_path: Path, val_tokens: int) -> None:
    with pytest.raises(DataError, match=rf"validation text must have at least 2 tokens, but has {val_tokens}\. Use"):
        counting(tmp_path, 100, 16, val_tokens=val_tokens)


def test_where_a_batch_lies_is_told_in_words_that_lead_to_its_text(tmp_path: Path) -> None:
    dataset = counting(tmp_path, 1000, 16)  # 61 windows
    for step in (0, 7, 15, 40):
        said = dataset.locate(step, 4)
        begin = ", ".join(map(str, starts(dataset, step, 4)))
        epoch, position = divmod(4 * step, dataset.n_windows)
        assert said == (
            f"4 windows from position {position} of epoch {epoch}, which begin at tokens {begin} of {tmp_path / 'train.bin'}"
        )


@pytest.mark.parametrize(("batch_size", "more"), [(1, ""), (8, ""), (9, ", ..."), (500, ", ...")])
def test_of_a_large_batch_the_first_eight_windows_are_told(tmp_path: Path, batch_size: int, more: str) -> None:
    dataset = counting(tmp_path, 1000, 16)
    begin = ", ".join(map(str, starts(dataset, 3, batch_size)[:8]))
    assert f"begin at tokens {begin}{more} of {tmp_path}" in dataset.locate(3, batch_size)


def test_where_a_batch_lies_can_be_told_when_its_file_is_gone(tmp_path: Path) -> None:
    dataset = counting(tmp_path, 1000, 16)
    said = dataset.locate(3, 4)
    (tmp_path / "train.bin").unlink()
    assert dataset.locate(3, 4) == said


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_shard_that_vanishes_during_a_run_is_one_message_with_its_path_and_a_remedy(tmp_path: Path, split: str) -> None:
    dataset = counting(tmp_path, 1000, 16)
    dataset.batch(0, 4)
    (tmp_path / f"{split}.bin").unlink()
    said = rf"{split}\.bin must stay as it is while a run reads it, .*No such file.*resume the run"
    with pytest.raises(TrainingError, match=said):
        dataset.batch(1, 4) if split == "train" else next(dataset.val_batches(4))


@pytest.mark.parametrize("size", [0, 99, 100, 5000])  # of numbers of 4 bytes
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_shard_of_another_length_is_told_like_one_that_vanished(tmp_path: Path, split: str, size: int) -> None:
    dataset = counting(tmp_path, 1000, 16, val_tokens=100)
    os.truncate(tmp_path / f"{split}.bin", size)
    with pytest.raises(TrainingError, match=rf"{split}\.bin must stay as it is") as raised:
        dataset.batch(0, 4) if split == "train" else next(dataset.val_batches(4))
    assert raised.value.exit_code == 1
    if size in (100, 5000):
        assert f"(it has {size // 4} tokens, not {1000 if split == 'train' else 100})" in str(raised.value)
