"""Rows of documents, targets in answers alone, and documents kept apart, each against a plain reading of what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.errors import DataError
from cai.tokens.batches import FILLING, TokenDataset
from cai.tokens.shards import Shards
from cai.tokens.writing import SPLITS, SplitStats, index_path, shard_path
from tests.tokens.conftest import IGNORE, Documents, documents_of

BLOCK = 16
VAL: Documents = [(3, 2), (1, 4)]
LONGER = st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 2, 5 * BLOCK, 1000])
documents = st.lists(
    st.tuples(st.integers(1, 12) | LONGER, st.integers(0, 12) | st.just(40)), min_size=1, max_size=40
).filter(lambda some: max(map(sum, some)) > 1)
with_answers = documents.map(lambda some: [*some, (3, 5)])


def dataset_of(
    train: Documents, val: Documents = VAL, block_size: int = BLOCK, seed: int = 5, **options: Any
) -> TokenDataset:
    return TokenDataset(documents_of(train, val), block_size, seed, IGNORE, **{"packing": "documents", **options})


def owners(some: Documents) -> list[int]:
    """The number of each token's document."""
    return [number for number, (before, of_answer) in enumerate(some) for _ in range(before + of_answer)]


def of_answers(some: Documents) -> set[int]:
    """Where the tokens of answers stand."""
    kinds = [kind for before, count in some for kind in [False] * before + [True] * count]
    return {place for place, is_answer in enumerate(kinds) if is_answer}


def firsts(some: Documents) -> set[int]:
    """Where documents begin."""
    lengths = [sum(one) for one in some]
    return {sum(lengths[:number]) for number in range(len(lengths))}


def counted(y: Any) -> list[int]:
    targets: list[int] = y[y != IGNORE].tolist()
    return targets


@pytest.mark.parametrize("block_size", [1, 2, BLOCK])
@given(some=documents)
def test_an_epoch_has_every_token_once_as_a_target_but_the_first_of_documents(block_size: int, some: Documents) -> None:
    dataset = dataset_of(some, block_size=block_size)
    for epoch in (0, 3):
        x, y = dataset.batch(epoch, dataset.n_windows)
        assert sorted(counted(y)) == sorted(set(range(len(owners(some)))) - firsts(some))
        np.testing.assert_array_equal(x[y != IGNORE], y[y != IGNORE] - 1)


@given(some=documents)
def test_no_target_is_of_another_document_than_the_token_before_it(some: Documents) -> None:
    dataset, owner = dataset_of(some), np.array(owners(some))
    x, y = dataset.batch(0, dataset.n_windows)
    np.testing.assert_array_equal(owner[x[y != IGNORE]], owner[y[y != IGNORE]])


@given(some=documents)
def test_rows_begin_where_documents_do_or_their_later_pieces(some: Documents) -> None:
    dataset = dataset_of(some)
    x, _ = dataset.batch(0, dataset.n_windows)
    pieces = {start + n for start, one in zip(sorted(firsts(some)), some, strict=True) for n in range(0, sum(one), BLOCK)}
    assert set(x[:, 0].tolist()) <= pieces


@given(some=documents)
def test_segments_number_the_documents_of_a_row_and_what_is_left_of_it(some: Documents) -> None:
    dataset, owner = dataset_of(some, isolate=True), np.array(owners(some))
    x, y, segments = dataset.batch(0, dataset.n_windows)
    plain = dataset_of(some).batch(0, dataset.n_windows)
    np.testing.assert_array_equal(plain, (x, y))
    for ids, targets, row in zip(x, y, segments, strict=True):
        numbers = [number for number in dict.fromkeys(row.tolist()) if number != FILLING]
        assert numbers == list(range(len(numbers)))
        assert (np.diff(row)[row[1:] != FILLING] >= 0).all()
        filling = row == FILLING
        assert not filling[: int((~filling).sum())].any()
        assert (ids[filling] == 0).all()
        assert (targets[filling] == IGNORE).all()
        for number in numbers:
            mine = ids[row == number]
            assert (np.diff(mine) == 1).all()
            assert len(set(owner[mine].tolist())) == 1


@pytest.mark.parametrize("batch_size", [1, 3])
@given(some=documents)
def test_validation_has_the_same_targets_in_order(batch_size: int, some: Documents) -> None:
    batches = list(dataset_of([(5, 0)], some).val_batches(batch_size))
    assert [target for _, y in batches for target in counted(y)] == sorted(set(range(len(owners(some)))) - firsts(some))
    assert [len(y) for _, y in batches[:-1]] == [batch_size] * (len(batches) - 1)


@pytest.mark.parametrize("max_tokens", [1, 15, 16, 17, 40, 10**6])
def test_validation_ends_after_so_many_targets(max_tokens: int) -> None:
    some = [(7, 3), (50, 1), (1, 0), (2, 2), (9, 9)]
    dataset = dataset_of([(5, 0)], some)
    whole = [target for _, y in dataset.val_batches(2) for target in counted(y)]
    assert [target for _, y in dataset.val_batches(2, max_tokens) for target in counted(y)] == whole[:max_tokens]


@pytest.mark.slow
@pytest.mark.parametrize("packing", ["stream", "documents"])
@given(some=with_answers)
def test_of_answers_every_token_and_nothing_else_is_a_target(
    packing: Literal["stream", "documents"], some: Documents
) -> None:
    dataset = dataset_of(some, some, block_size=2, packing=packing, loss="answer")
    _, y = dataset.batch(0, dataset.n_windows)
    expected = of_answers(some)
    if packing == "stream":  # of which an epoch leaves some windows out
        _, everything = dataset_of(some, some, block_size=2, packing="stream").batch(0, dataset.n_windows)
        expected &= set(counted(everything))
    assert sorted(counted(y)) == sorted(expected)
    found = [target for _, y in dataset.val_batches(3) for target in counted(y)]
    assert found == sorted(of_answers(some))
    assert len(found) == dataset.shards.val.answer_tokens


@pytest.mark.parametrize("block_size", [1, 5, BLOCK])
@given(some=with_answers, step=st.integers(0, 10**6))
def test_the_mask_of_a_window_is_that_of_its_tokens_one_by_one(block_size: int, some: Documents, step: int) -> None:
    options = {"packing": "stream", "block_size": block_size}
    some = [*some, (block_size, 1)]  # enough for a window
    x, y = dataset_of(some, loss="answer", **options).batch(step, 4)
    every = dataset_of(some, **options).batch(step, 4)
    np.testing.assert_array_equal(x, every[0])
    answers = of_answers(some)
    expected = [[target if target in answers else IGNORE for target in row] for row in every[1].tolist()]
    assert y.tolist() == expected


@pytest.mark.parametrize("options", [{}, {"loss": "answer", "isolate": True}, {"packing": "stream", "loss": "answer"}])
def test_a_batch_depends_on_the_step_alone_and_not_on_what_was_asked_before(options: dict[str, Any]) -> None:
    some = [(int(n) % 11 + 1, int(n) % 7) for n in np.random.default_rng(0).integers(0, 100, 200)]
    dataset = dataset_of(some, **options)
    forward = [dataset.batch(step, 4) for step in range(60)]
    other = dataset_of(some, **options)
    for step in np.random.default_rng(1).permutation(60).tolist():
        for again in (dataset.batch(step, 4), other.batch(step, 4)):
            np.testing.assert_array_equal(again, forward[step])
    assert dataset.batch(10**12, 3)[0].shape == (3, BLOCK)


def test_epochs_have_the_same_rows_in_another_order() -> None:
    dataset = dataset_of([(n % 13 + 2, 0) for n in range(300)])
    epochs = [[tuple(row) for row in dataset.batch(epoch, dataset.n_windows)[0].tolist()] for epoch in range(4)]
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 1
    other_seed = dataset_of([(n % 13 + 2, 0) for n in range(300)], seed=6)
    assert epochs[0] != [tuple(row) for row in other_seed.batch(0, other_seed.n_windows)[0].tolist()]


def test_how_full_the_rows_are_is_known() -> None:
    assert dataset_of([(10, 0)] * 3).fill == pytest.approx(10 / 17)  # of 17 tokens, one being a target alone
    assert dataset_of([(10, 0), (7, 0)] * 3).fill == 1
    assert dataset_of([(10, 0)] * 3, packing="stream").fill == 1


def test_where_a_row_lies_is_told_by_its_first_document() -> None:
    dataset = dataset_of([(9, 0)] * 20)
    begin = ", ".join(map(str, dataset.batch(2, 3)[0][:, 0].tolist()))
    assert f"begin at tokens {begin} of nowhere" in dataset.locate(2, 3)


@pytest.mark.parametrize(("train", "val", "name"), [([(3, 0)], VAL, "training"), (VAL, [(3, 0)], "validation")])
@pytest.mark.parametrize("packing", ["stream", "documents"])
def test_answers_that_are_asked_for_and_missing_are_told_with_the_ways_out(
    train: Documents, val: Documents, name: str, packing: str
) -> None:
    said = rf"data\.loss=answer needs documents with an answer .*the {name} text has none\. Use data\.loss=all"
    with pytest.raises(DataError, match=said):
        dataset_of(train, val, block_size=2, packing=packing, loss="answer")


@pytest.mark.parametrize(("train", "val", "name"), [([(1, 0)] * 50, VAL, "training"), (VAL, [(1, 0)] * 50, "validation")])
def test_a_text_without_a_single_target_is_refused(train: Documents, val: Documents, name: str) -> None:
    with pytest.raises(DataError, match=rf"the {name} text must have a document of at least 2 tokens, but has none\. Use"):
        dataset_of(train, val)


def test_a_text_shorter_than_a_row_is_enough() -> None:
    x, y = dataset_of([(2, 0)]).batch(0, 2)
    assert x.shape == (2, BLOCK)
    assert counted(y) == [1, 1]


def test_in_a_stream_nothing_can_be_isolated() -> None:
    with pytest.raises(ValueError, match="isolate needs packing='documents', but packing is 'stream'"):
        dataset_of(VAL, packing="stream", isolate=True)


def test_files_and_their_index_give_what_was_written(tmp_path: Path) -> None:
    stats = {}
    for split in SPLITS:
        ids: list[int] = []
        index: list[tuple[int, int]] = []
        for number in range(5):
            for name, before, of_answer in (("asked", 3 + number, 6), ("plain", 4, 0)):
                index.append((len(ids), len(ids) + before))
                first = 100 * number + 50 * (split == "val") + 20 * (name == "plain")
                ids += range(first, first + before + of_answer)
        np.array(ids, dtype=np.uint16).tofile(shard_path(tmp_path, split, 0))
        np.array(index, dtype="<i8").tofile(index_path(tmp_path, split))
        stats[split] = SplitStats(len(index), 1, len(ids), 0, answer_bytes=1, answer_tokens=30)
    shards = Shards(tmp_path, "test", "test", "uint16", 1000, stats["train"], stats["val"])
    dataset = TokenDataset(shards, BLOCK, 1, IGNORE, packing="documents", loss="answer", isolate=True)
    _, y, segments = dataset.batch(0, dataset.n_windows)
    answers = [list(range(100 * number + 3 + number, 100 * number + 9 + number)) for number in range(5)]
    assert sorted(counted(y)) == [target for answer in answers for target in answer]
    assert sorted(counted(np.concatenate([y for _, y, _ in dataset.val_batches(2)]))) == [
        target + 50 for answer in answers for target in answer
    ]
    assert segments.max() >= 1
