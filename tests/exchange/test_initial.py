"""Training that begins with a model that is there already."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.errors import ConfigError
from cai.exchange.reading import weights_at
from cai.model.base import IGNORE_INDEX
from cai.runs import CONFIG
from cai.tokenizer.base import Tokenizer
from cai.tokens.batches import dataset_of
from cai.tokens.shards import build_shards
from tests.conftest import train_tiny
from tests.exchange.pretrained import (
    FAMILIES,
    FINE,
    WITHOUT_MODEL,
    begun,
    composed,
    refused,
    save_pretrained,
)
from tests.resuming import facts_of, metrics_of
from tests.tokenizer.layouts import changed_file, gpt2

pytestmark = pytest.mark.usefixtures("scratch")


@torch.no_grad()
def loss_by_transformers(model: Any, run: Path) -> float:
    """Over the batch that the run's first evaluation sees."""
    config: Any = load_config(run / CONFIG, TrainConfig)
    corpus = config.data.build()
    shards = build_shards(corpus, Tokenizer.load(run / "tokenizer.json"), Path("outputs/cache"))
    dataset = dataset_of(corpus, shards, config.model.block_size, config.seed, IGNORE_INDEX)
    total, count = 0.0, 0
    for x, y in dataset.val_batches(4, config.trainer.eval_max_tokens):
        logits = model(torch.from_numpy(x)).logits.double()
        total += float(cross_entropy(logits.flatten(0, 1), torch.from_numpy(y).flatten(), reduction="sum"))
        count += int((y != IGNORE_INDEX).sum())
    return total / count


@pytest.mark.parametrize(("family", "tied"), [("gpt2", True), ("llama", False), ("qwen3", True)])
def test_it_begins_with_the_loss_of_transformers_and_gets_better(family: str, tied: bool) -> None:
    model = save_pretrained(Path("hf"), family, tie_word_embeddings=tied)
    run = train_tiny(*FINE, "trainer.max_steps=20", "trainer.eval_every=20", "optimizer.lr=0.01", tiny=WITHOUT_MODEL)
    before, after = (line["val/loss"] for line in metrics_of(run) if "val/loss" in line)
    assert before == pytest.approx(loss_by_transformers(model, run), rel=1e-5)
    assert abs(before - math.log(264)) > 0.05, "by chance"
    assert after < before - 0.5
    config: Any = load_config(run / CONFIG, TrainConfig)
    assert type(config.model).__name__.lower() == f"{family}config"
    assert (config.model.block_size, config.model.n_layer, config.model.tie_weights) == (48, 2, tied)
    assert (config.trainer.init_from, config.tokenizer.path) == ("hf", "hf/tokenizer.json")
    log = (run / "train.log").read_text(encoding="utf-8")
    assert "begins at  hf (" in log
    assert "ids are new" not in log
    assert facts_of(run)["init_from"] == {"path": "hf", "weights": weights_at(Path("hf"), config.model).fingerprint}


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_each_weight_is_taken_over(family: str, tied: bool) -> None:
    """The logits are those of transformers, and others as soon as any weight is."""
    theirs: Any = save_pretrained(Path("hf"), family, tie_word_embeddings=tied)
    config = composed(*FINE)
    ids = torch.arange(48)[None] * 5 % 264
    expected = theirs(ids).logits
    torch.testing.assert_close(begun(config)[0](ids), expected, rtol=1e-4, atol=1e-4)
    weights = load_file("hf/model.safetensors")
    for name in weights:
        other = weights[name] + torch.randn_like(weights[name])
        save_file({**weights, name: other}, "hf/model.safetensors", {"format": "pt"})
        assert not torch.allclose(begun(config)[0](ids), expected, rtol=1e-3, atol=1e-3), name


def test_options_that_are_left_to_choose_are_those_chosen() -> None:
    save_pretrained(Path("hf"), "gpt2")
    config: Any = composed(*FINE, "model.block_size=20", "model.dropout=0.25")
    assert (config.model.block_size, config.model.dropout) == (20, 0.25)
    model, told = begun(config)
    assert torch.equal(model.wpe.weight, load_file("hf/model.safetensors")["transformer.wpe.weight"][:20])
    assert "the first 20 of its 48 positions" in told
    assert "`model.block_size` must be at most 48" in refused(*FINE, "model.block_size=49")
    save_pretrained(Path("turned"), "llama")
    more: Any = composed("model=from_pretrained", "model.path=turned", "model.block_size=49")
    assert more.model.block_size == 49, "angles are there for any number"


@pytest.mark.parametrize("rows", [700, 704, 720])
@pytest.mark.parametrize("tied", [True, False])
def test_rows_of_new_ids_are_the_mean_and_rows_without_an_id_are_left_out(rows: int, tied: bool) -> None:
    """The tokenizer has 700 ids of its own, and gets CAI's eight tags; rows beyond 700 are filling, whatever they hold."""
    save_pretrained(Path("hf"), "llama", vocab_size=rows, tie_word_embeddings=tied)
    gpt2().save("hf/tokenizer.json")
    config = composed(*FINE)
    model, told = begun(config)
    there = load_file("hf/model.safetensors")
    names = {"embed_tokens.weight": "model.embed_tokens.weight"} | ({} if tied else {"lm_head.weight": "lm_head.weight"})
    for name, theirs in names.items():
        table, before = model.state_dict()[name], there[theirs]
        assert table.shape == (708, 32)
        assert torch.equal(table[:700], before[:700])
        torch.testing.assert_close(table[700:], before[:700].mean(0).expand(8, -1), rtol=0, atol=1e-6)
    assert ("lm_head.weight" in model.state_dict()) == (not tied)
    assert "8 of the 708 ids are new, each the mean of the others" in told


def test_rows_that_no_id_has_are_left_out_and_told() -> None:
    save_pretrained(Path("hf"), "qwen3", vocab_size=280)
    model, told = begun(composed(*FINE))
    before = load_file("hf/model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(model.embed_tokens.weight, before[:264])
    assert "16 rows that no id has are left out" in told
    assert "ids are new" not in told


def test_weights_of_fewer_bits_are_trained_in_fp32() -> None:
    model = save_pretrained(Path("hf"), "llama")
    model.to(torch.bfloat16).save_pretrained("hf")  # type: ignore[operator]
    found, _ = begun(composed(*FINE))
    there = load_file("hf/model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    assert there.dtype == torch.bfloat16
    assert found.layers[0].mlp.up_proj.weight.dtype == torch.float32
    assert torch.equal(found.layers[0].mlp.up_proj.weight, there.float())


def test_windows_that_slide_are_no_hindrance_in_a_block_that_they_hold() -> None:
    sliding = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}
    save_pretrained(Path("hf"), "qwen3", **sliding)
    problem = refused(*FINE)
    assert "use_sliding_window" in problem
    assert "model.block_size=16" in problem
    config: Any = composed(*FINE, "model.block_size=16")
    assert begun(config)[0].block_size == 16


def test_a_folder_that_cannot_be_begun_with_is_one_problem_with_a_remedy() -> None:
    assert "`model.path` must be given" in refused("model=from_pretrained")
    assert "`model.path` must be the folder of a trained model, but there is no folder hf" in refused(*FINE)
    Path("hf").mkdir()
    assert "`model.path` must be a run or an export" in refused(*FINE)
    page = Path("hf/config.json")
    page.write_text("{", encoding="utf-8")
    assert "hf/config.json must be a JSON file" in refused(*FINE)
    page.write_text('{"architectures": ["MambaForCausalLM"]}', encoding="utf-8")
    problem = refused(*FINE)
    assert "MambaForCausalLM" in problem
    assert "LlamaForCausalLM" in problem
    save_pretrained(Path("hf"), "llama")
    tokenizer = Path("hf/tokenizer.json")
    tokenizer.unlink()
    problem = refused(*FINE)
    assert "`model.path` must hold a tokenizer.json" in problem
    assert "AutoTokenizer" in problem
    changed_file(tokenizer, lambda page: page.update(decoder={"type": "WordPiece", "prefix": "##", "cleanup": True}))
    problem = refused(*FINE)
    assert "has the decoder WordPiece" in problem
    assert problem.endswith("The tokenizer goes with the model: take another model.")
    assert "tokenizer=bpe" not in problem
    gpt2().save(str(tokenizer))
    Path("hf/model.safetensors").rename("hf/pytorch_model.bin")
    assert "must hold its weights as *.safetensors" in refused(*FINE)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_that_its_config_does_not_describe_are_told_before_anything_is_begun(family: str) -> None:
    save_pretrained(Path("hf"), family)
    assert composed(*FINE).model.n_layer == 2, "whole"
    page = Path("hf/config.json")
    text = page.read_text(encoding="utf-8")
    wrong: dict[str, object] = {"n_layer" if family == "gpt2" else "num_hidden_layers": 3, "vocab_size": 9999}
    page.write_text(json.dumps(json.loads(text) | wrong), encoding="utf-8")
    problem = refused(*FINE)
    assert problem.startswith("`model.path` must hold the weights that its config.json describes, but in hf ")
    assert "2." in problem, "the third layer"
    assert "is missing, and (" in problem
    assert problem.endswith("Take both from the same model, whole.")
    page.write_text(text, encoding="utf-8")
    weights = load_file("hf/model.safetensors")
    name = next(name for name in weights if name.endswith(("ln_1.weight", "input_layernorm.weight")))
    save_file(weights | {name: torch.ones(31)}, "hf/model.safetensors", {"format": "pt"})
    problem = refused(*FINE)
    assert "is (31,), and (32,) by config.json. Take" in problem
    save_file({**weights, "lm_head.more": torch.ones(1)}, "hf/model.safetensors", {"format": "pt"})
    assert "lm_head.more is (1,), and missing by config.json" in refused(*FINE)
    Path("hf/model.safetensors").write_bytes(b"nothing")
    assert "must be a whole safetensors file" in refused(*FINE)


def test_its_problem_is_told_only_when_there_is_no_other() -> None:
    with pytest.raises(ConfigError) as caught:
        composed(*FINE, "optimizer.lr=fast", "trainer.keep=-1")
    assert [problem.split()[0] for problem in caught.value.problems] == ["`optimizer.lr`", "`trainer.keep`"]


def test_what_only_stands_for_a_model_is_never_built() -> None:
    from cai.model.from_pretrained import FromPretrainedConfig

    with pytest.raises(ConfigError, match="only says where one lies"):
        FromPretrainedConfig(path="x", block_size=None, dropout=0.0).build(9)
