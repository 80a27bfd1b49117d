"""Llama and Qwen3 are exactly their function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from transformers import LlamaConfig as HFLlamaConfig
from transformers import LlamaForCausalLM, Qwen3ForCausalLM
from transformers import Qwen3Config as HFQwen3Config

import cai
from cai.errors import ConfigError
from cai.model.layers import SHORT
from cai.plan import count_parameters
from tests.model.making import VOCAB_SIZE, build, build_random, random_ids, small_config
from tests.model.reference import llama_logits

KINDS = {"llama": (HFLlamaConfig, LlamaForCausalLM), "qwen3": (HFQwen3Config, Qwen3ForCausalLM)}


def of_transformers(family: str, **changes: object) -> nn.Module:
    """The library's model of the same shape."""
    config: Any = small_config(family, **changes)
    config_class, model_class = KINDS[family]
    options = config_class(
        vocab_size=VOCAB_SIZE,
        max_position_embeddings=config.block_size,
        num_hidden_layers=config.n_layer,
        num_attention_heads=config.n_head,
        num_key_value_heads=config.n_kv_head,
        hidden_size=config.n_embd,
        head_dim=config.head_dim,
        intermediate_size=config.intermediate_size,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_base},
        rms_norm_eps=config.norm_eps,
        tie_word_embeddings=config.tie_weights,
        bos_token_id=0,
        eos_token_id=0,
    )
    return model_class(options)


@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("n_kv_head", [1, 2, 4])
@pytest.mark.parametrize("family", KINDS)
def test_logits_equal_an_independent_float64_implementation(family: str, n_kv_head: int, tie_weights: bool) -> None:
    changes = {"n_kv_head": n_kv_head, "tie_weights": tie_weights}
    model = build_random(family, **changes)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    ids = random_ids(2, 16)
    expected = np.stack([llama_logits(weights, row, small_config(family, **changes)) for row in ids.tolist()])
    np.testing.assert_allclose(model(ids).detach().numpy(), expected, rtol=1e-6, atol=1e-6)  # the tables are fp32


@pytest.mark.parametrize("family", KINDS)
def test_logits_of_a_long_sequence_equal_the_independent_implementation_too(family: str) -> None:
    T = SHORT + 9
    model, ids = build_random(family, block_size=T), random_ids(1, T)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    expected = llama_logits(weights, ids[0].tolist(), small_config(family, block_size=T))
    np.testing.assert_allclose(model(ids)[0].detach().numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("n_kv_head", [1, 2, 4])
@pytest.mark.parametrize("family", KINDS)
def test_logits_equal_those_of_transformers(family: str, n_kv_head: int, tie_weights: bool) -> None:
    model = build_random(family, n_kv_head=n_kv_head, tie_weights=tie_weights)
    other = of_transformers(family, n_kv_head=n_kv_head, tie_weights=tie_weights)
    state = {name if name.startswith("lm_head") else f"model.{name}": t for name, t in model.state_dict().items()}
    if tie_weights:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    other.load_state_dict(state)
    ids = random_ids(2, 16)
    # Their norms and angles are in fp32 whatever the model's type.
    torch.testing.assert_close(model(ids), other.double().eval()(ids).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "vocab_size", "parameters", "shape"),
    [
        (
            "llama",
            32_000,
            6_738_415_616,  # Llama 2 7B
            {"n_layer": 32, "n_head": 32, "n_kv_head": 32, "n_embd": 4096, "head_dim": 128, "intermediate_size": 11_008},
        ),
        (
            "qwen3",
            151_936,
            596_049_920,  # Qwen3-0.6B
            {"n_layer": 28, "n_head": 16, "n_kv_head": 8, "n_embd": 1024, "head_dim": 128, "intermediate_size": 3072},
        ),
    ],
)
def test_the_published_size_has_its_parameters(family: str, vocab_size: int, parameters: int, shape: dict[str, int]) -> None:
    with torch.device("meta"):
        model = small_config(family, **shape, tie_weights=family == "qwen3").build(vocab_size)
    assert count_parameters(model)["total"] == parameters


@pytest.mark.parametrize("family", KINDS)
def test_the_context_of_a_token_is_ordered(family: str) -> None:
    model, ids = build_random(family), random_ids(1, 8)
    swapped = ids[:, [1, 0, *range(2, 8)]]
    assert ids[0, 0] != ids[0, 1]
    assert not torch.allclose(model(ids)[0, -1], model(swapped)[0, -1])


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_head": 4, "n_kv_head": 3}, r"@\.n_head must be a multiple of @\.n_kv_head \(3\), but is 4\. Try 3 or 6\."),
        ({"n_head": 2, "n_kv_head": 4}, r"@\.n_head must be a multiple of @\.n_kv_head \(4\), but is 2\. Try 4\."),
        ({"head_dim": 7}, r"@\.head_dim must be even, as RoPE turns pairs, but is 7\. Try 8\."),
    ],
)
def test_heads_that_do_not_fit_are_refused_with_a_remedy(family: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        small_config(family, **changes)


def test_the_path_to_a_broken_rule_is_what_the_user_can_type() -> None:
    message = r"model\.n_head must be a multiple of model\.n_kv_head \(2\), but is 5"
    with pytest.raises(cai.ConfigError, match=message):
        cai.compose(["model=llama", "model.n_head=5"])


def test_heads_begin_by_looking_back_one_token_each_whatever_the_distance_and_the_tokens() -> None:
    model = build("qwen3", block_size=960, head_dim=32, n_embd=64, rope_base=1e4, previous_token_heads=3)
    _, (first, _) = model.attention(random_ids(1, 960))  # (1, H, T, T)
    for head in range(3):
        chosen = first[0, head].diagonal(-(head + 1))  # by the token that is so far behind
        assert chosen.min() > 0.5
    assert first[0, 3].diagonal(-1).mean() < 0.05  # which nobody told to


def test_what_looks_back_is_learned_like_all_else_and_no_more_than_asked_for_begins_so() -> None:
    plain, some = build("qwen3"), build("qwen3", previous_token_heads=1)
    D = 6
    for name, weight in some.state_dict().items():
        same = torch.equal(weight, plain.state_dict()[name])
        assert same == (not name.startswith(("embed_tokens", "layers.0.self_attn.q_", "layers.0.self_attn.k_")))
    queries, keys = some.layers[0].self_attn.q_proj.weight, some.layers[0].self_attn.k_proj.weight
    assert torch.equal(queries[D:], plain.layers[0].self_attn.q_proj.weight[D:])
    assert torch.equal(keys[D:], plain.layers[0].self_attn.k_proj.weight[D:])
    some(random_ids(1, 16), random_ids(1, 16)).backward()
    assert queries.grad[:D].any()


def test_there_are_no_more_heads_to_look_back_than_heads() -> None:
    rule = r"previous_token_heads must be at most model\.n_head \(4\), but is 5\. Try model\.previous_token_heads=4"
    with pytest.raises(ConfigError, match=rule):
        cai.compose(["model=qwen3", "model.previous_token_heads=5"])
