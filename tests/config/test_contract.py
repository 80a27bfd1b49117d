"""What every YAML under conf/ promises. New ones are picked up by themselves."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import cai
from cai.composition import compose
from cai.config.base import Config
from cai.config.roots import ROOTS, TrainConfig
from cai.config.saved import load_config, save_config, to_tree
from cai.config.validate import Validation
from cai.model.from_pretrained import FromPretrainedConfig
from cai.resources import conf_folder

CONF = conf_folder()
FILES = sorted(path.relative_to(CONF) for path in CONF.rglob("*") if path.is_file())
HYDRAS = [path for path in FILES if path.parts[0] == "hydra"]
"""What Hydra itself is configured with."""
CHOICES = [(path.parts[0], path.stem) for path in FILES if len(path.parts) == 2]
COMPONENTS = [(group, choice) for group, choice in CHOICES if group != "experiment"]
EXPERIMENTS = [choice for group, choice in CHOICES if group == "experiment"]
GROUPS = ["model", "data", "tokenizer", "optimizer", "schedule", "trainer", "device", "generation", "sweep", "experiment"]
KNOWN = {
    "model": {
        "gpt2_small",
        "from_pretrained",
        *(f"{family}{size}" for family in ("gpt2", "llama", "qwen3", "modern") for size in ("", "_nano", "_mini", "_cai")),
    },
    "data": {"contacts", "contacts_file", "csv", "jsonl", "mix", "parquet", "prepared", "text"},
    "tokenizer": {"bpe", "bpe_character", "byte", "char", "from_data", "pretrained"},
    "optimizer": {"adamw", "muon", "lion", "sgd"},
    "schedule": {"constant", "cosine", "linear", "wsd"},
    "trainer": {"default", "smoke"},
    "device": {"auto", "cpu", "cuda", "mps"},
    "generation": {"creative", "default", "greedy", "precise"},
    "experiment": {"cai_m4"},
}


PARTS = [path for path in FILES if len(path.parts) == 3 and path.parts[1] == "parts"]
"""What several choices of a group have in common; none is a choice itself."""
PATH = ("data.path=x",)
NEEDED: dict[tuple[str, str], tuple[str, ...]] = {
    **{("data", choice): PATH for choice in ("contacts_file", "csv", "jsonl", "parquet", "prepared", "text")},
    ("data", "mix"): ("+data@data.sources.one=text", "data.sources.one.path=x", "data.weights.one=1"),
    ("tokenizer", "from_data"): ("data=prepared", *PATH),
    ("tokenizer", "pretrained"): ("tokenizer.path=x",),
}
"""Values that a choice cannot do without."""
SETTLED: dict[tuple[str, str], type[Config]] = {("model", "from_pretrained"): FromPretrainedConfig}
"""Choices whose place is taken, when all is composed, by what lies on the disk."""


@pytest.fixture(scope="module", autouse=True)
def _model_on_the_disk(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What ``model=from_pretrained`` finds: as much of a run as says what its model is."""
    folder = tmp_path_factory.mktemp("run")
    config = composed("model=llama", "tokenizer=byte")
    save_config(config, folder / "config.yaml")
    config.tokenizer.build([]).save(folder / "tokenizer.json")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "best.safetensors").touch()
    NEEDED["model", "from_pretrained"] = (f"model.path={folder}",)


@functools.cache
def composed(*overrides: str) -> Any:
    return compose(overrides)


UNBUILT = {"sweep": "cai.sweeps"}
"""Groups of options that build nothing, and where their classes stand."""


def with_choice(group: str, choice: str) -> Any:
    """The config with this choice, its mandatory values filled in."""
    if group == "experiment":
        return composed(*commands(choice)[0])
    return composed(f"{group}={choice}", *NEEDED.get((group, choice), ()))


def class_of(group: str, choice: str) -> type[Config]:
    """The class that the YAML of a choice names."""
    return SETTLED.get((group, choice)) or type(getattr(with_choice(group, choice), group))


def option_lines(path: Path) -> list[str]:
    """The lines of a YAML that give an option its value."""
    lines = (CONF / path).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if re.match(r" *\w+: ", line) and not line.strip().startswith("_target_:")]


def header(path: Path) -> list[str]:
    """The comment lines at the top of a YAML, without their ``#``."""
    lines = (CONF / path).read_text(encoding="utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.removeprefix("#").strip() for line in lines[:end]]


def commands(experiment: str) -> list[list[str]]:
    """The overrides of each command that the header of an experiment gives."""
    lines = header(Path("experiment") / f"{experiment}.yaml")
    words = [shlex.split(line) for line in lines if line.startswith("cai train")]
    assert words
    assert all(command[:3] == ["cai", "train", f"experiment={experiment}"] for command in words)
    return [command[2:] for command in words]


def config_classes() -> list[type[Config]]:
    """Every config class of the package, wherever it stands."""
    for module in pkgutil.walk_packages(cai.__path__, "cai."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(kind: type[Config]) -> list[type[Config]]:
        return [kind, *(deeper for sub in kind.__subclasses__() for deeper in below(sub))]

    return [kind for kind in below(Config) if kind.__module__.startswith("cai.")]


def test_the_known_choices_are_there() -> None:
    for group, names in KNOWN.items():
        assert names <= {choice for g, choice in CHOICES if g == group}


def test_every_file_is_a_root_or_a_choice_of_a_known_group() -> None:
    assert [path for path in FILES if path.suffix != ".yaml"] == []
    roots = {path.stem for path in FILES if len(path.parts) == 1}
    assert roots == set(ROOTS)
    assert len(FILES) == len(roots) + len(CHOICES) + len(PARTS) + len(HYDRAS)
    assert {group for group, _ in CHOICES} == set(GROUPS)


def test_the_root_of_train_names_every_group() -> None:
    lines = (CONF / "train.yaml").read_text(encoding="utf-8").splitlines()
    named = [match[1] for line in lines if (match := re.match(r"  - (\w+): ", line))]
    assert sorted(named) == sorted(GROUPS)


@pytest.mark.parametrize(("group", "choice"), COMPONENTS)
def test_every_choice_composes_into_a_class_of_its_group(group: str, choice: str) -> None:
    part = getattr(with_choice(group, choice), group)
    home = UNBUILT.get(group, f"cai.{group}")
    assert type(part).__module__ == home or type(part).__module__.startswith(f"{home}.")
    assert group in UNBUILT or callable(part.build)


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_survives_as_a_tree_and_as_a_file(group: str, choice: str, tmp_path: Path) -> None:
    config = with_choice(group, choice)
    tree = to_tree(config)
    validation = Validation()
    assert validation.build(tree, TrainConfig) == config, validation.problems
    save_config(config, tmp_path / "config.yaml")
    again = load_config(tmp_path / "config.yaml", TrainConfig)
    assert again == config
    assert to_tree(again) == tree
    assert type(getattr(again, group, None)) is type(getattr(config, group, None))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_yaml_says_what_it_is_and_every_option_what_it_means(path: Path) -> None:
    assert [line for line in header(path) if line and not line.startswith("@package")]
    text = (CONF / path).read_text(encoding="utf-8")
    if "_target_:" in text or len(path.parts) != 2:
        for line in option_lines(path):
            assert re.search(r"\S +# \S", line), f"{path}: no comment on {line!r}"


@pytest.mark.parametrize(("group", "choice"), COMPONENTS)
def test_the_same_option_is_explained_in_the_same_words_in_every_choice_of_a_class(group: str, choice: str) -> None:
    def comments(name: str) -> dict[str, str]:
        lines = option_lines(Path(group) / f"{name}.yaml")
        return {line.partition(":")[0]: line.partition("# ")[2] for line in lines if "# " in line}

    kind = class_of(group, choice)
    mine = comments(choice)
    for other in (c for g, c in COMPONENTS if g == group and class_of(g, c) is kind):
        theirs = comments(other)
        assert {key: mine[key] for key in mine.keys() & theirs.keys()} == {k: theirs[k] for k in mine.keys() & theirs.keys()}


@pytest.mark.parametrize("kind", config_classes(), ids=lambda kind: kind.__name__)
def test_no_option_has_a_default_in_code(kind: type[Config]) -> None:
    assert [name for name, field in kind.model_fields.items() if not field.is_required()] == []


@pytest.mark.parametrize("kind", config_classes(), ids=lambda kind: kind.__name__)
def test_every_config_class_is_frozen_strict_and_closed(kind: type[Config]) -> None:
    settings = {key: kind.model_config.get(key) for key in ("frozen", "strict", "extra", "allow_inf_nan")}
    assert settings == {"frozen": True, "strict": True, "extra": "forbid", "allow_inf_nan": False}


def test_every_component_class_of_the_package_has_a_yaml() -> None:
    used = {class_of(group, choice) for group, choice in COMPONENTS if group not in UNBUILT}
    built = {kind for kind in config_classes() if hasattr(kind, "build") and not inspect.isabstract(kind)}
    assert built == used


@pytest.mark.parametrize("family", [choice.removesuffix("_nano") for _, choice in CHOICES if choice.endswith("_nano")])
def test_the_bare_name_of_a_model_family_is_its_smallest_size(family: str) -> None:
    assert composed(f"model={family}").model == composed(f"model={family}_nano").model


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_by_itself_and_as_its_header_says(name: str) -> None:
    path = Path("experiment") / f"{name}.yaml"
    text = (CONF / path).read_text(encoding="utf-8")
    assert text.startswith("# @package _global_\n")
    needs = ["data.path=x"] if "override /data: text" in text else []
    for words in [[f"experiment={name}", *needs], *commands(name)]:
        assert isinstance(composed(*words), TrainConfig)
    assert any("Expected" in line or "expected" in line for line in header(path))


def test_the_founding_experiment_has_the_founding_numbers() -> None:
    config = composed("experiment=cai_m4")
    assert config.tokenizer.vocab_size == 24_000
    assert (config.model.block_size, config.model.n_layer, config.model.n_head, config.model.n_embd) == (256, 6, 6, 384)
    assert (config.trainer.batch_size, config.optimizer.lr, config.trainer.max_steps) == (16, 3e-4, 20_000)
    assert config.name == "cai_m4"
