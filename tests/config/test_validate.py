"""Validation of a composed tree: exact types, frozen objects, and one sentence for each problem."""

from __future__ import annotations

import copy
import functools
import math
from typing import Any

import pytest

from cai.composition import compose
from cai.config.roots import TrainConfig
from cai.config.saved import to_tree
from cai.config.validate import Validation, leaf_paths
from cai.spelling import did_you_mean

DELETED = object()
CHOSEN = ("model=gpt2", "optimizer=adamw", "schedule=cosine", "trainer.batch_size=8")
"""What the expected messages rely on."""


@functools.cache
def chosen_tree() -> dict[str, Any]:
    return to_tree(compose(CHOSEN))


def build(changes: dict[str, object]) -> tuple[TrainConfig | None, list[str]]:
    """The chosen config with changes by dotted path, and the problems found."""
    tree = copy.deepcopy(chosen_tree())
    known = leaf_paths(tree)
    for path, value in changes.items():
        *parents, leaf = path.split(".")
        node = functools.reduce(lambda node, name: node[name], parents, tree)
        if value is DELETED:
            del node[leaf]
        else:
            node[leaf] = value
    validation = Validation(known_paths=known)
    return validation.build(tree, TrainConfig), validation.problems


def problem_of(changes: dict[str, object]) -> str:
    config, problems = build(changes)
    assert config is None
    (problem,) = problems
    return problem


def test_a_tree_becomes_frozen_objects_with_tuples_and_no_targets() -> None:
    config, problems = build({})
    assert config is not None
    assert problems == []
    assert config == compose(CHOSEN)
    assert type(config.optimizer.betas) is tuple  # type: ignore[attr-defined]
    assert "_target_" not in str(config.model_dump())
    assert chosen_tree()["model"]["_target_"] == "cai.model.gpt2.GPT2Config"
    for target, name in ((config, "seed"), (config, "model"), (config.model, "n_layer"), (config.optimizer, "betas")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(target, name, getattr(target, name))
    assert hash(config) == hash(compose(CHOSEN))


@pytest.mark.parametrize(
    ("path", "value", "kept"),
    [
        ("trainer.grad_clip", 1, 1.0),
        ("trainer.max_epochs", None, None),
        ("trainer.eval_max_tokens", 7, 7),
        ("optimizer.betas", [0, 0.5], (0.0, 0.5)),
        ("optimizer.betas", (0.1, 0.5), (0.1, 0.5)),
        ("seed", 2**63 - 1, 2**63 - 1),
        ("name", "1e-4", "1e-4"),
    ],
)
def test_values_of_the_right_kind_are_kept(path: str, value: object, kept: object) -> None:
    config, problems = build({path: value})
    assert problems == []
    result = functools.reduce(getattr, path.split("."), config)
    assert (result, type(result)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("model.n_layer", True, ["`model.n_layer`", "a whole number", "but is True"]),
        ("model.n_layer", "4", ["`model.n_layer`", "a whole number", "but is '4'"]),
        ("model.n_layer", 4.0, ["`model.n_layer`", "a whole number", "but is 4.0", "Try 4."]),
        ("model.n_layer", 4.5, ["`model.n_layer`", "a whole number", "but is 4.5"]),
        ("model.n_layer", None, ["`model.n_layer`", "a whole number", "but is None"]),
        ("model.n_layer", 0, ["`model.n_layer`", "greater than 0", "but is 0"]),
        ("model.n_layer", {"_target_": "os.system"}, ["`model.n_layer`", "a whole number", "os.system"]),
        ("model.n_layer", DELETED, ["`model.n_layer`", "must be given", "model.n_layer=<value>"]),
        ("model.bias", 1, ["`model.bias`", "true or false", "but is 1"]),
        ("model.bias", "true", ["`model.bias`", "true or false", "but is 'true'"]),
        ("model.dropout", True, ["`model.dropout`", "a number", "but is True"]),
        ("model.dropout", "0.1", ["`model.dropout`", "a number", "but is '0.1'"]),
        ("model.dropout", 1, ["`model.dropout`", "less than 1", "but is 1"]),
        ("optimizer.lr", math.nan, ["`optimizer.lr`", "finite", "but is nan"]),
        ("optimizer.lr", math.inf, ["`optimizer.lr`", "finite", "but is inf"]),
        ("optimizer.lr", -math.inf, ["`optimizer.lr`", "finite", "but is -inf"]),
        ("optimizer.lr", 0, ["`optimizer.lr`", "greater than 0", "but is 0"]),
        ("optimizer.betas", [0.9], ["`optimizer.betas`", "more values", "[0.9]"]),
        ("optimizer.betas", [0.9, 0.9, 0.9], ["`optimizer.betas`", "2 values", "0.9, 0.9, 0.9"]),
        ("optimizer.betas", [0.9, math.nan], ["`optimizer.betas.1`", "finite", "but is nan"]),
        ("optimizer.betas", [True, 0.5], ["`optimizer.betas.0`", "a number", "but is True"]),
        ("optimizer.betas", 0.9, ["`optimizer.betas`", "a list", "but is 0.9"]),
        ("optimizer.betas", "ab", ["`optimizer.betas`", "a list", "but is 'ab'"]),
        ("tokenizer.digits", 4, ["`tokenizer.digits`", "but is 4"]),
        ("tokenizer.digits", True, ["`tokenizer.digits`", "but is True"]),
        ("tokenizer.vocab_size", 263, ["`tokenizer.vocab_size`", "at least 264", "but is 263"]),
        ("trainer.max_steps", True, ["`trainer.max_steps`", "a whole number", "but is True"]),
        ("trainer.max_steps", 0, ["`trainer.max_steps`", "greater than 0", "but is 0"]),
        (
            "trainer.micro_batch_size",
            "atuo",
            ["`trainer.micro_batch_size` must be a whole number or one of 'auto'", "but is 'atuo'", "Did you mean auto?"],
        ),
        ("data.split", "hsh", ["`data.split`", "'hash' or 'tail'", "but is 'hsh'", "Did you mean hash?"]),
        ("device.precision", "fp8", ["`device.precision`", "'bf16'", "but is 'fp8'"]),
        ("seed", 2**63, ["`seed`", "less than 9223372036854775808", f"but is {2**63}"]),
        ("name", 5, ["`name`", "text", "but is 5"]),
        ("name", "cache", ["`name`", "one folder", "but is 'cache'", "Try name=my_run"]),
        ("name", "..", ["`name`", "one folder", "but is '..'", "Try name=my_run"]),
        ("name", "a\nb", ["`name`", "one folder", "but is 'a\\nb'", "Try name=my_run"]),
        ("output_dir", "", ["`output_dir`", "a folder's path", "but is ''", "Try output_dir=outputs"]),
        ("model", None, ["`model`", "chosen by name", "but is None"]),
        ("model", "gpt2", ["`model`", "chosen by name", "but is 'gpt2'"]),
        ("model", {}, ["`model._target_`", "is missing", "model=<name>"]),
        ("model", DELETED, ["`model`", "must be given", "model="]),
        ("model.n_layers", 4, ["`model.n_layers`", "GPT2Config", "no such option", "Did you mean model.n_layer?"]),
        ("model.lr", 1e-3, ["`model.lr`", "GPT2Config", "no such option", "Did you mean optimizer.lr?"]),
        ("n_layer", 4, ["`n_layer`", "no such option", "Did you mean model.n_layer?"]),
        ("unheard_of", 4, ["`unheard_of`", "no such option", "There are: name, seed, output_dir, model"]),
        ("_target_", "os.system", ["`_target_`", "no such option"]),
        ("trainer.grad_accum_steps", 4, ["`trainer.grad_accum_steps`", "derived", "batch_size", "micro_batch_size"]),
    ],
)
def test_a_wrong_value_is_one_sentence_with_path_rule_value_and_remedy(path: str, value: object, parts: list[str]) -> None:
    problem = problem_of({path: value})
    for part in parts:
        assert part in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"model.n_head": 4, "model.n_embd": 101},
            ["model.n_embd must be a multiple of model.n_head (4)", "but is 101", "Try 100 or 104."],
        ),
        ({"model.n_head": 4, "model.n_embd": 3}, ["model.n_embd", "a multiple of model.n_head (4)", "but is 3", "Try 4."]),
        (
            {"trainer.batch_size": 16, "trainer.micro_batch_size": 3},
            ["trainer.micro_batch_size must divide trainer.batch_size (16)", "is 3", "Try 2."],
        ),
        (
            {"trainer.batch_size": 16, "trainer.micro_batch_size": 32},
            ["must divide trainer.batch_size (16)", "but is 32", "Try 16."],
        ),
        ({"trainer.max_steps": None}, ["exactly one of trainer.max_steps and trainer.max_epochs", "both are null"]),
        (
            {"trainer.max_steps": 400, "trainer.max_epochs": 2.5},
            ["exactly one of trainer.max_steps and trainer.max_epochs", "are 400 and 2.5"],
        ),
        ({"trainer.patience": 2, "trainer.eval_every": 0}, ["trainer.patience", "is 2", "Try trainer.eval_every=100."]),
    ],
)
def test_an_impossible_combination_names_both_options_and_a_way_out(changes: dict[str, object], parts: list[str]) -> None:
    problem = problem_of(changes)
    for part in parts:
        assert part in problem
    assert "@" not in problem


def test_every_problem_of_every_component_is_found_in_one_pass() -> None:
    wrong = {
        "seed": -1,
        "model.n_layer": 0,
        "model.n_layers": 4,
        "optimizer.betas": [2, True],
        "trainer.max_epochs": 1,
        "trainer.micro_batch_size": 3,
        "data._target_": "os.system",
        "schedule": "cosine",
        "device.type": "gpu",
    }
    config, problems = build(wrong)
    assert config is None
    starts = [
        *("`seed`", "`model.n_layer`", "`model.n_layers`", "`optimizer.betas.0`", "`optimizer.betas.1`", "exactly one of"),
        *("trainer.micro_batch_size", "`data._target_`", "`schedule`", "`device.type`"),
    ]
    assert len(problems) == len(starts)
    for start in starts:
        assert sum(problem.startswith(start) for problem in problems) == 1


def test_the_tree_that_is_validated_is_left_as_it_was() -> None:
    tree = copy.deepcopy(chosen_tree())
    assert Validation().build(tree, TrainConfig) is not None
    assert tree == chosen_tree()


@pytest.mark.parametrize(
    ("word", "known", "close"),
    [
        ("trainer.max_step", ["trainer.max_steps", "trainer.patience"], ["trainer.max_steps"]),
        ("lr", ["optimizer.lr", "seed"], ["optimizer.lr"]),
        ("model.lr", ["optimizer.lr", "model.n_layer"], ["optimizer.lr"]),
        ("n_layr", ["model.n_layer", "model.n_head"], ["model.n_layer"]),
        ("gtp2", ["gpt2", "gpt2_mini", "llama"], ["gpt2"]),
        ("zzz", ["gpt2", "seed"], []),
    ],
)
def test_a_similar_name_is_found(word: str, known: list[str], close: list[str]) -> None:
    assert did_you_mean(word, known) == close


def test_a_wrong_option_is_never_offered_as_its_own_correction() -> None:
    tree = copy.deepcopy(chosen_tree()) | {"trust": "my_package"}
    validation = Validation(known_paths=leaf_paths(tree))
    assert validation.build(tree, TrainConfig) is None
    assert "Did you mean trust?" not in validation.problems[0]
