"""The model card says what the model is, of what data, how good, and how to make it again; nothing that it does not know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cai.exchange.base import Source
from cai.exchange.card import model_card
from cai.exchange.layouts import layout_of
from cai.tokenizer.pretrained import PretrainedConfig
from tests.exchange.making import make_source

STEP = 3


def card(source: Source, **page: object) -> str:
    trained = source.trained
    said = layout_of(trained.config.model).page(trained.config.model, trained.tokenizer) | {"dtype": "float32"} | page
    return model_card(source, said)


def section(text: str, name: str) -> str:
    return text.split(f"## {name}\n")[1].split("\n## ")[0]


def told(source: Source, **facts: object) -> Source:
    return replace(source, facts={**source.facts, **facts})


def begun(source: Source, place: str) -> Source:
    """As if its training had begun with the model in ``place``."""
    config = source.trained.config
    trainer = config.trainer.model_copy(update={"init_from": place})
    update = {"trainer": trainer, "tokenizer": PretrainedConfig(path=str(Path(place) / "tokenizer.json"))}
    return replace(source, trained=replace(source.trained, config=config.model_copy(update=update)))


def evaluation(folder: Path, name: str, figures: Mapping[str, float], **changes: Any) -> None:
    (folder / "evaluations").mkdir(exist_ok=True)
    counts = {"tokens": 9, "answers/tel": {"right": 3, "of": 40}}
    page = {
        "checkpoint": "best",
        "step": STEP,
        "figures": figures,
        "counts": counts,
        "about": "about organisations never seen",
    }
    (folder / "evaluations" / f"{name}.json").write_text(json.dumps(page | changes))


def test_the_head_is_yaml_that_claims_no_more_than_is_known(tmp_path: Path) -> None:
    source = make_source(tmp_path)
    head = yaml.safe_load(card(source).split("---\n")[1])
    assert head == {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["cai", "llama"]}
    korean = told(source, tokenizer={"hangul_per_token": 0.9})
    assert yaml.safe_load(card(korean).split("---\n")[1])["language"] == ["ko"]
    assert "license" not in card(korean).split("---\n")[1]


def test_model_data_and_training_are_those_of_the_run(tmp_path: Path) -> None:
    source = make_source(tmp_path / "2026-01-02", "name=병원", "optimizer.lr=0.0123", "model.tie_weights=false")
    text = card(told(source, device={"type": "cpu", "precision": "fp32"}))
    count = sum(parameter.numel() for parameter in source.trained.model.parameters())
    assert "# 병원\n" in text
    assert f"`LlamaForCausalLM` of {count:,} parameters" in text
    assert "168 tokens at once, of a vocabulary of 400. The weights (float32) are its best, after step 3 of the run" in text
    assert "_target_: cai.data.contacts.ContactsConfig" in section(text, "Data")
    assert f"corpus `{'a' * 16}`" in section(text, "Data")
    assert "lr: 0.0123" in section(text, "Training")
    assert "It ran on cpu in fp32 with PyTorch" in section(text, "Training")
    assert "`config.yaml`" in section(text, "Training")
    assert "its checkpoint `average:3`" in card(replace(source, checkpoint="average:3"))


def test_scores_are_those_of_these_very_weights(tmp_path: Path) -> None:
    source = make_source(tmp_path)
    assert "| validation loss, nats per token | 2.5000 |  |" in section(card(source), "Scores")
    lines = [{"step": 2, "val/loss": 1.0}, {"step": 3, "train/loss": 7.0, "val/loss": 2.0}, {"step": 4, "val/loss": 9.0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*map(json.dumps, lines), '{"step": 3, "va']))
    answered = told(source, answered={"step": 4, "figures": {"answers/tel": 0.875}})
    scores = section(card(answered), "Scores")
    assert "| validation loss, nats per token | 2.0000 |  |" in scores
    assert "| telephone copied right | 87.5% |  |" in scores
    assert "7.0" not in scores
    assert "telephone" not in section(card(replace(answered, checkpoint="last")), "Scores")
    for checkpoint in ("ema", "average:2"):
        assert "have not been scored" in section(card(replace(answered, checkpoint=checkpoint)), "Scores")


def test_the_newest_evaluation_of_these_weights_comes_before_what_training_found(tmp_path: Path) -> None:
    source = told(make_source(tmp_path), answered={"figures": {"answers/tel": 0.5, "answers/web": 0.25}})
    evaluation(tmp_path, "2026-01-01", {"answers/tel": 0.1})
    evaluation(tmp_path, "2026-01-02", {"answers/tel": 0.875, "loss": 1.25})
    evaluation(tmp_path, "2026-01-03", {"answers/tel": 0.2}, checkpoint="last")
    evaluation(tmp_path, "2026-01-04", {"answers/tel": 0.3}, step=2)
    (tmp_path / "evaluations" / "2026-01-05.json").write_text("{")
    scores = section(card(source), "Scores")
    assert "| telephone copied right | 87.5% | 40 about organisations never seen |" in scores
    assert scores.count("telephone") == 1
    assert "| web address copied right | 25.0% |  |" in scores
    assert "| validation loss, nats per token | 1.2500 |  |" in scores


def test_the_commands_repeat_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = make_source(tmp_path / "outputs" / "run" / "x", "name=a b")
    text = section(card(source), "Reproduce")
    assert "commit 0123456789abcdef" in text
    assert "cai train 'name=a b'\n" in text
    assert "cai reproduce outputs/run/x " in text
    assert "uncommitted" not in text
    code = {"commit": None, "dirty": True, "own": {"mine": "0"}}
    own = section(card(told(source, code=code, config_dir="my conf")), "Reproduce")
    assert "By CAI's version 0.1.0, with uncommitted changes" in own
    assert "cai train 'name=a b' --config-dir 'my conf' trust=mine\n" in own


def test_no_name_of_this_machine_goes_out_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "somebody"))
    assert str(tmp_path) not in card(make_source(tmp_path / "x"))
    text, model = tmp_path / "texts" / "a.txt", tmp_path / "models" / "base"
    text.parent.mkdir()
    text.write_text("글\n" * 100)
    words = (f"data.path={text}", f"trainer.init_from={model}", f"+data.paths=[{text},'{text}']", "output_dir=~/out")
    plain = begun(make_source(tmp_path / "x", "data=text", words[0], "~data.samples"), str(model))
    (tmp_path / "x").mkdir()
    evaluation(tmp_path / "x", "2026-01-01", {"answers/tel": 0.5}, about=f"of {text.parent / 'asked.jsonl'}")
    said = card(told(plain, overrides=list(words), config_dir=str(tmp_path / "my conf")))
    assert "somebody" not in said
    for folder in (tmp_path, tmp_path.resolve()):
        assert str(folder) not in said
    command = "cai train data.path=a.txt trainer.init_from=base '+data.paths=[a.txt,'\"'\"'a.txt'\"'\"']' output_dir=out"
    assert f"{command} --config-dir 'my conf'\n" in section(said, "Reproduce")
    assert "path: a.txt" in section(said, "Data")
    assert "path: tokenizer.json" in section(said, "Data")
    assert "| 50.0% | 40 of asked.jsonl |" in section(said, "Scores")


def test_what_is_below_the_current_folder_is_called_as_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [f"data.path={tmp_path / 'texts' / 'a, b.txt'}", "data.template=/{x}\n", "name=a/b", "data.path=C:\\mine\\a.txt"]
    said = section(card(told(make_source(tmp_path / "x"), overrides=words)), "Reproduce")
    assert "cai train 'data.path=texts/a, b.txt' 'data.template=/{x}\n' name=a/b data.path=a.txt\n" in said


@pytest.mark.parametrize("word", ["trainer.init_from=last", "model.path=last"])
def test_what_it_began_with_is_told_and_named_in_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "began with" not in card(make_source(tmp_path / "x"))
    source = begun(make_source(tmp_path / "x"), "outputs/run/2026-01-01_00-00-00")
    facts = {"path": "outputs/run/2026-01-01_00-00-00", "weights": "fedcba9876543210"}
    said = card(told(source, overrides=[word, "seed=2"], init_from=facts))
    assert "It began with `2026-01-01_00-00-00` (fingerprint `fedcba9876543210`)" in section(said, "Training")
    key = word.partition("=")[0]
    assert f"cai train {key}=outputs/run/2026-01-01_00-00-00 seed=2\n" in section(said, "Reproduce")
    assert "It began with `2026-01-01_00-00-00`, whose" in card(source)


def test_a_run_of_before_that_recorded_less_has_a_card_too(tmp_path: Path) -> None:
    text = card(replace(make_source(tmp_path), facts={}))
    assert "have not been scored" in text
    assert "cai train\n" in text


def test_the_lines_that_use_it_suit_the_data(tmp_path: Path) -> None:
    assert "apply_chat_template" in section(card(make_source(tmp_path)), "Use")
    (tmp_path / "a.txt").write_text("글\n" * 100)
    plain = make_source(tmp_path, "data=text", f"data.path={tmp_path / 'a.txt'}", "~data.samples")
    assert "apply_chat_template" not in section(card(plain), "Use")
    assert "single questions" not in card(plain)
    assert "trust_remote_code=True" not in card(plain)
    assert "trust_remote_code=True" in section(card(plain, auto_map={}), "Use")


def test_it_says_that_tags_are_read_in_any_text(tmp_path: Path) -> None:
    limits = section(card(make_source(tmp_path)), "Limits")
    assert "`[QUESTION]`" in limits
    assert "split_special_tokens=True" in limits
