"""docs/schema: every YAML fits its schema, a mistake in any does not, and the files are what the classes say today."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from cai.config.comments import Sheets
from cai.config.schema import schemas
from cai.config.tree import load_yaml
from cai.resources import conf_folder
from tests.docs.pages import DOCS

CONF = conf_folder()
YAMLS = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
BASE = "http://schema/"


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    return schemas(Sheets([CONF]))


@pytest.fixture(scope="module")
def registry(written: dict[str, Any]) -> Registry[Any]:
    return Registry().with_resources([(BASE + name, Resource.from_contents(schema)) for name, schema in written.items()])


def schema_of(path: Path) -> str:
    group = path.parts[0]
    return f"roots/{path.stem}.json" if len(path.parts) == 1 else "launcher.json" if group == "hydra" else f"{group}.json"


def mistakes(name: str, tree: object, registry: Registry[Any]) -> list[str]:
    found = Draft7Validator({"$ref": BASE + name}, registry=registry).iter_errors(tree)  # type: ignore[no-untyped-call]
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in found]


def test_the_files_are_what_the_classes_and_comments_say(written: dict[str, Any]) -> None:
    folder = DOCS / "schema"
    there = {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}
    renew = "renew them with: cai inspect options out=docs (and delete what is no more)"
    assert {name: json.loads(text) for name, text in there.items()} == written, renew


def test_each_is_a_schema_of_draft_7(written: dict[str, Any]) -> None:
    for schema in written.values():
        Draft7Validator.check_schema(schema)


@pytest.mark.parametrize("path", YAMLS, ids=str)
def test_every_yaml_fits_and_a_mistake_in_it_does_not(path: Path, registry: Registry[Any]) -> None:
    name, tree = schema_of(path), load_yaml((CONF / path).read_text(encoding="utf-8"))
    assert mistakes(name, tree, registry) == []
    assert mistakes(name, tree | {"n_layerz": 1}, registry)
    for option, value in tree.items():
        if option not in ("defaults", "hydra", "_target_", "space", "sources", "weights"):
            assert mistakes(name, tree | {option: {"no": "such"}}, registry), option
            assert mistakes(name, {key: one for key, one in tree.items() if key != option} | {f"{option}x": value}, registry)


@pytest.mark.parametrize(
    ("name", "tree", "wrong"),
    [
        ("model.json", {"defaults": ["gpt2_nano", "_self_"], "n_layer": 8}, ""),
        ("model.json", {"defaults": ["gpt2_nano", "_self_"], "token_shift": 3}, "token_shift"),
        ("model.json", {"defaults": ["modern", "_self_"], "token_shift": 3}, ""),
        ("model.json", {"defaults": ["gpt2"], "n_layer": 0}, "n_layer"),
        ("model.json", {"defaults": ["gpt2"], "n_layer": "???"}, ""),
        ("model.json", {"defaults": ["gpt2"], "n_layer": "${model.n_head}"}, ""),
        ("model.json", {"_target_": "cai.model.gpt2.GPT2Config", "n_layer": 2}, "'n_embd' is a required property"),
        ("model.json", {"_target_": "cai.model.gpt2.GPT3Config"}, "_target_"),
        ("model.json", {"_target_": "my_package.net.NetConfig", "rings": 2}, ""),
        ("model.json", {"n_layer": 2}, ""),
        ("model.json", {"rings": 2}, "rings"),
        ("data.json", {"defaults": ["text"], "clean": {"nfc": False}}, ""),
        ("data.json", {"defaults": ["text"], "clean": {"nfd": False}}, "nfd"),
        ("data.json", {"defaults": ["mix", "text@sources.a"], "sources": {"a": {"path": "x"}}}, ""),
        ("data.json", {"defaults": ["mix", "text@sources.a"], "sources": {"a": {"pat": "x"}}}, "sources"),
        ("device.json", {"defaults": ["auto"], "precision": "fp8"}, "precision"),
        ("optimizer.json", {"defaults": ["adamw"], "betas": [0.9]}, "betas"),
        ("experiment.json", {"defaults": [{"override /model": "gpt2"}], "model": {"bias": True}}, ""),
        ("experiment.json", {"defaults": [{"override /model": "gpt2"}], "model": {"token_shift": 1}}, "token_shift"),
        ("experiment.json", {"model": {"token_shift": 1}, "tune": {"trials": 3}}, ""),
        ("experiment.json", {"model": {"bias": True}}, "bias"),
        ("experiment.json", {"tune": {"trails": 3}}, "trails"),
        ("experiment.json", {"seeed": 3}, "seeed"),
        ("roots/export.json", {"to": "ggml"}, "to"),
    ],
)
def test_what_may_stand_in_a_yaml(name: str, tree: Mapping[str, Any], wrong: str, registry: Registry[Any]) -> None:
    found = mistakes(name, tree, registry)
    assert bool(found) == bool(wrong), found
    assert wrong in "\n".join(found)


def test_an_option_brings_its_comment_and_value(written: dict[str, Any]) -> None:
    option = written["trainer.json"]["definitions"]["TrainerConfig"]["properties"]["grad_clip"]
    assert option["description"] == "largest norm of the whole gradient; 0 = no clipping"
    assert option["default"] == 1.0
    assert option["anyOf"][0] == {"minimum": 0, "type": "number"}
