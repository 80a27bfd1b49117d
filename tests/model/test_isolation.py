"""Documents of one row that are kept apart are what each is alone."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from cai.dropout import Dropout
from cai.model.base import IGNORE_INDEX
from cai.model.context import isolation
from cai.model.layers import SHORT, Rotary, attend
from cai.model.passes import shift_in
from tests.model.making import FAMILIES, VOCAB_SIZE, build, build_random, random_ids

EVERYTHING = {"token_shift": 3, "block_shift": 2, "value_embeddings": True, "qk_norm": True}
CASES: list[tuple[str, dict[str, object]]] = [*((family, {}) for family in FAMILIES), ("modern", EVERYTHING)]
every_case = pytest.mark.parametrize(("family", "options"), CASES, ids=[f"{name}{'+' * bool(o)}" for name, o in CASES])
ROWS = ((5, 1, 2, 4, 4), (16,), (7, 9))
"""Lengths of the documents in each row of 16; of the first row the last stands for filling."""
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def segments_of(*rows: tuple[int, ...]) -> Tensor:
    numbers = [[number for number, length in enumerate(row) for _ in range(length)] for row in rows]
    numbers[0] = [-1 if number == len(rows[0]) - 1 else number for number in numbers[0]]
    return torch.tensor(numbers)


def alone(ids: Tensor, *rows: tuple[int, ...]) -> list[list[Tensor]]:
    """The documents of each row, each ``(1, length)``."""
    return [list(row[None].split(list(lengths), dim=1)) for row, lengths in zip(ids, rows, strict=True)]


def scaled(T: int) -> tuple[tuple[int, ...], ...]:
    """``ROWS`` for rows of T tokens, the last document of each longer."""
    return tuple((*row[:-1], row[-1] + T - 16) for row in ROWS)


@every_case
@pytest.mark.parametrize("T", [16, SHORT + 3])
def test_each_document_of_a_row_has_the_logits_that_it_has_alone(family: str, options: dict[str, object], T: int) -> None:
    model, ids, rows = build_random(family, block_size=T, **options), random_ids(3, T), scaled(T)
    packed = model(ids, None, segments_of(*rows))
    expected = torch.stack([torch.cat([model(one)[0] for one in row]) for row in alone(ids, *rows)])
    torch.testing.assert_close(packed, expected, **CLOSE)
    assert not torch.allclose(model(ids), expected, rtol=1e-3, atol=1e-3)


@every_case
@pytest.mark.parametrize("T", [16, SHORT + 3])
@pytest.mark.parametrize("switches", [{}, {"chunked_loss": True}, {"gradient_checkpointing": True}], ids=str)
def test_loss_and_gradient_of_a_row_are_the_sums_of_those_of_its_documents(
    family: str, options: dict[str, object], T: int, switches: dict[str, bool]
) -> None:
    model, ids, rows = build_random(family, block_size=T, **options).train(), random_ids(3, T), scaled(T)
    for name, value in switches.items():
        setattr(model, name, value)
    targets = random_ids(3, T + 1)[:, 1:].clone()
    targets[:, 3] = IGNORE_INDEX
    packed = model(ids, targets, segments_of(*rows))
    found = torch.autograd.grad(packed, list(model.parameters()), allow_unused=True)
    pairs = zip(chain(*alone(ids, *rows)), chain(*alone(targets, *rows)), strict=True)
    expected = sum(model(one, of_one) for one, of_one in pairs)
    torch.testing.assert_close(packed, expected, **CLOSE)
    for ours, theirs in zip(found, torch.autograd.grad(expected, list(model.parameters()), allow_unused=True), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@every_case
@pytest.mark.parametrize("T", [16, SHORT + 3])
def test_a_change_in_one_document_is_seen_in_no_other(family: str, options: dict[str, object], T: int) -> None:
    model, ids = build_random(family, block_size=T, **options), random_ids(1, T)
    segments = (torch.arange(T) >= 9).long()[None] + (torch.arange(T) >= 12).long()
    changed = ids.clone()
    changed[0, 8] = (ids[0, 8] + 1) % VOCAB_SIZE  # the token right before the border
    before, after = (model(each, None, segments)[0] for each in (ids, changed))
    assert torch.equal(before[9:], after[9:])
    assert torch.equal(before[:8], after[:8])
    assert not torch.allclose(before[8], after[8])
    mixed = [model(each)[0] for each in (ids, changed)]
    assert not torch.isclose(mixed[0], mixed[1], rtol=1e-7, atol=1e-7).all(-1)[9:].any()


@every_case
def test_a_row_of_one_document_is_what_it_is_without_numbers(family: str, options: dict[str, object]) -> None:
    model, ids = build_random(family, **options), random_ids(2, 16)
    torch.testing.assert_close(model(ids, None, torch.full((2, 16), 7)), model(ids), **CLOSE)


@every_case
def test_under_autocast_loss_and_gradients_are_finite_and_near(family: str, options: dict[str, object]) -> None:
    model, ids = build_random(family, std=0.1, **options).float().train(), random_ids(3, 16)
    exact = float(model(ids, ids, segments_of(*ROWS)).detach())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(ids, ids, segments_of(*ROWS))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(exact, rel=0.02)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.numel())


@every_case
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated:DeprecationWarning")
def test_the_compiler_sees_one_graph(family: str, options: dict[str, object]) -> None:
    model, ids = build(family, **options), random_ids(3, 16)
    torch._dynamo.reset()  # the limit of recompilations is one for all models
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    compiled(ids, ids, segments_of(*ROWS)).backward()
    torch._dynamo.reset()


@pytest.mark.parametrize("family", FAMILIES)
def test_without_numbers_no_mask_is_made(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isolation(None) is None
    monkeypatch.setattr(Tensor, "tril", lambda *_: pytest.fail("it was"))
    build(family)(random_ids(2, 16))


def test_what_a_token_sees_and_where_it_stands() -> None:
    apart = isolation(torch.tensor([[0, 0, 1, 1, 1, -1], [4, 4, 4, 4, 4, 4]]))
    assert apart is not None
    assert apart.positions.tolist() == [[0, 1, 0, 1, 2, 0], [0, 1, 2, 3, 4, 5]]
    sees = [[[s for s in range(6) if row[t, s]] for t in range(6)] for row in apart.mask[:, 0]]
    assert sees == [[[0], [0, 1], [2], [2, 3], [2, 3, 4], [5]], [list(range(t + 1)) for t in range(6)]]


def queries_keys_values(T: int, key_heads: int) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(3, heads, T, 6, dtype=torch.float64, requires_grad=True) for heads in (4, key_heads, key_heads)]


@pytest.mark.parametrize("T", [16, SHORT + 3])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("drops", [False, True])
def test_attention_is_a_softmax_over_what_is_seen(T: int, key_heads: int, drops: bool) -> None:
    q, k, v = inputs = queries_keys_values(T, key_heads)
    apart = isolation(segments_of(*scaled(T)))
    assert apart is not None
    dropout = Dropout(1e-12 if drops else 0.0).train()  # the path with dropout, which drops nothing
    many_k, many_v = (x.repeat_interleave(4 // key_heads, dim=1) for x in (k, v))
    scores = (q @ many_k.mT / 6**0.5).masked_fill(~apart.mask, -torch.inf)
    expected = scores.softmax(-1) @ many_v
    found = attend(q, k, v, dropout, apart)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    upstream = torch.randn_like(found)
    gradients: list[Any] = [torch.autograd.grad(y, inputs, upstream) for y in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)


def test_rotary_begins_anew_with_each_document() -> None:
    rotary, x = Rotary(16, 6, 100.0).double(), torch.randn(3, 2, 16, 6, dtype=torch.float64)
    turned = rotary(x, isolation(segments_of(*ROWS)))
    for row, lengths in enumerate(ROWS):
        pieces = [rotary(piece) for piece in x[row, None].split(list(lengths), dim=2)]
        assert torch.equal(turned[row], torch.cat(pieces, dim=2)[0])


@pytest.mark.parametrize("reach", [0, 1, 3, 20])
def test_a_shift_stops_at_the_first_token_of_a_document(reach: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 16, 2, dtype=torch.float64, requires_grad=True)
    mix = torch.randn(reach, 2, dtype=torch.float64, requires_grad=True)
    apart = isolation(segments_of(*ROWS))
    assert apart is not None
    y = shift_in(x, mix, apart.positions)
    for row, lengths in enumerate(ROWS):
        pieces = [shift_in(piece, mix) for piece in x[row, None].split(list(lengths), dim=1)]
        torch.testing.assert_close(y[row], torch.cat(pieces, dim=1)[0], rtol=1e-12, atol=1e-12)
    assert gradcheck(lambda x, mix: shift_in(x, mix, apart.positions), (x, mix))
