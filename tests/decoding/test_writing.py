"""Rows are written as each would be alone, token by token, from the beginning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cai.decoding.chooser import Chooser
from cai.decoding.reader import CachedReader, PlainReader, Reader
from cai.decoding.row import Piece, Row
from cai.decoding.writing import Limits, Writer
from tests.decoding.making import LETTERS, MODES, Stub, counting_up, options, rows_of, sure_of
from tests.model.making import FAMILIES, VOCAB_SIZE, build_random, random_ids
from tests.model.test_isolation import every_case

IDS = random_ids(400).tolist()
PROMPTS = [IDS[30 * n : 30 * n + length] for n, length in enumerate((3, 16, 1, 8, 15, 17, 25, 2, 40))]
LIMITS: dict[str, Any] = {"stop_ids": frozenset({0, 1}), "stop": (), "max_new_tokens": 20}
Text = tuple[list[int], str, str | None]


class Noting(PlainReader):
    """Notes which rows it is asked about."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.asked: list[list[int]] = []

    def _logits(self, rows: Sequence[Row], drafts: Sequence[Sequence[int]]) -> Tensor:
        self.asked.append([row.key[0] for row in rows])
        return super()._logits(rows, drafts)


def writer(reader: Reader, changes: dict[str, object] | None = None, **limits: Any) -> Writer:
    return Writer(reader, Chooser(options(**changes or {"temperature": 0.0}), 7), Limits(**LIMITS | limits), LETTERS)


def texts(writer: Writer, rows: Iterable[Row]) -> list[Text]:
    """Ids, text and end of each row, in the order of their keys."""
    pieces: dict[Row, list[Piece]] = {}
    ended = set()
    for row, piece in writer.write(rows):
        assert row not in ended, "nothing comes after the last piece"
        pieces.setdefault(row, []).append(piece)
        assert row.written == [each.id for each in pieces[row] if each.id is not None]
        if row.end:
            ended.add(row)
    assert ended == set(pieces)
    return [
        (row.written, "".join(each.text for each in pieces[row]), row.end) for row in sorted(pieces, key=lambda r: r.key)
    ]


def alone(model: Any, changes: dict[str, object], key: tuple[int, ...], prompt: list[int], **limits: Any) -> Text:
    """What ``key`` must get, by the rules spelled out: each token after a pass over all that the model sees."""
    allowed, chooser = Limits(**LIMITS | limits), Chooser(options(**changes), 7)
    seen, written, text = list(prompt), [], ""
    while True:
        if len(seen) > model.block_size:
            seen = seen[-max(1, model.block_size // 2) :]
        (number,) = chooser.choose(model(torch.tensor([seen]))[0, -1:].detach(), [written], [key])
        if number in allowed.stop_ids:
            return written, text, "tag"
        seen.append(number)
        written.append(number)
        text += LETTERS[number].decode()
        if found := [text.index(stop) for stop in allowed.stop if stop in text]:
            return written, text[: min(found)], "stop"
        if len(written) == allowed.max_new_tokens:
            return written, text, "length"


@every_case
@pytest.mark.parametrize("mode", MODES)
def test_neither_cache_nor_batch_nor_drafts_change_a_text(family: str, options: dict[str, object], mode: str) -> None:
    """Prompts of all lengths, past the end of the block, more of them than are written at once."""
    model = build_random(family, **options)
    expected = [alone(model, MODES[mode], (n,), prompt) for n, prompt in enumerate(PROMPTS)]
    assert any(len(prompt) + len(ids) > 2 * 16 for prompt, (ids, _, _) in zip(PROMPTS, expected, strict=True))
    for kind, batch_size, lookup_tokens in [
        (PlainReader, 3, 4),
        (CachedReader, 1, 0),
        (CachedReader, 4, 3),
        (CachedReader, 20, 0),
    ]:
        how = {"batch_size": batch_size, "lookup_tokens": lookup_tokens}
        found = texts(writer(kind(model), MODES[mode], **how), rows_of(*PROMPTS))
        assert found == expected, (kind.__name__, how)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("block_size", [1, 3, 200])
def test_texts_are_the_same_in_blocks_of_every_size(family: str, block_size: int) -> None:
    model, changes = build_random(family, block_size=block_size), MODES["sampled"]
    expected = [alone(model, changes, (n,), prompt) for n, prompt in enumerate(PROMPTS)]
    for kind in (PlainReader, CachedReader):
        found = texts(writer(kind(model), changes, batch_size=4, lookup_tokens=2), rows_of(*PROMPTS, block_size=block_size))
        assert found == expected


# Drafts


@pytest.mark.parametrize("size", [1, 3, 5])
def test_drafts_save_passes_where_a_text_repeats_itself(size: int) -> None:
    prompt, limits = [2, 3, 4, 5, 6, 7, 2], {"max_new_tokens": 60, "stop_ids": frozenset({0})}

    def model() -> Stub:  # 2, 3, ..., 7, 2, 3, ...
        return Stub(lambda ids: sure_of((ids[-1] - 1) % 6 + 2), block_size=100)

    slow, fast = model(), model()
    expected = texts(writer(PlainReader(slow), **limits), rows_of(prompt, block_size=100))
    found = texts(writer(PlainReader(fast), lookup_tokens=size, **limits), rows_of(prompt, block_size=100))
    assert found == expected
    assert len(slow.inputs) == 60
    assert len(fast.inputs) == -(-60 // (1 + size)), "each pass gives what is drafted and one more"


def doubtful(ids: list[int]) -> Tensor:
    """Mostly the next of six ids, now and then another: drafts of it are right and wrong."""
    return torch.full((VOCAB_SIZE,), -1e9).index_fill(0, torch.arange(2, 8), 0.0) + sure_of((ids[-1] - 1) % 6 + 2) * 0.03


@pytest.mark.parametrize("changes", [{}, {"top_k": 3}, {"frequency_penalty": 0.05, "no_repeat_ngram": 9}], ids=str)
def test_drawn_texts_are_drafted_too_and_stay_the_same(changes: dict[str, object]) -> None:
    prompts = [[2, 3, 4, 5, 6, 7, 2], [5, 6, 5, 6], [3]]
    slow, fast = Stub(doubtful, 20), Stub(doubtful, 20)
    expected = texts(writer(PlainReader(slow), changes, max_new_tokens=50), rows_of(*prompts, block_size=20))
    drafting = writer(PlainReader(fast), changes, max_new_tokens=50, lookup_tokens=4)
    assert texts(drafting, rows_of(*prompts, block_size=20)) == expected
    assert len(slow.inputs) == 150
    assert 40 < len(fast.inputs) < 110


# Ends


@pytest.mark.parametrize("lookup_tokens", [0, 4])
@pytest.mark.parametrize(
    ("limits", "ids", "text", "end"),
    [
        ({"stop_ids": {5}}, [3, 4], "#$", "tag"),
        ({"stop_ids": {3}}, [], "", "tag"),
        ({"stop_ids": {5, 4}}, [3], "#", "tag"),
        ({"stop": ("$%",)}, [3, 4, 5], "#", "stop"),
        ({"stop": ("%&", "$")}, [3, 4], "#", "stop"),
        ({"stop": ("#",)}, [3], "", "stop"),
        ({"max_new_tokens": 1}, [3], "#", "length"),
        ({"max_new_tokens": 3}, [3, 4, 5], "#$%", "length"),
        ({"max_new_tokens": 3, "stop": ("%&",)}, [3, 4, 5], "#$%", "length"),  # what was held back is shown
        ({"stop_ids": {6}, "stop": ("$%+",)}, [3, 4, 5], "#$%", "tag"),
        ({"max_new_tokens": 3, "stop": ("%",)}, [3, 4, 5], "#$", "stop"),  # if it is both, it is a stop
        ({"max_new_tokens": 3, "stop_ids": {6}}, [3, 4, 5], "#$%", "length"),
    ],
)
def test_a_text_ends_at_a_tag_a_stop_or_its_length(
    limits: dict[str, Any], ids: list[int], text: str, end: str, lookup_tokens: int
) -> None:
    """With drafts, in their middle: the prompt holds the whole text already, and what ends it too."""
    model = counting_up(50, block_size=100)
    found = texts(
        writer(PlainReader(model), lookup_tokens=lookup_tokens, **limits), rows_of([*range(20), 2], block_size=100)
    )
    assert found == [(ids, text, end)]
    count = len(ids) + (end == "tag")
    assert len(model.inputs) == (-(-count // 5) if lookup_tokens else count), "nothing is computed after the end"


def test_the_last_piece_of_a_text_that_a_tag_ends_has_no_token_but_what_was_held_back() -> None:
    writing = writer(PlainReader(counting_up(50)), stop_ids=frozenset({6}), stop=("$%+",))
    assert [tuple(piece) for _, piece in writing.write(rows_of([2]))] == [
        (3, "#", ()),
        (4, "", ()),
        (5, "", ()),
        (None, "$%", ()),
    ]


# Alternatives


@pytest.mark.parametrize("lookup_tokens", [0, 4])
@pytest.mark.parametrize("mode", ["greedy", "penalized"])
def test_alternatives_are_the_likeliest_with_the_probabilities_that_the_model_gives(mode: str, lookup_tokens: int) -> None:
    """Before any option changes them, and at the place of each token of a draft too."""
    model = build_random("llama", block_size=64)
    (row,) = rows_of(PROMPTS[1], block_size=64)
    writing = writer(CachedReader(model), MODES[mode], alternatives=3, lookup_tokens=lookup_tokens, stop_ids=frozenset())
    ids = list(PROMPTS[1])
    for _, piece in writing.write([row]):
        top = model(torch.tensor([ids]))[0, -1].softmax(-1).topk(3)
        assert [each.id for each in piece.alternatives] == top.indices.tolist()
        assert [each.probability for each in piece.alternatives] == pytest.approx(top.values.tolist(), abs=1e-6)
        ids.append(piece.id)
    assert len(ids) == 36


# Laziness


def test_nothing_is_computed_or_asked_for_before_its_turn() -> None:
    taken: list[int] = []

    def rows() -> Iterator[Row]:
        for row in rows_of(*([2] for _ in range(9))):
            taken.append(row.key[0])
            yield row

    model = counting_up(50)
    writing = writer(PlainReader(model), batch_size=2, max_new_tokens=2).write(rows())
    assert (taken, model.inputs) == ([], [])
    seen = []
    for row, piece in writing:
        seen.append((row.key[0], piece.id, len(taken), len(model.inputs)))
        if len(seen) == 6:
            break
    assert seen == [(0, 3, 2, 2), (1, 3, 2, 2), (0, 4, 2, 4), (1, 4, 2, 4), (2, 3, 4, 6), (3, 3, 4, 6)]


def test_a_row_that_has_ended_is_read_no_more_and_the_next_takes_its_place_at_once() -> None:
    prompts = [[number] for number in (10, 19, 15, 18, 12)]
    reader = Noting(counting_up(50))
    found = texts(writer(reader, batch_size=2, stop_ids=frozenset({20})), rows_of(*prompts))
    assert [len(ids) for ids, _, _ in found] == [9, 0, 4, 1, 7]
    assert reader.asked == [[0, 1], *[[0, 2]] * 5, *[[0, 3]] * 2, *[[0, 4]] * 2, *[[4]] * 6]


def test_without_rows_there_is_nothing_to_write() -> None:
    assert list(writer(PlainReader(counting_up(50))).write([])) == []
