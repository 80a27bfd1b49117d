"""The weights that a decoder shows are those with which it computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cai.model import layers
from cai.model.layers import SHORT
from tests.model.making import build_random, changed_at, random_ids
from tests.model.test_isolation import every_case

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
HEADS, LAYERS = 4, 2


@every_case
@pytest.mark.parametrize("T", [1, 16, SHORT + 3])
@pytest.mark.parametrize("short", [0, 1000], ids=["fused", "spelled out"])
def test_the_logits_beside_attention_weights_are_those_of_a_pass(
    family: str, options: dict[str, object], T: int, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ids = build_random(family, block_size=T, **options), random_ids(2, T)
    logits, _ = model.attention(ids)
    monkeypatch.setattr(layers, "SHORT", short)
    torch.testing.assert_close(logits, model(ids), **CLOSE)


@every_case
@pytest.mark.parametrize("T", [1, 16, SHORT + 3])
def test_attention_weights_are_shares_of_what_is_not_later(family: str, options: dict[str, object], T: int) -> None:
    model = build_random(family, block_size=T, **options)
    _, weights = model.attention(random_ids(3, T))
    assert [tuple(of_layer.shape) for of_layer in weights] == [(3, HEADS, T, T)] * LAYERS
    for of_layer in weights:
        torch.testing.assert_close(of_layer.sum(-1), torch.ones(3, HEADS, T, dtype=torch.float64), **CLOSE)
        assert of_layer.tril().equal(of_layer), "nothing of what comes later"
        assert (of_layer >= 0).all()
        assert T == 1 or of_layer.std(-1)[:, :, -1].min() > 1e-9, "not all alike"


@every_case
def test_attention_weights_times_values_are_what_the_fused_kernel_gives(
    family: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the layers."""
    model, ids = build_random(family, **options), random_ids(2, 16)
    _, weights = model.attention(ids)
    fused, calls = F.scaled_dot_product_attention, []

    def noted(q: Tensor, k: Tensor, v: Tensor, **how: Any) -> Tensor:
        y = fused(q, k, v, **how)
        calls.append((v.repeat_interleave(q.shape[1] // v.shape[1], dim=1), y))
        return y

    monkeypatch.setattr(layers, "SHORT", 0)
    monkeypatch.setattr(F, "scaled_dot_product_attention", noted)
    model(ids)
    assert len(calls) == LAYERS
    for of_layer, (v, y) in zip(weights, calls, strict=True):
        torch.testing.assert_close(of_layer @ v, y, **CLOSE)


@every_case
def test_attention_weights_of_a_token_depend_on_no_later_one(family: str, options: dict[str, object]) -> None:
    model, ids = build_random(family, **options), random_ids(1, 16)
    (_, before), (_, after) = model.attention(ids), model.attention(changed_at(ids, 9))
    for some, others in zip(before, after, strict=True):
        assert torch.equal(some[:, :, :9], others[:, :, :9])
        assert not torch.allclose(some[:, :, 9:], others[:, :, 9:])


@every_case
def test_more_ids_than_the_block_holds_are_refused(family: str, options: dict[str, object]) -> None:
    model = build_random(family, block_size=16, **options)
    model.attention(random_ids(2, 16))
    with pytest.raises(ValueError, match=r"must be at most model\.block_size \(16\) long, but is 17"):
        model.attention(random_ids(2, 17))


@every_case
def test_looking_changes_nothing_about_the_next_pass(family: str, options: dict[str, object]) -> None:
    model, ids = build_random(family, **options), random_ids(2, 16)
    before = model(ids)
    _, weights = model.attention(ids)
    assert torch.equal(model(ids), before)
    assert len(weights) == LAYERS, "a later pass adds none"
    assert len(model.attention(ids)[1]) == LAYERS
