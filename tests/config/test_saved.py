"""``config.yaml``: complete, exact, readable for years, and never code."""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cai.composition import compose
from cai.config import saved
from cai.config.base import Config
from cai.config.roots import TrainConfig
from cai.config.saved import FORMAT, UPGRADES, load_config, save_config, to_tree
from cai.errors import ConfigError, RunError
from cai.model.gpt2 import GPT2Config

SAVED = Path(__file__).parent / "saved"

steady = settings(deadline=None, derandomize=True, database=None, max_examples=100)
pieces = st.one_of(
    st.sampled_from(["${", "${x}", "}", "\\", "'", '"', ": ", "#", "\n", "\r\n", "\t", "\x85", "???", "가", "!!", "1e-4"]),
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
)
any_text = st.lists(pieces, min_size=1, max_size=8).map("".join)


@functools.cache
def default() -> Any:
    return compose(["model=gpt2", "data=text", "data.path=x"])


def with_path(text: str) -> Any:
    config = default()
    return config.model_copy(update={"data": config.data.model_copy(update={"path": text})})


def round_trip(config: TrainConfig, folder: Path) -> Any:
    save_config(config, folder / "config.yaml")
    return load_config(folder / "config.yaml", TrainConfig)


@pytest.fixture
def edited(tmp_path: Path) -> Any:
    """Saves the default config, replaces a piece of its text, and loads it; returns the message of the error."""

    def load(old: str, new: str) -> str:
        path = tmp_path / "config.yaml"
        save_config(default(), path)
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load_config(path, TrainConfig)
        assert all(problem.startswith(str(path)) for problem in caught.value.problems)
        return str(caught.value)

    return load


def test_there_is_a_stored_config_of_every_format_so_far() -> None:
    numbers = [int(path.stem.removeprefix("format_")) for path in SAVED.glob("format_*.yaml")]
    assert sorted(numbers) == list(range(1, FORMAT + 1)), (
        "With a new FORMAT, save a config of it as tests/config/saved/format_<n>.yaml, and never change an older one."
    )
    assert sorted(UPGRADES) == list(range(1, FORMAT))


@pytest.mark.parametrize("path", sorted(SAVED.glob("format_*.yaml")), ids=lambda path: path.stem)
def test_a_run_of_every_earlier_format_still_loads(path: Path, tmp_path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith(f"format: {path.stem.removeprefix('format_')}\n")
    config = load_config(path, TrainConfig)
    assert config.name == "run"
    assert config.model.build(vocab_size=300) is not None
    assert round_trip(config, tmp_path) == config


def test_the_first_format_means_what_it_meant() -> None:
    config: Any = load_config(SAVED / "format_1.yaml", TrainConfig)
    assert (config.seed, config.model.n_embd, config.optimizer.lr, config.optimizer.betas) == (1337, 128, 4e-3, (0.9, 0.95))
    assert (config.schedule.min_lr_ratio, config.device.type) == (0.1, "auto")
    assert config.trainer.micro_batch_size == config.trainer.batch_size  # was null, which meant so
    assert (config.trainer.on_nonfinite, config.trainer.max_skipped) == ("stop", 10)


def test_a_saved_config_is_complete_resolved_and_plain(tmp_path: Path) -> None:
    config = compose(["name=실험1", "model.n_embd=${model.block_size}"])
    assert round_trip(config, tmp_path) == config
    text = (tmp_path / "config.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"format: {FORMAT}\n")
    assert "name: 실험1\n" in text
    assert f"n_embd: {config.model.block_size}\n" in text
    assert "${" not in text
    assert "!!" not in text
    for name, part in config:
        assert f"\n{name}:" in text
        for option in getattr(type(part), "model_fields", {}):
            assert f"\n  {option}:" in text


@steady
@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
@example(3e-4)
@example(1e-8)
@example(0.1)
@example(1e22)
@example(5e-324)
@example(1.0)
def test_floats_come_back_to_the_bit(tmp_path_factory: pytest.TempPathFactory, lr: float) -> None:
    config = default().model_copy(update={"optimizer": default().optimizer.model_copy(update={"lr": lr})})
    again = round_trip(config, tmp_path_factory.getbasetemp())
    assert (again.optimizer.lr.hex(), type(again.optimizer.lr)) == (lr.hex(), float)


@pytest.mark.parametrize(
    "text",
    [
        *("${seed}", "${oc.env:HOME}", "${nope}x", "${", "${x", "\\${x}", "it's", '"', "null", "~", "true", "1e-4", "12:30"),
        *("글.txt", "???", "\\", "!!python/name:os.system", "%TAG", "@", " ", "a: b", "# a", "- a", "줄\n줄", "\t", " 글 "),
    ],
)
def test_a_text_comes_back_as_it_was(text: str, tmp_path: Path) -> None:
    assert round_trip(with_path(text), tmp_path) == with_path(text)


@steady
@given(any_text)
def test_any_text_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    assert round_trip(with_path(text), tmp_path_factory.getbasetemp()).data.path == text


def test_upgrades_are_applied_in_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(old: str, new: str) -> Any:
        return lambda tree: {new if key == old else key: value for key, value in tree.items()}

    monkeypatch.setattr(saved, "FORMAT", 3)
    monkeypatch.setattr(saved, "UPGRADES", {1: rename("oldest", "older"), 2: rename("older", "seed")})
    for number, name in enumerate(["oldest", "older", "seed"], start=1):
        path = tmp_path / "config.yaml"
        save_config(default(), path)
        text = path.read_text(encoding="utf-8").replace("format: 3", f"format: {number}").replace("\nseed:", f"\n{name}:")
        path.write_text(text, encoding="utf-8")
        assert load_config(path, TrainConfig) == default()
        assert path.read_text(encoding="utf-8") == text


def test_a_newer_format_asks_for_a_newer_program(edited: Any) -> None:
    message = edited(f"format: {FORMAT}", f"format: {FORMAT + 1}")
    assert f"up to {FORMAT}, but has {FORMAT + 1}. Update CAI." in message


@pytest.mark.parametrize("line", ["", "format: '1'\n", "format: true\n", "format: 1.0\n", "format: 0\n", "format: -1\n"])
def test_a_file_without_a_format_is_no_saved_config(line: str, edited: Any) -> None:
    assert "format" in edited(f"format: {FORMAT}\n", line)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("\nseed: 1337", "\nseed: true", ["`seed`", "a whole number", "but is True"]),
        ("\nseed: 1337", "\nseed: ${oc.env:HOME}", ["`seed`", "but is '${oc.env:HOME}'"]),
        ("\nseed: 1337", "", ["`seed`", "must be given"]),
        ("\nseed: 1337", "\nsead: 1337", ["`seed`", "`sead`", "Did you mean seed?"]),
        ("\nseed: 1337", "\nseed: 1\ntrust: os", ["`trust`", "no such option"]),
        ("\nseed: 1337", "\nseed: 1\nhydra: {run: {dir: x}}", ["`hydra", "no such option"]),
        ("bias: true", "bias: 1", ["`model.bias`", "true or false"]),
        ("dropout: 0.0", "dropout: .nan", ["`model.dropout`", "finite"]),
        ("dropout: 0.0", "dropout: .inf", ["`model.dropout`", "finite"]),
    ],
)
def test_a_saved_config_is_validated_like_any_other(old: str, new: str, parts: list[str], edited: Any) -> None:
    message = edited(old, new)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("content", ["", "[]", "3", "a: b: c", "\x00", "format: 1\nname: [", "&a [*a]"])
def test_a_damaged_file_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        load_config(path, TrainConfig)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes("name: 실험".encode("cp949"))
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        load_config(path, TrainConfig)


def test_a_missing_file_asks_for_a_run_directory(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"config\.yaml.*run directory"):
        load_config(tmp_path / "config.yaml", TrainConfig)


@pytest.mark.parametrize("tag", ["!!python/object/apply:evil_module.Thing []", "!!python/name:evil_module.Thing ''"])
def test_a_tag_of_the_yaml_language_runs_nothing(
    tag: str, edited: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert "cannot be read" in edited("\nseed: 1337", f"\nseed: {tag}")
    assert "evil_module" not in sys.modules


class Rope(Config):
    """Options within options, as a model of one's own may have them."""

    base: float


class RopeModelConfig(GPT2Config):
    """Stands in for a component of a user's."""

    rope: Rope
    sizes: tuple[tuple[int, ...], ...]


def test_nested_options_come_back_too(tmp_path: Path) -> None:
    model = RopeModelConfig(**default().model.model_dump(), rope=Rope(base=1e4), sizes=((1, 2), ()))
    config = default().model_copy(update={"model": model})
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml", TrainConfig, trusted=["tests"]) == config


def test_a_tree_names_the_class_of_every_component() -> None:
    tree = to_tree(default())
    assert tree["data"]["_target_"] == "cai.data.text.TextConfig"
    assert tree["optimizer"]["betas"] == list(default().optimizer.betas)
    assert all("_target_" in value for value in tree.values() if isinstance(value, dict))
