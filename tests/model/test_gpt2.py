"""GPT-2 is exactly GPT-2's function."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from transformers import GPT2Config as HFConfig
from transformers import GPT2LMHeadModel

import cai
from cai.model.base import IGNORE_INDEX
from cai.model.gpt2 import GPT2, GPT2Config
from cai.plan import count_parameters
from tests.model.reference import gpt2_logits

VOCAB_SIZE = 61


def config(**changes: object) -> GPT2Config:
    values: dict[str, object] = {
        "block_size": 16,
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 12,
        "dropout": 0.0,
        "bias": True,
        "tie_weights": True,
    }
    return GPT2Config.model_validate(values | changes)


def build(seed: int = 0, **changes: object) -> GPT2:
    """A model whose every parameter, biases and norms included, is random, so that none can be mixed up unnoticed."""
    torch.manual_seed(seed)
    model = config(**changes).build(VOCAB_SIZE)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


def random_ids(*shape: int) -> torch.Tensor:
    return torch.randint(VOCAB_SIZE, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_logits_equal_an_independent_float64_implementation(bias: bool, tie_weights: bool) -> None:
    model = build(bias=bias, tie_weights=tie_weights)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    ids = random_ids(3, 16)
    expected = np.stack([gpt2_logits(weights, row, n_layer=2, n_head=2) for row in ids.tolist()])
    np.testing.assert_allclose(model(ids).detach().numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("tie_weights", [True, False])
def test_logits_equal_those_of_transformers(tie_weights: bool) -> None:
    model = build(tie_weights=tie_weights)
    other = GPT2LMHeadModel(
        HFConfig(
            vocab_size=VOCAB_SIZE,
            n_positions=16,
            n_embd=12,
            n_layer=2,
            n_head=2,
            tie_word_embeddings=tie_weights,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    state = {}
    for name, tensor in model.state_dict().items():
        is_projection = any(part in name for part in ("c_attn.weight", "c_proj.weight", "c_fc.weight"))
        key = name if name.startswith("lm_head") else f"transformer.{name}"
        state[key] = tensor.T.contiguous() if is_projection else tensor  # GPT-2's Conv1D stores (in, out)
    if tie_weights:
        state["lm_head.weight"] = state["transformer.wte.weight"]
    other.load_state_dict(state)
    ids = random_ids(2, 16)
    torch.testing.assert_close(model(ids), other.double().eval()(ids).logits, rtol=1e-9, atol=1e-9)


def test_changing_a_token_changes_no_logit_before_it() -> None:
    model, ids = build(), random_ids(1, 16)
    before = model(ids)
    for t in range(16):
        changed = ids.clone()
        changed[0, t] = (ids[0, t] + 1) % VOCAB_SIZE
        after = model(changed)
        assert torch.equal(after[0, :t], before[0, :t])
        assert not torch.allclose(after[0, t], before[0, t])


def test_the_first_loss_is_close_to_that_of_guessing() -> None:
    torch.manual_seed(0)
    model = config(n_embd=64, n_head=4, n_layer=4).build(500)
    ids = torch.randint(500, (8, 17))
    loss = model(ids[:, :-1], ids[:, 1:]).detach() / (8 * 16)
    assert abs(float(loss) - math.log(500)) < 0.1


def test_the_loss_is_the_sum_over_targets_that_count() -> None:
    model, ids = build(), random_ids(2, 9)
    targets = ids[:, 1:].clone()
    targets[0, 3:] = IGNORE_INDEX
    log_probabilities = model(ids[:, :-1]).detach().log_softmax(-1)
    counted = [(b, t) for b in range(2) for t in range(8) if targets[b, t] != IGNORE_INDEX]
    expected = -sum(float(log_probabilities[b, t, targets[b, t]]) for b, t in counted)
    assert float(model(ids[:, :-1], targets).detach()) == pytest.approx(expected, rel=1e-6)


def test_dropout_acts_in_training_only() -> None:
    model, ids = build(dropout=0.5), random_ids(1, 16)
    assert torch.equal(model(ids), model(ids))
    model.train()
    assert not torch.allclose(model(ids), model(ids))


def test_a_sequence_longer_than_the_block_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"model\.block_size \(16\) long, but is 17"):
        build()(random_ids(1, 17))


def test_a_tied_head_is_the_embedding_itself() -> None:
    tied, untied = build(tie_weights=True), build(tie_weights=False)
    assert "lm_head.weight" not in tied.state_dict()
    assert untied.state_dict()["lm_head.weight"].shape == (VOCAB_SIZE, 12)


@pytest.mark.parametrize(("tie_weights", "millions"), [("false", 29.18), ("true", 19.96)])
def test_the_founding_size_has_its_parameters(tie_weights: str, millions: float) -> None:
    chosen = cai.compose(["model=gpt2_cai", f"model.tie_weights={tie_weights}"]).model
    with torch.device("meta"):
        total = count_parameters(chosen.build(24_000))["total"]
    assert round(total / 1e6, 2) == millions


def test_the_published_size_has_its_parameters() -> None:
    with torch.device("meta"):
        total = count_parameters(cai.compose(["model=gpt2_small"]).model.build(50_257))["total"]
    assert total == 124_439_808


def test_projections_into_the_residual_stream_start_smaller_with_depth() -> None:
    torch.manual_seed(0)
    model = config(n_embd=64, n_head=4, n_layer=8).build(300)
    assert float(model.h[0].mlp.c_proj.weight.detach().std()) == pytest.approx(0.02 / 4, rel=0.05)
    assert float(model.h[0].mlp.c_fc.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert float(model.wte.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
