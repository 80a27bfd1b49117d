"""On a CPU logits are computed only where a target counts; nothing of the loss or its gradient changes by that."""

from __future__ import annotations

import pytest
import torch

from cai.model.base import IGNORE_INDEX
from cai.model.decoder import PLACES, Decoder, places_that_count
from cai.model.loss import next_token_loss
from tests.model.making import build_random, random_ids


def targets_of(share: float, count: int = 4 * PLACES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(0, 50, (count,), generator=generator)
    return targets.masked_fill(torch.rand(count, generator=generator) >= share, IGNORE_INDEX)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.9])
def test_every_target_that_counts_is_there_once_in_order_in_few_different_numbers(share: float) -> None:
    targets = targets_of(share)
    places = places_that_count(targets)
    chosen = targets[places]
    assert torch.equal(chosen[chosen != IGNORE_INDEX], targets[targets != IGNORE_INDEX])
    assert len(chosen) % PLACES == 0
    assert len(chosen) < (targets != IGNORE_INDEX).sum() + PLACES


def test_all_are_taken_as_they_stand_where_nearly_all_count() -> None:
    assert places_that_count(targets_of(1.0)) == slice(None)
    assert places_that_count(targets_of(0.99)) == slice(None)
    assert places_that_count(targets_of(0.5, count=PLACES // 2)) == slice(None)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_loss_and_gradients_are_those_of_all_places(share: float, chunked: bool) -> None:
    model: Decoder = build_random("modern")
    model.chunked_loss = chunked
    ids = random_ids(64, 16)
    targets = targets_of(share).reshape(64, 16)
    loss = model(ids, targets)
    ours = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    x = model.hidden(ids).flatten(0, 1)
    whole = next_token_loss(x, model.head_weight(), targets.flatten(), model.logit_softcap)
    theirs = torch.autograd.grad(whole, list(model.parameters()), allow_unused=True)
    torch.testing.assert_close(loss, whole, rtol=1e-12, atol=1e-12)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
