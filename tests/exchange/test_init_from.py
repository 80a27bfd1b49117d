"""Training that begins with the weights of another run, or of an export."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from cai.cli import main
from cai.composition import HydraSession, compose
from cai.config.roots import TrainConfig
from cai.config.saved import load_config, to_tree
from cai.errors import ConfigError
from cai.exchange.reading import weights_at
from cai.overrides import parse_arguments
from cai.runs import CONFIG
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.pretrained import read_tokenizer
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.trainer import Trainer, TrainerConfig
from tests.conftest import TINY, train_tiny
from tests.exchange.pretrained import (
    BLOCK,
    EIGHT_STEPS,
    WITHOUT_MODEL,
    begun,
    composed,
    refused,
    save_pretrained,
)
from tests.resuming import facts_of, metrics_of, steady_code

pytestmark = pytest.mark.usefixtures("scratch")


@pytest.fixture(autouse=True)
def _steady_code(monkeypatch: pytest.MonkeyPatch) -> None:
    steady_code(monkeypatch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder / train_tiny(*EIGHT_STEPS)


@pytest.fixture
def source(trained: Path, scratch: Path) -> Path:
    """A copy of it in the current folder."""
    shutil.copytree(trained, "source")
    return Path("source")


MODEL = tuple(word for word in TINY if not word.startswith("tokenizer"))
"""A tiny run of a given model, with the tokenizer of what it begins with."""


def first_loss(run: Path) -> float:
    return next(line["val/loss"] for line in metrics_of(run) if line["step"] == 0)


@pytest.mark.parametrize("words", [("trainer.init_from=source",), ("model=from_pretrained", "model.path=source")])
def test_a_run_begins_with_the_loss_that_another_has_ended_with(source: Path, words: tuple[str, ...]) -> None:
    tiny = MODEL if words[0].startswith("trainer") else WITHOUT_MODEL
    run = train_tiny(*words, *([BLOCK] * (tiny is MODEL)), "trainer.samples=0", tiny=tiny)
    facts = facts_of(source)
    assert facts["best_step"] == 8
    assert first_loss(run) == facts["best_val_loss"], "to the bit"
    assert json.loads((run / "tokenizer.json").read_text()) == json.loads((source / "tokenizer.json").read_text())
    assert facts_of(run)["fingerprints"]["ids"] == facts["fingerprints"]["ids"]
    config: Any = load_config(run / CONFIG, TrainConfig)
    assert config.model == load_config(source / CONFIG, TrainConfig).model
    assert "source (checkpoint best, step 8)" in (run / "train.log").read_text(encoding="utf-8")


def test_without_a_best_checkpoint_it_is_the_last(source: Path) -> None:
    (source / "checkpoints" / "best.safetensors").unlink()
    config: Any = composed("model=from_pretrained", "model.path=source")
    assert weights_at(source, config.model).told == "checkpoint last, step 8"
    (source / "checkpoints" / "last.safetensors").unlink()
    assert "must have a checkpoint to begin with" in refused("model=from_pretrained", "model.path=source")


@pytest.mark.parametrize("to", ["safetensors", "huggingface"])
def test_an_export_is_begun_with_as_the_run_it_was_made_of(source: Path, to: str) -> None:
    words = ("model=from_pretrained", "model.path=export")
    before = load_checkpoint(source / "checkpoints" / "best.safetensors").model

    def assert_taken_over(told: str) -> None:
        model, said = begun(composed(*words))
        assert told in said
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    assert main(["export", "run=source", f"to={to}", "out=export"]) == 0
    assert_taken_over("export (an export of step 8)")
    if to == "huggingface":  # as another program would have written it
        Path("export/export.json").unlink()
        Path("export/config.yaml").unlink()
        assert_taken_over("ForCausalLM)")


def test_a_moving_average_begins_with_the_weights_begun_with(source: Path) -> None:
    weights = load_checkpoint(source / "checkpoints" / "best.safetensors").model
    averages = []

    def build(self: TrainerConfig, **parts: Any) -> Trainer:
        trainer = Trainer(self, **parts)
        averages.append({name: tensor.clone() for name, tensor in trainer.updater.average.state().items()})
        return trainer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainerConfig, "build", build)
        train_tiny(
            "model=from_pretrained", "model.path=source", "trainer.ema_decay=0.9", "trainer.max_steps=1", tiny=WITHOUT_MODEL
        )
    assert averages[0].keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in averages[0].items())


def test_last_is_the_newest_run_at_that_moment(source: Path) -> None:
    shutil.move(source, "outputs/run/one")
    config: Any = compose([*MODEL, BLOCK, "trainer.init_from=last"])
    assert config.trainer.init_from == "outputs/run/one"
    assert config.tokenizer.path == "outputs/run/one/tokenizer.json"
    other: Any = composed("model=from_pretrained", "model.path=last")
    assert other.trainer.init_from == "outputs/run/one"
    shutil.rmtree("outputs")
    assert refused("trainer.init_from=last").startswith("`trainer.init_from`: run=last needs a run with a checkpoint")


def test_options_of_another_shape_are_told_all_at_once_with_a_way_to_have_them(source: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        compose([*MODEL, "model=gpt2", "trainer.init_from=source"])
    assert "model is GPT2Config, there" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        compose([*MODEL, "trainer.init_from=source", "model.n_layer=3", "model.n_embd=32", "model.dropout=0.2"])
    (problem,) = caught.value.problems
    assert "model.n_layer is 3, there 1; model.n_embd is 32, there 16." in problem.replace(
        "model.n_embd is 32, there 16; ", ""
    )
    assert problem.endswith("model=from_pretrained model.path=source")
    assert "dropout" not in problem
    assert "block_size" not in problem


def test_positions_that_were_learned_may_become_fewer_and_no_more() -> None:
    save_pretrained(Path("hf"), "gpt2")
    words = ["model=gpt2", "model.n_layer=2", "model.n_head=4", "model.n_embd=32", "trainer.init_from=hf"]
    config: Any = composed(*words, "model.block_size=20")
    assert (config.model.block_size, config.trainer.init_from) == (20, "hf")
    model, told = begun(config)
    assert len(model.wpe.weight) == 20
    assert "the first 20 of its 48 positions" in told
    assert "model.block_size is 49, there at most 48" in refused(*words, "model.block_size=49")


def test_both_ways_at_once_are_refused(source: Path) -> None:
    problem = refused("model=from_pretrained", "model.path=source", "trainer.init_from=source")
    assert "`trainer.init_from` must be null beside model=from_pretrained" in problem


def test_a_settled_config_stays_as_it_is(source: Path) -> None:
    config = composed("model=from_pretrained", "model.path=source")
    assert config.settled() == config
    by_option = compose([*MODEL, BLOCK, "trainer.init_from=source"])
    assert by_option.settled() == by_option
    plain = compose([*TINY])
    assert plain.settled() is plain


@pytest.mark.parametrize("words", [("trainer.init_from=source",), ("model=from_pretrained", "model.path=source")])
@pytest.mark.parametrize("word", ["tokenizer=bpe", "tokenizer.path=other.json", "tokenizer.vocab_size=300"])
def test_a_tokenizer_beside_that_of_the_weights_is_refused(source: Path, words: tuple[str, ...], word: str) -> None:
    tiny = [*MODEL, BLOCK] if words[0].startswith("trainer") else WITHOUT_MODEL
    with pytest.raises(ConfigError) as caught:
        compose([*tiny, *words, *["tokenizer=pretrained"] * ("path" in word), word])
    for problem in caught.value.problems:
        assert problem.startswith("`tokenizer")
        assert problem.endswith("Leave it out: the tokenizer goes with the weights.")
    assert f"`{word.partition('=')[0]}` must be left out" in str(caught.value)


def test_what_it_begins_with_may_lie_in_a_folder_of_any_name(source: Path) -> None:
    folder = Path("o (1), [2]/a=b")
    shutil.copytree(source, folder)
    for words in ((*MODEL, BLOCK, f"trainer.init_from={folder}"), ("model=from_pretrained", f"model.path={folder}")):
        tiny = () if words[0] in MODEL else WITHOUT_MODEL
        config: Any = compose([*tiny, *words])
        assert (config.trainer.init_from, config.tokenizer.path) == (str(folder), str(folder / "tokenizer.json"))
    assert composed("trainer.init_from=null").trainer.init_from is None
    assert "no folder source,other. " in refused("model=from_pretrained", "model.path=source,other")
    assert "cai train -m" in refused("trainer.init_from=source,other")


def test_a_component_of_a_strangers_run_is_not_imported(source: Path) -> None:
    path = source / CONFIG
    text = re.sub(r"cai\.model\.\w+\.\w+Config", "stranger.model.Config", path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    assert "trusted package" in refused("model=from_pretrained", "model.path=source")


def test_the_jobs_of_a_sweep_are_frozen_with_what_was_found(source: Path) -> None:
    shutil.copytree(source, "other")
    save_pretrained(Path("hf"), "gpt2")

    def trees(*words: str) -> list[dict[str, Any]]:
        with HydraSession("train", parse_arguments(["-m", *words])) as session:
            return [to_tree(job.config) for job in session.jobs(TrainConfig)]

    one, two = trees(*MODEL, BLOCK, "trainer.init_from=source,other")
    assert [one["trainer"]["init_from"], two["trainer"]["init_from"]] == ["source", "other"]
    assert two["tokenizer"] == {"_target_": "cai.tokenizer.pretrained.PretrainedConfig", "path": "other/tokenizer.json"}
    one, two = trees(*WITHOUT_MODEL, "model=from_pretrained", "model.path=source,hf")
    assert two["model"]["_target_"] == "cai.model.gpt2.GPT2Config"
    assert one["model"]["n_embd"] == 16
    assert two["model"]["n_embd"] == 32


def test_the_tokenizer_that_is_taken_along_gives_the_same_ids(source: Path) -> None:
    taken, own = read_tokenizer(source / "tokenizer.json"), Tokenizer.load(source / "tokenizer.json")
    assert taken.fingerprint == own.fingerprint
