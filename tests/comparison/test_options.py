"""Options flat, in what runs differ, and how short a path can be said."""

from __future__ import annotations

import pytest

from cai.comparison.options import Scalar, differing_options, flatten_tree, short_paths


def test_a_tree_becomes_flat_with_lists_and_nothing_as_they_are_typed() -> None:
    tree = {
        "format": 6,
        "name": "run",
        "output_dir": "x",
        "sweep": {"_target_": "cai.sweeps.SweepConfig", "retry": True},
        "seed": 1,
        "model": {"_target_": "cai.model.gpt2.GPT2Config", "bias": False, "clean": {"nfc": True}, "none": {}},
        "optimizer": {"betas": [0.9, 0.95], "stop": ["a", None, True], "lr": 1e-4, "x": None},
    }
    assert flatten_tree(tree) == {
        "seed": 1,
        "model.class": "cai.model.gpt2.GPT2Config",
        "model.bias": False,
        "model.clean.nfc": True,
        "model.none": "{}",
        "optimizer.betas": "[0.9,0.95]",
        "optimizer.stop": "[a,null,true]",
        "optimizer.lr": 1e-4,
        "optimizer.x": "null",
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], []),
        ([{"a": 1}], []),
        ([{"a": 1, "b": 2}, {"a": 1, "b": 3}], ["b"]),
        ([{"b": 2, "a": 1}, {"a": 2, "b": 3}], ["b", "a"]),
        ([{"s.class": "A", "s.x": 1}, {"s.class": "B", "s.y": 1}], ["s.class"]),
        ([{"s.class": "A", "s.x": 1}, {"s.class": "A", "s.x": 2}, {"s.class": "B"}], ["s.class", "s.x"]),
        ([{"s.class": "A", "s.x": 1}, {"s.class": "A"}], ["s.x"]),
        ([{"s.class": "A", "t.class": "T", "t.x": 1}, {"s.class": "B", "t.class": "T"}], ["s.class", "t.x"]),
    ],
)
def test_options_differ_in_value_and_not_for_want_of_them_in_another_class(
    options: list[dict[str, Scalar]], expected: list[str]
) -> None:
    assert differing_options(options) == expected


def test_a_path_is_cut_to_the_shortest_end_that_means_it_alone() -> None:
    paths = ["seed", "data.seed", "optimizer.lr", "data.clean.nfc", "x.clean.nfc", "augment.seed"]
    assert short_paths(paths, paths) == {
        "seed": "seed",
        "data.seed": "data.seed",
        "optimizer.lr": "lr",
        "data.clean.nfc": "data.clean.nfc",
        "x.clean.nfc": "x.clean.nfc",
        "augment.seed": "augment.seed",
    }
    assert short_paths(["optimizer.lr"], ["other.lr"]) == {"optimizer.lr": "optimizer.lr"}
