"""A reader with a cache says what one without says, whatever rows come and go."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cai.decoding.reader import CachedReader, PlainReader, Reader, reader_of
from cai.decoding.row import Row
from cai.model.decoder import Decoder
from tests.decoding.making import Stub, counting_up, rows_of, sure_of
from tests.model.making import FAMILIES, VOCAB_SIZE, build, build_random, random_ids
from tests.model.test_isolation import every_case

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
IDS = random_ids(200).tolist()
READERS = [PlainReader, CachedReader]
every_reader = pytest.mark.parametrize("kind", READERS, ids=["plain", "cached"])


def assert_agree(cached: Reader, rows: Sequence[Row], drafts: Sequence[Sequence[int]]) -> None:
    """With a pass over each row's context and draft from the beginning, behind the context and each id of the draft."""
    found = cached.logits(rows, drafts)
    assert found.shape == (len(rows), 1 + max(map(len, drafts)), VOCAB_SIZE)
    for row, draft, logits in zip(rows, drafts, found, strict=True):
        expected = cached.model(torch.tensor([[*row.context, *draft]]))[0, len(row.context) - 1 :]
        torch.testing.assert_close(logits[: 1 + len(draft)], expected, **CLOSE)


@every_reader
@every_case
def test_logits_are_those_behind_each_context_and_each_id_of_its_draft(
    family: str, options: dict[str, object], kind: type[Reader]
) -> None:
    model = build_random(family, **options)
    rows = rows_of(IDS[:1], IDS[1:8], IDS[10:20], IDS[20:40])
    assert_agree(kind(model), rows, [[5, 6], [], [1, 2, 3, 4], [7]])
    assert_agree(kind(model), rows[:1], [[]])


@every_case
def test_rows_that_come_and_go_are_read_as_if_each_were_alone(family: str, options: dict[str, object]) -> None:
    model = build_random(family, **options)
    a, b, c, d, e, f, g, h = rows_of(*(IDS[10 * n : 10 * n + 1 + (5 * n) % 9] for n in range(8)))
    reader = CachedReader(model)
    assert_agree(reader, [a, b, c], [[1, 2], [3], []])
    a.write([1, 2, 9])  # the draft was right
    b.write([8])  # and that one wrong
    c.write([7])
    assert_agree(reader, [a, b], [[], [4, 4]])  # c leaves
    b.write([4, 6])
    assert_agree(reader, [d, b], [[], []])  # d takes the place of a
    for row in (d, b):
        row.write([11])
    assert_agree(reader, [d, e, b, f], [[1], [], [2], []])  # more seats than before
    for row in (d, e, b, f):
        row.write([12])
    assert_agree(reader, [g, b, f], [[], [1], []])  # one leaves, and g comes in the place of another
    assert_agree(reader, [f], [[]])
    assert_agree(reader, [h], [[1]])


@every_case
def test_a_long_random_life_of_rows_is_read_right(family: str, options: dict[str, object]) -> None:
    """They draft, are accepted in part, pass the end of the block, leave, and are followed by others."""
    model, chance = build_random(family, **options), random.Random(2)

    def new() -> Row:
        return Row((0,), chance.choices(range(VOCAB_SIZE), k=chance.randint(1, 20)), 16)

    reader, live, cuts = CachedReader(model), [new() for _ in range(4)], 0
    for _ in range(40):
        room = min(16 - len(row.context) for row in live)
        drafts = [chance.choices(range(VOCAB_SIZE), k=chance.randint(0, min(4, room))) for _ in live]
        assert_agree(reader, live, drafts)
        for row, draft in zip(live, drafts, strict=True):
            before = len(row.context)
            row.write([*draft[: chance.randint(0, len(draft))], chance.randrange(VOCAB_SIZE)])
            cuts += len(row.context) < before
        if chance.random() < 0.5:
            live[chance.randrange(len(live))] = new()
        if chance.random() < 0.3:
            live.pop(chance.randrange(len(live)))
        if len(live) < 2:
            live += [new(), new()]
    assert cuts > 5, "the end of the block was passed"


@pytest.mark.parametrize("family", FAMILIES)
def test_each_id_is_read_once_and_all_again_when_the_context_is_cut(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (row, other) = build(family).eval(), rows_of(IDS[:7], IDS[:3])
    sizes: list[tuple[int, ...]] = []
    hidden = model.hidden

    def noted(ids: Tensor, context: Any) -> Tensor:
        sizes.append(tuple(ids.shape))
        return hidden(ids, context)

    monkeypatch.setattr(model, "hidden", noted)
    reader = CachedReader(model)
    for _ in range(11):
        reader.logits([row], [[]])
        row.write([1])
    # 7 ids at first; with the 17th, the last 8 remain.
    assert sizes == [(1, 6), *[(1, 1)] * 10, (1, 7), (1, 1)]
    sizes.clear()
    reader.logits([row], [[1, 2, 3]])
    row.write([1, 2, 9])
    reader.logits([row], [[]])
    assert sizes == [(1, 4), (1, 1)], "accepted ids of a draft are not read again"
    sizes.clear()
    reader.logits([other], [[]])
    assert sizes == [(1, 2), (1, 1)]


def test_the_plain_reader_gives_the_model_each_context_with_its_draft() -> None:
    model = counting_up(50)
    logits = PlainReader(model).logits(rows_of([1, 2], [7]), [[], [30, 40]])
    assert model.inputs == [[1, 2], [7, 30, 40]]
    assert logits[0, 0].equal(sure_of(3))
    assert [int(each.argmax()) for each in logits[1]] == [8, 31, 41]


@every_reader
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_logits_have_the_type_of_the_weights(kind: type[Reader], dtype: torch.dtype) -> None:
    logits = kind(build("modern").to(dtype)).logits(rows_of([1, 2, 3], [4]), [[5], []])
    assert logits.dtype == dtype
    assert not logits.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_between_two_tokens_the_model_is_in_the_mode_it_was(training: bool) -> None:
    model = counting_up(50).train(training)
    PlainReader(model).logits(rows_of([1]), [[]])
    assert model.modes == {(False, False, False, True)}
    assert (model.training, model.dropout.training) == (training, training)
    assert torch.is_grad_enabled()


@every_reader
def test_dropout_does_not_act_and_acts_again_later(kind: type[Reader]) -> None:
    model = build_random("gpt2", dropout=0.5).train()
    reader = kind(model)
    row = rows_of(IDS[:5])
    found = [reader.logits(row, [[]]) for _ in range(2)]
    torch.testing.assert_close(*found, **CLOSE)
    ids = torch.tensor([IDS[:5]])
    assert not torch.allclose(model(ids), model(ids))
    torch.testing.assert_close(found[0][0], model.eval()(ids)[0, -1:], **CLOSE)


@every_reader
def test_a_model_that_fails_gets_its_mode_back_too(kind: type[Reader], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Tensor:
        raise ArithmeticError

    model = build("gpt2").train()
    monkeypatch.setattr(model, "hidden", fail)
    with pytest.raises(ArithmeticError):
        kind(model).logits(rows_of([1, 2]), [[]])
    assert model.training
    assert model.h.training


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_read_with_a_cache(family: str) -> None:
    assert type(reader_of(build(family))) is CachedReader


class Own(Decoder):
    """As somebody may have written it who knows of no context."""

    def __init__(self) -> None:
        super().__init__(16, VOCAB_SIZE)
        self.table = nn.Embedding(VOCAB_SIZE, VOCAB_SIZE)

    def hidden(self, ids: Tensor) -> Tensor:  # type: ignore[override]
        return self.table(ids)  # type: ignore[no-any-return]

    def head_weight(self) -> Tensor:
        return self.table.weight


@pytest.mark.parametrize("model", [Own(), Stub(lambda ids: sure_of(ids[-1]))], ids=["decoder", "module"])
def test_a_model_without_a_cache_is_read_from_the_beginning(model: nn.Module) -> None:
    reader = reader_of(model)
    assert type(reader) is PlainReader
    assert reader.block_size == 16
    assert reader.logits(rows_of([1, 2]), [[3]]).shape == (1, 2, VOCAB_SIZE)


@every_reader
def test_a_block_of_a_single_token_can_be_read(kind: type[Reader]) -> None:
    model = build_random("llama", block_size=1)
    reader, rows = kind(model), rows_of([1, 2, 3], [4], block_size=1)
    for number in range(3):
        assert_agree(reader, rows, [[], []])
        for row in rows:
            row.write([number])
