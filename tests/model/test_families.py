"""What every model family promises, whatever it is inside."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import cai
from cai.dropout import Dropout
from cai.model.base import IGNORE_INDEX
from cai.model.layers import SHORT
from cai.plan import count_parameters
from tests.model.making import FAMILIES, VOCAB_SIZE, build, build_random, changed_at, random_ids

every_family = pytest.mark.parametrize("family", FAMILIES)
tied_and_untied = pytest.mark.parametrize("tie_weights", [True, False])


def test_the_known_families_are_found() -> None:
    assert {"gpt2", "llama", "qwen3", "modern"} <= set(FAMILIES)


@every_family
@pytest.mark.parametrize("T", [16, SHORT + 3])
def test_changing_a_token_changes_no_logit_before_it(family: str, T: int) -> None:
    model, ids = build_random(family, block_size=T), random_ids(1, T)
    before = model(ids)
    for t in sorted({0, 1, 7, 15, T // 2, T - 1}):
        after = model(changed_at(ids, t))
        assert torch.equal(after[0, :t], before[0, :t])
        assert not torch.allclose(after[0, t], before[0, t])


@every_family
@pytest.mark.parametrize("T", [16, SHORT + 3])
def test_the_last_token_sees_the_first(family: str, T: int) -> None:
    model, ids = build_random(family, block_size=T), random_ids(1, T)
    assert not torch.allclose(model(changed_at(ids, 0))[0, -1], model(ids)[0, -1], rtol=1e-7, atol=1e-7)


@every_family
def test_the_sequences_of_a_batch_know_nothing_of_each_other(family: str) -> None:
    model, ids = build_random(family), random_ids(3, 16)
    alone = torch.cat([model(row[None]) for row in ids])
    torch.testing.assert_close(model(ids), alone, rtol=1e-12, atol=1e-12)


@every_family
@pytest.mark.parametrize("chunked", [False, True])
def test_the_loss_is_the_sum_over_targets_that_count(family: str, chunked: bool) -> None:
    model, ids = build_random(family), random_ids(2, 9)
    model.chunked_loss = chunked
    targets = ids[:, 1:].clone()
    targets[0, 3:] = IGNORE_INDEX
    log_probabilities = model(ids[:, :-1]).detach().log_softmax(-1)
    counted = [(b, t) for b in range(2) for t in range(8) if targets[b, t] != IGNORE_INDEX]
    expected = -sum(float(log_probabilities[b, t, targets[b, t]]) for b, t in counted)
    assert float(model(ids[:, :-1], targets).detach()) == pytest.approx(expected, rel=1e-9)


@every_family
def test_a_sequence_longer_than_the_block_is_refused_with_both_numbers(family: str) -> None:
    model = build(family)
    assert model(random_ids(1, 16)).shape == (1, 16, VOCAB_SIZE)
    with pytest.raises(ValueError, match=r"model\.block_size \(16\) long, but is 17"):
        model(random_ids(1, 17))


@every_family
@tied_and_untied
def test_the_first_loss_is_close_to_that_of_guessing(family: str, tie_weights: bool) -> None:
    model = build(family, vocab_size=500, n_embd=64, n_layer=4, tie_weights=tie_weights)
    ids = random_ids(8, 17, vocab_size=500)
    loss = model(ids[:, :-1], ids[:, 1:].contiguous()).detach() / (8 * 16)
    assert float(loss) == pytest.approx(math.log(500), abs=0.1)


@every_family
@pytest.mark.parametrize("T", [16, SHORT + 3])
def test_under_autocast_the_loss_is_fp32_and_that_of_fp32_about(family: str, T: int) -> None:
    model, ids = build_random(family, std=0.1, block_size=T).float().train(), random_ids(2, T + 1)
    x, y = ids[:, :-1], ids[:, 1:]
    exact = float(model(x, y).detach())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(x).dtype == torch.bfloat16
        loss = model(x, y)
    loss.backward()
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(exact, rel=0.01)
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters() if p.numel())


@every_family
@tied_and_untied
def test_every_parameter_has_a_gradient_after_two_small_updates(family: str, tie_weights: bool) -> None:
    """Not from the start: behind a projection that begins at zero there is none."""
    model = build(family, tie_weights=tie_weights)
    ids = random_ids(2, 17)
    for _ in range(3):
        model.zero_grad()
        (model(ids[:, :-1], ids[:, 1:]) / 32).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad if parameter.numel() else 0
    assert [name for name, p in model.named_parameters() if p.numel() and not p.grad.any()] == []


@every_family
@tied_and_untied
def test_what_is_saved_is_the_parameters_alone(family: str, tie_weights: bool) -> None:
    """Tables of angles and masks are made anew with the model."""
    model = build(family, tie_weights=tie_weights)
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
    assert ("lm_head.weight" in model.state_dict()) == (not tie_weights)


@every_family
def test_a_tied_head_is_the_embedding_itself(family: str) -> None:
    model = build(family, tie_weights=True)
    (table,) = (m for name, m in model.named_modules() if isinstance(m, nn.Embedding) and name in ("wte", "embed_tokens"))
    assert model.head_weight() is table.weight


@every_family
def test_the_global_seed_decides_the_weights(family: str) -> None:
    one, same, other = build(family, 3).state_dict(), build(family, 3).state_dict(), build(family, 4).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@every_family
def test_dropout_acts_in_training_only(family: str) -> None:
    model, ids = build_random(family, dropout=0.5), random_ids(1, 16)
    assert torch.equal(model(ids), model(ids))
    model.train()
    assert not torch.allclose(model(ids), model(ids))


@every_family
def test_every_dropout_layer_acts_by_itself(family: str) -> None:
    model, ids = build_random(family, dropout=0.5), random_ids(1, 16)
    before = model(ids)
    layers = [module for module in model.modules() if isinstance(module, Dropout)]
    assert len(layers) >= 3 * 2  # on attention's weights and on what each half of a block adds
    model.train()
    for acting in layers:
        for layer in layers:
            layer.p = 0.5 if layer is acting else 0.0
        assert not torch.allclose(model(ids), before)


@pytest.mark.parametrize("size", ["nano", "mini", "cai"])
@every_family
def test_sizes_of_one_name_are_equally_large_beside_the_embeddings(family: str, size: str) -> None:
    def computing(name: str) -> int:
        with torch.device("meta"):
            return count_parameters(cai.compose([f"model={name}_{size}"]).model.build(1000))["without_embeddings"]

    assert computing(family) == pytest.approx(computing("gpt2"), rel=0.05)


@every_family
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated:DeprecationWarning")
def test_the_compiler_sees_one_graph(family: str) -> None:
    """Each break of it costs time, and some left PyTorch's own backend with code that it cannot compile."""
    model, ids = build(family), random_ids(2, 17)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    compiled(ids[:, :-1], ids[:, 1:]).backward()
