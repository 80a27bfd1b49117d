"""What a decoder reads piece by piece, each row at its own pace, is what it reads at once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cai.model.cache import Cache
from cai.model.layers import SHORT
from tests.model.making import VOCAB_SIZE, build_random, random_ids
from tests.model.test_isolation import every_case

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
WIDTHS = (1, 1, 2, 5, 9)
FILLING = 3
"""A token that stands where a row has nothing more to read."""
lengths_of_T = pytest.mark.parametrize("T", [16, SHORT + 20])


def read(model: Any, cache: Cache, *chunks: Sequence[int]) -> list[Tensor]:
    """One pass over a chunk for each row, shorter ones filled; of each its logits ``(n, V)``. All that is read stays."""
    width = max(map(len, chunks))
    ids = torch.tensor([[*chunk, *[FILLING] * (width - len(chunk))] for chunk in chunks])
    logits = model.read(ids, cache, torch.arange(width).expand(len(chunks), -1))
    cache.lengths = [length + len(chunk) for length, chunk in zip(cache.lengths, chunks, strict=True)]
    return [row[: len(chunk)] for row, chunk in zip(logits, chunks, strict=True)]


def read_all(model: Any, ids: Tensor, together: bool) -> Tensor:
    """Logits ``(B, T, V)`` of ``ids (B, T)``, read a few at a time, in all rows as many or in each by chance."""
    chance, cache = random.Random(1), model.new_cache(len(ids))
    found: list[list[Tensor]] = [[] for _ in ids]
    while min(cache.lengths) < ids.shape[1]:
        width = chance.choice(WIDTHS)
        takes = [width if together else chance.randint(0, width) for _ in ids]
        chunks = [row[done : done + take].tolist() for row, done, take in zip(ids, cache.lengths, takes, strict=True)]
        if any(chunks):
            for row, logits in zip(found, read(model, cache, *chunks), strict=True):
                row.append(logits)
    return torch.stack([torch.cat(row) for row in found])


@every_case
@lengths_of_T
@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_logits_read_in_chunks_are_those_of_one_pass(
    family: str, options: dict[str, object], T: int, together: bool, dtype: torch.dtype
) -> None:
    # Room behind T: while one row reads its last ids, another that is through reads filling.
    model, ids = build_random(family, std=0.2, block_size=T + max(WIDTHS), **options).to(dtype), random_ids(3, T)
    close = CLOSE if dtype == torch.float64 else {"rtol": 0, "atol": 1e-4}
    found = read_all(model, ids, together)
    assert found.dtype == dtype
    torch.testing.assert_close(found, model(ids), **close)


@every_case
@pytest.mark.parametrize("tie_weights", [True, False])
def test_a_tied_head_and_one_of_its_own_read_as_they_do_in_a_pass(
    family: str, options: dict[str, object], tie_weights: bool
) -> None:
    model = build_random(family, block_size=30, tie_weights=tie_weights, **options)
    torch.testing.assert_close(read_all(model, random_ids(2, 16), False), model(random_ids(2, 16)), **CLOSE)


@every_case
def test_the_last_position_of_a_block_can_be_read_and_none_beyond(family: str, options: dict[str, object]) -> None:
    model, ids = build_random(family, **options), random_ids(2, 17)
    cache = model.new_cache(2)
    found = [read(model, cache, *ids[:, t : t + 1].tolist())[0] for t in range(16)]
    torch.testing.assert_close(torch.cat(found), model(ids[:1, :16])[0], **CLOSE)
    with pytest.raises(ValueError, match=r"at most model\.block_size \(16\) long, but is 17"):
        read(model, cache, *ids[:, 16:].tolist())
    with pytest.raises(ValueError, match=r"at most model\.block_size \(16\) long, but is 17"):
        read(model, model.new_cache(1), ids[0].tolist())
    cache.lengths = [3, 13]
    with pytest.raises(ValueError, match=r"at most model\.block_size \(16\) long, but is 18"):
        read(model, cache, *ids[:, :5].tolist())
    assert cache.lengths == [3, 13], "a refused pass takes nothing back"


@every_case
def test_drafts_that_were_wrong_are_written_over_and_never_seen(family: str, options: dict[str, object]) -> None:
    model, ids = build_random(family, **options), random_ids(3, 16)
    right, wrong = ids.tolist(), ((ids + 1) % VOCAB_SIZE).tolist()
    cache = model.new_cache(3)
    read(model, cache, *(row[:6] for row in right))
    read(model, cache, *(row[6:10] for row in wrong))
    cache.lengths = [6, 7, 4]  # nothing of the draft, one id of it, and not even all from before it
    right[1][6] = wrong[1][6]
    found = read(model, cache, right[0][6:8], right[1][7:12], right[2][4:6])
    expected = model(torch.tensor(right))
    for logits, row, start in zip(found, expected, (6, 7, 4), strict=True):
        torch.testing.assert_close(logits, row[start : start + len(logits)], **CLOSE)
    cache.lengths = [0, 0, 0]  # a whole text can be one, too
    torch.testing.assert_close(read(model, cache, *right)[2], expected[2], **CLOSE)


@every_case
def test_only_the_rows_that_are_kept_remain_and_go_on_as_before(family: str, options: dict[str, object]) -> None:
    model, ids = build_random(family, **options), random_ids(4, 16).tolist()
    cache = model.new_cache(4)
    read(model, cache, ids[0][:3], ids[1][:7], ids[2][:5], ids[3][:1])
    cache.keep([2, 0])
    assert cache.lengths == [5, 3]
    found = read(model, cache, ids[2][5:9], ids[0][3:4])
    expected = model(torch.tensor([ids[2], ids[0]]))
    torch.testing.assert_close(found[0], expected[0, 5:9], **CLOSE)
    torch.testing.assert_close(found[1], expected[1, 3:4], **CLOSE)


@every_case
@pytest.mark.parametrize("lengths", [(2, 9, 4), (0, 0, 0)], ids=["in use", "unused"])
def test_rows_of_another_cache_take_the_place_of_those_they_replace(
    family: str, options: dict[str, object], lengths: tuple[int, ...]
) -> None:
    model, ids = build_random(family, **options), random_ids(5, 16).tolist()
    cache, other = model.new_cache(3), model.new_cache(2)
    if any(lengths):
        read(model, cache, *(row[:length] for row, length in zip(ids, lengths, strict=False)))
    read(model, other, ids[3][:6], ids[4][:1])
    cache.put([1, 2], other)  # one row shorter than that in its place, one longer
    assert cache.lengths == [lengths[0], 6, 1]
    read(model, other, ids[0][:3], ids[0][:3])  # the other goes its own way
    starts = cache.lengths
    rows = [ids[0], ids[3], ids[4]]
    found = read(model, cache, *(row[start : start + 4] for row, start in zip(rows, starts, strict=True)))
    for logits, row, start in zip(found, model(torch.tensor(rows)), starts, strict=True):
        torch.testing.assert_close(logits, row[start : start + 4], **CLOSE)


@every_case
def test_a_row_knows_nothing_of_the_others(family: str, options: dict[str, object]) -> None:
    """Not of their ids, nor of what fills them, nor of what was in a place before."""
    model, ids = build_random(family, **options), random_ids(2, 16).tolist()

    def second(of_first: list[int], draft: list[int]) -> list[Tensor]:
        cache = model.new_cache(2)
        found = [read(model, cache, of_first[:4], ids[1][:3])[1]]
        read(model, cache, draft, draft)
        cache.lengths = [4, 3]
        return [
            *found,
            read(model, cache, of_first[4:9], ids[1][3:5])[1],
            read(model, cache, of_first[9:10], ids[1][5:6])[1],
        ]

    some = second(ids[0], [5, 6, 7])
    for logits, others in zip(some, second([(number + 1) % VOCAB_SIZE for number in ids[0]], [8, 9, 10]), strict=True):
        assert torch.equal(logits, others)
    torch.testing.assert_close(torch.cat(some), model(torch.tensor(ids[1:]))[0, :6], **CLOSE)


@every_case
def test_logits_are_given_at_the_places_asked_for(family: str, options: dict[str, object]) -> None:
    model, ids = build_random(family, **options), random_ids(2, 6)
    expected = model(ids)
    found = model.read(ids, model.new_cache(2), torch.tensor([[5, 0], [2, 2]]))
    torch.testing.assert_close(found, torch.stack([expected[0, [5, 0]], expected[1, [2, 2]]]), **CLOSE)


def test_a_pass_sees_what_is_before_it_in_its_row_and_stands_behind_it() -> None:
    cache, ids = Cache(2, 9), torch.zeros(2, 2, dtype=torch.int64)
    assert cache.begin(ids) == (None, None, cache, None), "a first pass is one over plain rows"
    cache.lengths = [3, 3]
    alone = cache.begin(ids[:, :1])
    assert (alone.mask, alone.positions) == (None, slice(3, 4)), "one token behind rows of one length sees everything"
    context = cache.begin(ids)
    assert context.mask is not None
    assert context.positions == slice(3, 5)
    assert context.mask.tolist() == [[[[True] * 4 + [False], [True] * 5]]]
    cache.lengths = [0, 3]
    context = cache.begin(ids)
    assert context.mask is not None
    assert isinstance(context.positions, Tensor)
    assert context.positions.tolist() == [[0, 1], [3, 4]]
    sees = [[[s for s in range(5) if of_token[s]] for of_token in row] for row in context.mask[:, 0].tolist()]
    assert sees == [[[0], [0, 1]], [[0, 1, 2, 3], [0, 1, 2, 3, 4]]]


@pytest.mark.parametrize("lengths", [[3, 3], [1, 3], [3, 0]])
def test_what_is_kept_comes_back_row_by_row(lengths: list[int]) -> None:
    layer, cache, ids = nn.Identity(), Cache(2, 9), torch.zeros(2, 3, dtype=torch.int64)
    cache.begin(ids)
    first = torch.tensor([[[1.0], [2], [3]], [[4], [5], [6]]])
    assert cache.behind(layer, first, 2)[:, :, 0].tolist() == [[0, 0, 1, 2, 3], [0, 0, 4, 5, 6]]
    assert torch.equal(cache.extend(layer, "k", first), first)
    cache.lengths = lengths
    cache.begin(ids)
    store = [[1.0, 2, 3, 0, 0, 0], [4.0, 5, 6, 0, 0, 0]]
    for row, length in zip(store, lengths, strict=True):
        row[length : length + 3] = [7, 8, 9]
    again = torch.tensor([[[7.0], [8], [9]]]).expand(2, -1, -1)
    extended = cache.extend(layer, "k", again)[:, :, 0].tolist()
    assert extended == [row[: max(lengths) + 3] for row in store]
    around = [[0, 0, *row][length : length + 5] for row, length in zip(store, lengths, strict=True)]
    assert cache.behind(layer, again, 2)[:, :, 0].tolist() == around


def test_layers_and_names_are_kept_apart() -> None:
    one, two, cache = nn.Identity(), nn.Identity(), Cache(1, 4)
    cache.begin(torch.zeros(1, 1, dtype=torch.int64))
    for number, (layer, name) in enumerate([(one, "k"), (one, "v"), (two, "k")]):
        cache.extend(layer, name, torch.full((1, 1, 1), float(number)))
    cache.lengths = [1]
    cache.begin(torch.zeros(1, 1, dtype=torch.int64))
    new = torch.full((1, 1, 1), 9.0)
    assert [cache.extend(*key, new).flatten().tolist() for key in [(one, "k"), (one, "v"), (two, "k")]] == [
        [0, 9],
        [1, 9],
        [2, 9],
    ]


def test_room_for_all_positions_is_taken_once() -> None:
    layer, cache = nn.Identity(), Cache(2, 100)
    places = set()
    for length in range(5):
        cache.lengths = [length, length]
        cache.begin(torch.zeros(2, 1, dtype=torch.int64))
        found = cache.extend(layer, "k", torch.ones(2, 1, 3))
        if length:  # the first pass gets back what it gave
            places.add(found.untyped_storage().data_ptr())
            assert found.untyped_storage().nbytes() == 2 * 100 * 3 * 4
    assert len(places) == 1
