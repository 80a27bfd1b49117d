"""From one format of ``config.yaml`` to the next: pure, and what it meant stays what it means."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from cai.composition import compose
from cai.config.saved import FORMAT, UPGRADES, save_config

SAVED = Path(__file__).parent / "saved"


@pytest.mark.parametrize(("before", "after"), [(None, 8), (2, 2)])
def test_the_upgrade_of_the_first_format_changes_what_it_must_and_not_its_input(before: int | None, after: int) -> None:
    trainer = {"max_steps": 5, "batch_size": 8, "micro_batch_size": before}
    tree = {"seed": 1, "trainer": trainer}
    copy = {"seed": 1, "trainer": dict(trainer)}
    new = UPGRADES[1](tree)
    assert tree == copy
    assert tree["trainer"] is trainer
    assert new == {
        "seed": 1,
        "trainer": {**trainer, "micro_batch_size": after, "on_nonfinite": "stop", "max_skipped": 10},
    }


@pytest.mark.parametrize("text", [True, False])
def test_the_upgrade_of_the_second_format_adds_what_changes_nothing_and_leaves_its_input_alone(text: bool) -> None:
    data = {"_target_": f"cai.data.{'text.TextConfig' if text else 'contacts.ContactsConfig'}", "split": "tail"}
    tree = {"seed": 1, "data": data, "trainer": {"max_steps": 5}, "device": {"compile": True}}
    before = copy.deepcopy(tree)
    new = UPGRADES[2](tree)
    assert tree == before
    assert new == {
        "seed": 1,
        "data": {**data, "end_of_text": True} if text else data,
        "trainer": {"max_steps": 5, "chunked_loss": False, "gradient_checkpointing": False, "ema_decay": 0.0},
        "device": {"compile": True, "compile_optimizer": False},
    }


@pytest.mark.parametrize("text", [True, False])
def test_the_upgrade_of_the_third_format_reads_and_cuts_text_as_before(text: bool) -> None:
    data = {"_target_": f"cai.data.{'text.TextConfig' if text else 'contacts.ContactsConfig'}", "split": "tail"}
    tree = {"seed": 1, "data": data, "tokenizer": {"_target_": "cai.tokenizer.bpe.BPEConfig", "vocab_size": 300}}
    before = copy.deepcopy(tree)
    new = UPGRADES[3](tree)
    assert tree == before
    assert new["tokenizer"] == {**tree["tokenizer"], "sample_mb": None, "sample_seed": 1337}  # type: ignore[dict-item]
    rows = {"packing": "stream", "isolate": False, "loss": "all"}
    off = {"encoding": "utf-8", "on_error": "stop", "chunk": 0, "split_by": "document", "parse_tags": False, "marker": None}
    expected = {**data, **rows, **off} if text else {**data, **rows}
    assert {key: new["data"][key] for key in expected} == expected
    if text:
        assert new["data"]["augment"]["copies"] == 0
        assert not any(value is True for name, value in new["data"]["clean"].items() if name != "nfc")
    else:
        assert new["data"] == expected


def test_the_upgrade_of_the_fourth_format_chooses_tokens_and_ends_texts_as_before() -> None:
    tree: dict[str, Any] = {"seed": 1, "generation": {"temperature": 0.7, "top_k": 5, "max_new_tokens": 9}}
    before = copy.deepcopy(tree)
    new = UPGRADES[4](tree)
    assert tree == before
    off = {"repetition_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0, "no_repeat_ngram": 0}
    off |= {"top_p": 1.0, "min_p": 0.0, "stop": [], "lookup_tokens": 0, "show": None}
    assert new["generation"] == {**tree["generation"], **off}
    new["generation"]["stop"].append("a")
    assert UPGRADES[4](tree)["generation"]["stop"] == [], "no list is shared"


def test_the_upgrade_of_the_fourth_format_scores_no_answers_as_before() -> None:
    tree: dict[str, Any] = {"seed": 1, "trainer": {"max_steps": 5}}
    before = copy.deepcopy(tree)
    assert UPGRADES[4](tree) == {"seed": 1, "trainer": {"max_steps": 5, "answers": 0}}
    assert tree == before


@pytest.mark.parametrize("kind", ["contacts.ContactsConfig", "contacts_file.ContactsFileConfig", "text.TextConfig"])
def test_the_upgrade_of_the_fourth_format_makes_the_contacts_of_before(kind: str) -> None:
    data = {"_target_": f"cai.data.{kind}", "split": "tail"}
    tree: dict[str, Any] = {"seed": 1, "data": data}
    before = copy.deepcopy(tree)
    wild = {"wild": 0.0} if kind == "contacts.ContactsConfig" else {}
    assert UPGRADES[4](tree) == {"seed": 1, "data": {**data, **wild}}
    assert tree == before


@pytest.mark.parametrize("number", UPGRADES)
@pytest.mark.parametrize(
    "tree", [{}, {"trainer": None}, {"trainer": 3}, {"trainer": {}}, {"data": "x", "device": []}, {"generation": 3}]
)
def test_an_upgrade_leaves_what_is_wrong_to_validation(tree: dict[str, Any], number: int) -> None:
    assert UPGRADES[number](tree).keys() - {"sweep"} == tree.keys()


def test_the_newest_stored_config_is_what_is_saved_today(tmp_path: Path) -> None:
    save_config(compose([]), tmp_path / "config.yaml")
    stored = (SAVED / f"format_{FORMAT}.yaml").read_text(encoding="utf-8")
    assert (tmp_path / "config.yaml").read_text(encoding="utf-8") == stored, (
        "An option or a default changed: with an option, raise FORMAT and write its upgrade; with a default, save anew."
    )


def test_the_upgrade_of_the_fifth_format_prunes_nothing_and_leaves_its_input_alone() -> None:
    tree: dict[str, Any] = {"seed": 1, "trainer": {"max_steps": 5}}
    before = copy.deepcopy(tree)
    new = UPGRADES[5](tree)
    assert tree == before
    assert new["trainer"] == {"max_steps": 5, "prune": None, "prune_warmup": 0, "histogram_every": 0}
    assert new["sweep"] == {"_target_": "cai.sweeps.SweepConfig", "fail_fast": False, "retry": True}


def test_the_upgrade_of_the_fifth_format_merges_as_before() -> None:
    tokenizer = {"_target_": "cai.tokenizer.bpe.BPEConfig", "vocab_size": 300}
    new = UPGRADES[5]({"trainer": {}, "tokenizer": tokenizer})
    assert new["tokenizer"] == {**tokenizer, "merge_within": "word"}
    modern = {"_target_": "cai.model.modern.ModernConfig", "block_shift": 3}
    assert UPGRADES[5]({"trainer": {}, "model": modern})["model"] == {**modern, "shift_init": 0.0}
    other = {"_target_": "cai.tokenizer.byte.ByteConfig"}
    assert UPGRADES[5]({"trainer": {}, "tokenizer": other})["tokenizer"] == other


def test_the_upgrade_of_the_sixth_format_begins_at_random_and_leaves_its_input_alone() -> None:
    tree: dict[str, Any] = {"seed": 1, "trainer": {"max_steps": 5}}
    before = copy.deepcopy(tree)
    assert UPGRADES[6](tree) == {"seed": 1, "trainer": {"max_steps": 5, "init_from": None}}
    assert tree == before


def test_the_upgrade_of_the_sixth_format_drops_what_no_answer_says_also_in_a_mix() -> None:
    fields = {"name": "name", "category": "category", "city": None, "tel": "tel"}
    records = {"_target_": "cai.data.contacts_file.ContactsFileConfig", "fields": fields}
    other = {"_target_": "cai.data.text.TextConfig", "fields": dict(fields)}
    mixed = {"_target_": "cai.data.mix.MixConfig", "sources": {"a": records, "b": other}}
    without = {**records, "fields": {"name": "name", "tel": "tel"}}
    for data, expected in ((records, without), (other, other), (mixed, {**mixed, "sources": {"a": without, "b": other}})):
        tree: dict[str, Any] = {"data": data, "trainer": {"max_steps": 5}}
        before = copy.deepcopy(tree)
        assert UPGRADES[6](tree) == {"data": expected, "trainer": {"init_from": None, "max_steps": 5}}
        assert tree == before


def test_the_upgrade_of_the_seventh_format_has_no_heads_look_back() -> None:
    qwen3 = {"_target_": "cai.model.qwen3.Qwen3Config", "n_layer": 4}
    assert UPGRADES[7]({"model": qwen3})["model"] == {**qwen3, "previous_token_heads": 0}
    other = {"_target_": "cai.model.llama.LlamaConfig", "n_layer": 4}
    assert UPGRADES[7]({"model": other})["model"] == other
