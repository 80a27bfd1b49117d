"""Saved configs as plain trees: what the fast reader gives is what the careful one gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf._utils import get_omega_conf_dumper, get_yaml_loader

from cai.config.saved import FORMAT, save_config, to_tree
from cai.config.tree import load_yaml, read_tree
from cai.errors import ConfigError, RunError
from cai.resources import conf_folder

SAVED = Path(__file__).parent / "saved"
FILES = [*sorted(SAVED.glob("*.yaml")), *sorted(conf_folder().rglob("*.yaml"))]

HOSTILE = [
    "1e-4",
    "3e-4",
    "0x1f",
    "1_000",
    "1:30",
    "null",
    "~",
    "yes",
    "on",
    "2026-01-01",
    "=",
    "<<",
    "- a",
    "${x}",
    "가: 나",
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab_가", min_size=1), inner)
)


def careful(text: str) -> Any:
    return yaml.load(text, Loader=get_yaml_loader())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_of_cai_are_read_alike(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert load_yaml(text) == careful(text)


@given(TREES, st.booleans())
def test_whatever_can_be_saved_is_read_alike(tree: Any, readable: bool) -> None:
    text = yaml.dump({"tree": tree}, Dumper=get_omega_conf_dumper(), sort_keys=False, allow_unicode=readable)
    expected = careful(text)
    found = load_yaml(text)
    assert found == expected
    assert repr(found) == repr(expected)  # 1 is not 1.0, and not True


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a: [", "a: !!python/object/apply:os.getcwd []", "\t- a", "a: b: c"])
def test_what_the_careful_reader_refuses_is_refused(text: str) -> None:
    for read in (careful, load_yaml):
        with pytest.raises(yaml.YAMLError):
            read(text)


def test_a_machine_without_libyaml_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (SAVED / "format_1.yaml").read_text(encoding="utf-8")
    fast = load_yaml(text)
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert load_yaml(text) == fast


def test_a_saved_config_is_the_tree_that_was_saved(tmp_path: Path) -> None:
    import cai

    config = cai.compose(["data=text", "data.path=나의 ${글}.txt", "optimizer.lr=1e-4"])
    save_config(config, tmp_path / "config.yaml")
    assert read_tree(tmp_path / "config.yaml") == to_tree(config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "cannot be read"),
        ("a: 1", "format"),
        ("format: true", "format"),
        ("format: 0", "format"),
        ("[]", "format"),
        (f"format: {FORMAT + 1}", "Update CAI"),
    ],
)
def test_what_is_no_saved_config_is_said_with_its_path(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said) as caught:
        read_tree(path)
    assert str(path) in str(caught.value)


def test_a_missing_config_is_a_missing_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"config\.yaml"):
        read_tree(tmp_path / "config.yaml")
