"""A model and its Hugging Face architecture say the same, in both directions; what CAI's cannot be is named."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen3Config

from cai.errors import ConfigError
from cai.exchange.layouts import layout_named, layout_of, layouts
from cai.model.base import ModelConfig
from cai.model.llama import LlamaConfig as OurLlama
from cai.trainer.state import take_weights
from tests.exchange.making import make_source

PAGES: dict[str, dict[str, Any]] = {
    "gpt2": {"architectures": ["GPT2LMHeadModel"], "n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2},
    "llama": {
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": 32,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
}
PAGES["qwen3"] = PAGES["llama"] | {"architectures": ["Qwen3ForCausalLM"], "num_hidden_layers": 30}
"""What the least ``config.json`` of each says; of Qwen3 with more layers than come before its windows, if it has any."""


def read(family: str, block_size: int | None = None, **changes: object) -> Any:
    page = PAGES[family] | changes
    return layout_named(page).config(page, block_size=block_size, dropout=0.0)


@pytest.mark.parametrize("tied", ["true", "false"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_there_and_back_is_the_same(family: str, tied: str, tmp_path: Path) -> None:
    source = make_source(tmp_path, f"model={family}", f"model.tie_weights={tied}", "model.dropout=0.1")
    config, weights = source.trained.config.model, take_weights(source.trained.model)
    layout = layout_of(config)
    page = json.loads(json.dumps(layout.page(config, source.trained.tokenizer)))
    assert layout_named(page) is not layout
    assert layout_named(page).architecture == layout.architecture == page["architectures"][0]
    back = layout.config(page, block_size=None, dropout=0.1)
    assert back == config.model_copy(update={"bias": True}) if family == "gpt2" else back == config
    again = layout.ours(layout.theirs(weights), config)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_a_gpt2_without_biases_comes_back_with_zeros_which_change_nothing(tmp_path: Path) -> None:
    source = make_source(tmp_path, "model=gpt2", "model.bias=false")
    layout = layout_of(source.trained.config.model)
    page = layout.page(source.trained.config.model, source.trained.tokenizer)
    config = layout.config(page, block_size=None, dropout=0.0)
    model = config.build(vocab_size=page["vocab_size"])
    model.load_state_dict(layout.ours(layout.theirs(take_weights(source.trained.model)), config))
    ids = torch.arange(40)[None]
    assert torch.allclose(model(ids), source.trained.model(ids), atol=1e-6)


def of_transformers(config: Any, folder: Path) -> Any:
    """A model of transformers' own with every weight drawn, saved as transformers saves it."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(folder)
    return model


SHAPE = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-3,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(
            vocab_size=50, n_embd=16, n_layer=2, n_head=4, n_positions=32, n_inner=64, eos_token_id=0, bos_token_id=0
        ),
        LlamaConfig(**SHAPE, rope_parameters={"rope_type": "default", "rope_theta": 300.0}, tie_word_embeddings=True),
        LlamaConfig(**SHAPE, rope_theta=500.0),
        Qwen3Config(**SHAPE, head_dim=8, rope_theta=700),
    ],
    ids=["gpt2", "llama_tied", "llama", "qwen3"],
)
def test_what_transformers_has_saved_is_the_same_function_here(config: Any, tmp_path: Path) -> None:
    from cai.exchange.weights import read_page, read_weights

    other = of_transformers(config, tmp_path)
    page = read_page(tmp_path)
    layout = layout_named(page)
    ours = layout.config(page, block_size=20, dropout=0.0)
    model = ours.build(vocab_size=page["vocab_size"]).eval()
    model.load_state_dict(layout.ours(read_weights(tmp_path), ours))
    ids = torch.randint(50, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (model(ids) - other(ids).logits).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("changes", "base"),
    [
        ({}, 10_000.0),
        ({"rope_theta": 1_000_000}, 1_000_000.0),
        ({"rope_theta": 500.0, "rope_scaling": None}, 500.0),
        ({"rope_theta": 500.0, "rope_scaling": {"type": "default"}}, 500.0),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}, 500.0),
        ({"rope_theta": 500.0, "rope_parameters": {"rope_type": "default", "rope_theta": 500}}, 500.0),
        ({"rope_theta": 500.0, "rope_parameters": {"rope_type": "default"}}, 500.0),
    ],
)
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_rope_of_both_majors_is_understood(family: str, changes: dict[str, object], base: float) -> None:
    assert read(family, **changes).rope_base == base


def test_what_is_not_said_is_what_transformers_takes() -> None:
    llama, qwen3, gpt2 = read("llama"), read("qwen3"), read("gpt2")
    assert (llama.n_kv_head, llama.head_dim, llama.norm_eps, llama.tie_weights) == (2, 8, 1e-6, False)
    assert (qwen3.n_kv_head, qwen3.head_dim, qwen3.norm_eps, qwen3.tie_weights) == (2, 128, 1e-6, False)
    assert (gpt2.bias, gpt2.tie_weights) == (True, True)
    for family, kind in (("llama", LlamaConfig), ("gpt2", GPT2Config)):
        plain = kind(**{key: value for key, value in PAGES[family].items() if key != "architectures"}).to_dict()
        assert layout_named(PAGES[family]).config(plain, block_size=None, dropout=0.0) == read(family)


@pytest.mark.parametrize(
    ("family", "changes", "told"),
    [
        ("gpt2", {"activation_function": "relu"}, "activation_function must be gelu_new or gelu_pytorch_tanh, but is relu"),
        ("gpt2", {"n_inner": 48}, "n_inner must be null or 64, but is 48"),
        ("gpt2", {"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon must be 1e-05, but is 1e-06"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx must be false, but is true"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights must be true"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention must be false"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act must be silu or swish, but is gelu"),
        ("llama", {"attention_bias": True}, "attention_bias must be false, but is true"),
        ("llama", {"mlp_bias": True}, "mlp_bias must be false"),
        ("llama", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_scaling.rope_type must be default"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type must be default, but is linear"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}},
            "rope_parameters.rope_type must be default",
        ),
        ("llama", {"rope_parameters": "plain", "rope_theta": []}, "rope_parameters must be one for all layers"),
        ("llama", {"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "must be one for all layers"),
        ("llama", {"rope_parameters": {"rope_theta": 1.0}, "rope_theta": 2.0}, "rope_theta must be that of rope_parameters"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor must be 1.0"),
        ("llama", {"quantization_config": {"bits": 4}}, "quantization_config must be null"),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 16}, r"windows of 16 \(try model.block_size=16\)"),
        ("qwen3", {"use_sliding_window": True, "sliding_window": "x", "layer_types": 3}, "windows of x"),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 16, "layer_types": ["sliding_attention"]}, "windows of 16"),
    ],
)
def test_what_cais_model_cannot_be_is_named(family: str, changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read(family, **changes)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read("llama", hidden_act="gelu", attention_bias=True)
    assert len(caught.value.problems) == 2
    assert all(problem.startswith("`model.path`: ") for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("family", "changes", "told"),
    [
        ("llama", {"num_hidden_layers": 0}, r"`model\.n_layer` the value 0"),
        ("llama", {"num_attention_heads": 0}, r"`model\.n_head` the value 0"),
        ("llama", {"num_attention_heads": 0, "num_key_value_heads": 0}, r"`model\.n_kv_head` the value 0"),
        ("llama", {"rope_theta": 10**400}, r"`model\.rope_base`"),
        ("llama", {"num_attention_heads": "2"}, r"`model\.n_head` the value 2"),
        ("llama", {"num_key_value_heads": 3}, r"model\.n_head must be a multiple of model\.n_kv_head \(3\), but is 2"),
        ("llama", {"max_position_embeddings": True}, r"`model\.block_size` the value true"),
        ("llama", {"rope_theta": "x"}, r"`model\.rope_base` the value x"),
        ("gpt2", {"n_head": 3}, r"model\.n_embd must be a multiple of model\.n_head"),
        ("gpt2", {"n_embd": None}, r"`model\.n_embd` the value null"),
    ],
)
def test_values_that_are_none_are_refused_as_those_of_a_yaml(family: str, changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read(family, **changes)


@pytest.mark.parametrize(("family", "key"), [("gpt2", "n_embd"), ("llama", "hidden_size"), ("qwen3", "intermediate_size")])
def test_a_key_without_which_nothing_is_known_must_be_there(family: str, key: str) -> None:
    page = {name: value for name, value in PAGES[family].items() if name != key}
    with pytest.raises(ConfigError, match=f"{key} is missing"):
        layout_named(page).config(page, block_size=None, dropout=0.0)


def test_windows_that_reach_as_far_as_the_model_are_none() -> None:
    windows = {"use_sliding_window": True, "sliding_window": 16}
    assert read("qwen3", block_size=16, **windows).block_size == 16
    assert read("qwen3", use_sliding_window=False, sliding_window=16).block_size == 32
    assert read("qwen3", **windows, layer_types=["full_attention"] * 30).block_size == 32
    assert read("qwen3", **windows, max_window_layers=30).block_size == 32


def test_fewer_positions_may_be_taken_but_not_more() -> None:
    layout, config = layout_named(PAGES["gpt2"]), read("gpt2", block_size=8)
    assert layout.ours({"transformer.wpe.weight": torch.zeros(32, 16)}, config)["wpe.weight"].shape == (8, 16)
    for family, key in (("gpt2", "n_positions"), ("llama", "max_position_embeddings")):
        with pytest.raises(
            ConfigError, match=rf"`model\.block_size` must be at most {key} of config\.json \(32\), but is 64"
        ):
            read(family, block_size=64)


def test_names_and_buffers_of_old_files_are_understood() -> None:
    weights = {"wte.weight": torch.zeros(3, 16), "h.0.attn.bias": torch.ones(1), "h.0.attn.masked_bias": torch.ones(1)}
    kept = {"h.0.attn.c_attn.bias": torch.ones(48), "lm_head.weight": torch.zeros(3, 16)}
    found = layout_named(PAGES["gpt2"]).ours(weights | kept, read("gpt2"))
    assert found.keys() == {"wte.weight", "h.0.attn.c_attn.bias"}
    old = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4), "lm_head.weight": torch.zeros(3, 16)}
    assert layout_named(PAGES["llama"]).ours(old, read("llama")).keys() == {"lm_head.weight"}


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (
            {"architectures": ["MambaForCausalLM"]},
            r"GPT2LMHeadModel, LlamaForCausalLM, Qwen3ForCausalLM.* names MambaForCausalLM",
        ),
        ({"architectures": []}, r"names none \(its architectures is \[\]\)"),
        ({"architectures": 3}, "names none"),
        ({"architectures": [["x"], {}, None]}, r"names \['x'\], \{\}, None"),
        ({}, r"names none \(its architectures is None\)"),
    ],
)
def test_an_unknown_architecture_is_named(page: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=f"`trainer.init_from` must be a checkpoint of an architecture.*{told}"):
        layout_named(page, "trainer.init_from")


def test_a_model_of_ones_own_has_no_architecture() -> None:
    class Mine(OurLlama):
        """Who knows what it computes."""

    with pytest.raises(ConfigError, match=r"the run's is Mine\. Try to=safetensors"):
        layout_of(Mine.model_construct())


def test_every_layout_is_another() -> None:
    every = layouts()
    kinds: list[type[ModelConfig]] = [layout.config_class for layout in every]
    assert len(set(kinds)) == len({layout.architecture for layout in every}) == len(every)
