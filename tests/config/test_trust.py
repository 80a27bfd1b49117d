"""Components of one's own and of a stranger's: a config is data until its package is named on the command line."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cai.cli import main
from cai.composition import HydraSession, compose
from cai.config.roots import TrainConfig
from cai.config.saved import load_config, save_config
from cai.errors import ConfigError
from cai.overrides import parse_arguments
from tests.conftest import TINY, run_directories, train_tiny

OWN_CLASS = '''
from pathlib import Path
from cai.model.gpt2 import GPT2Config

Path("IMPORTED").touch()

class MineConfig(GPT2Config):
    """A model of one's own."""

    note: str
'''
OWN_YAML = """# A model of one's own.
defaults:
  - gpt2_nano
  - _self_
_target_: my_package.models.MineConfig
note: mine   # what it is
"""
HOSTILE = [
    *("os.system", "subprocess.Popen", "evil_module.Thing", "evil_module", "builtins.exec", "hydra.utils.instantiate"),
    *("cai.cli.main", "cai.config.base.Config", "cai.model.base.ModelConfig", "cai.model.gpt2.GPT2", "cai.train.train"),
    *(
        "cai.optimizer.adamw.AdamWConfig",
        "cai.no_such.Thing",
        "cai",
        "cai.",
        ".os.system",
        "caiman.Thing",
        "experiments.evil.Thing",
    ),
]


@pytest.fixture(autouse=True)
def place(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; modules and search paths are put back afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield scratch
    forget("my_package", "evil_module", "experiments", "caiman")


def forget(*packages: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]
    sys.path[:] = [path for path in sys.path if path != str(Path.cwd())]
    importlib.invalidate_caches()


@pytest.fixture
def own(place: Path) -> Path:
    """``my_package`` with a model, and ``my_conf`` with its YAML, in the current folder, which Python does not search."""
    (place / "my_package").mkdir()
    (place / "my_package" / "__init__.py").touch()
    (place / "my_package" / "models.py").write_text(OWN_CLASS)
    (place / "my_conf" / "model").mkdir(parents=True)
    (place / "my_conf" / "model" / "mine.yaml").write_text(OWN_YAML)
    return place


@pytest.fixture
def trap(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Modules of a stranger's on Python's search path that leave a marker when they are imported; returns the marker."""
    marker = place / "MARKER"
    code = f"leave = lambda *a, **k: open({str(marker)!r}, 'w').close()\nleave()\nThing = leave\n"
    (place / "experiments").mkdir()
    for name in ("evil_module.py", "caiman.py", "experiments/__init__.py", "experiments/evil.py"):
        (place / name).write_text(code)
    sys.path.insert(0, str(place))
    importlib.invalidate_caches()
    monkeypatch.setattr("cai.run.describe_code", dict)  # the only one who may start a process
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("os.system was called"))
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: pytest.fail("a process was started"))
    return marker


def composed(*words: str) -> Any:
    with HydraSession("train", parse_arguments(words)) as session:
        return session.jobs(TrainConfig)[0].config


def refused(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        composed(*words)
    return str(caught.value)


def test_an_own_choice_stands_beside_those_of_the_program(own: Path) -> None:
    message = refused("--config-dir", "my_conf", "model=min")
    for part in ("`model`", "gpt2_nano", "mine", "but is min", "Did you mean mine?"):
        assert part in message
    assert composed("--config-dir", "my_conf", "model=gpt2_mini").model == compose(["model=gpt2_mini"]).model


def test_an_own_choice_cannot_take_the_name_of_one_that_is_there(own: Path) -> None:
    (own / "my_conf" / "model" / "mine.yaml").rename(own / "my_conf" / "model" / "gpt2.yaml")
    message = refused("--config-dir", "my_conf", "model=gpt2", "trust=my_package")
    assert "--config-dir" in message
    assert "gpt2.yaml" in message


def test_an_own_class_needs_trust_on_the_command_line(own: Path) -> None:
    message = refused("--config-dir", "my_conf", "model=mine")
    for part in ("`model._target_`", "trusted package", "my_package.models.MineConfig", "trust=my_package"):
        assert part in message
    assert not (own / "IMPORTED").exists()
    assert not {"my_package", "my_package.models"} & set(sys.modules)


def test_with_trust_it_is_validated_like_any_other(own: Path) -> None:
    words = ("--config-dir", "my_conf", "model=mine", "trust=my_package")
    config = composed(*words, "model.n_layer=2")
    assert type(config.model).__name__ == "MineConfig"
    assert (config.model.note, config.model.n_layer) == ("mine", 2)
    assert "`model.n_layer` must be a whole number" in refused(*words, "model.n_layer=x")
    assert "Did you mean model.note?" in refused(*words, "model.notes=x")


@pytest.mark.parametrize("trust", ["trust=other", "trust=my", "trust=my_package_too", "trust="])
def test_trust_in_another_package_does_not_help(own: Path, trust: str) -> None:
    assert "trust=my_package" in refused("--config-dir", "my_conf", "model=mine", trust)
    assert not (own / "IMPORTED").exists()


def test_an_own_class_trains_speaks_and_is_reproduced_with_trust_alone(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = train_tiny("--config-dir", "my_conf", "model=mine", "trust=my_package")
    generate = ["generate", f"run={directory}", "question=가", "device=cpu", "generation.max_new_tokens=2"]
    reproduce = ["reproduce", str(directory)]
    forget("my_package")
    (own / "IMPORTED").unlink()
    for words in (generate, reproduce):
        assert main(words) == 2
        assert "trust=my_package" in capsys.readouterr().err
    assert not (own / "IMPORTED").exists()
    assert run_directories(Path()) == [directory]
    for words in (generate, reproduce):
        assert main([*words, "trust=my_package"]) == 0
        forget("my_package")


def test_a_saved_config_of_an_own_class_loads_with_trust_alone(own: Path) -> None:
    config = composed("--config-dir", "my_conf", "model=mine", "trust=my_package")
    save_config(config, own / "config.yaml")
    with pytest.raises(ConfigError, match="trust=my_package"):
        load_config(own / "config.yaml", TrainConfig)
    assert load_config(own / "config.yaml", TrainConfig, trusted=["my_package"]) == config


def test_trust_in_a_file_is_an_unknown_option(own: Path) -> None:
    (own / "my_conf" / "experiment").mkdir()
    recipe = own / "my_conf" / "experiment" / "mine.yaml"
    recipe.write_text("# @package _global_\ndefaults:\n  - override /model: mine\ntrust: my_package\n")
    message = refused("--config-dir", "my_conf", "experiment=mine")
    assert "`trust` must be an option, but there is no such option" in message
    assert "`model._target_` must name a class of a trusted package" in message
    assert not (own / "IMPORTED").exists()


@pytest.mark.parametrize("target", HOSTILE)
def test_a_hostile_name_is_never_imported_or_called(target: str, trap: Path, tmp_path: Path) -> None:
    assert "`model._target_` must" in refused(f"model._target_={target}")

    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    recipe = tmp_path / "conf" / "experiment" / "hostile.yaml"
    recipe.write_text(f"# @package _global_\nmodel:\n  _target_: {target}\n")
    assert "`model._target_` must" in refused("--config-dir", str(tmp_path / "conf"), "experiment=hostile")

    path = tmp_path / "config.yaml"
    save_config(compose(["model=gpt2"]), path)
    saved = path.read_text()
    assert "_target_: cai.model.gpt2.GPT2Config\n" in saved
    path.write_text(saved.replace("cai.model.gpt2.GPT2Config", target))
    with pytest.raises(ConfigError, match=r"`model\._target_` must"):
        load_config(path, TrainConfig)

    assert not trap.exists()
    assert not {"evil_module", "caiman", "experiments.evil"} & set(sys.modules)


GLOBAL = "# @package _global_\n"


@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["one", "sweep"])
@pytest.mark.parametrize(
    "recipe",
    [
        GLOBAL + "hydra: {callbacks: {x: {_target_: evil_module.Thing}}}",
        GLOBAL + "hydra: {launcher: {_target_: evil_module.Thing}}",
        GLOBAL + "hydra: {sweeper: {_target_: evil_module.Thing}}",
        GLOBAL + "hydra: {job_logging: {handlers: {x: {'()': evil_module.Thing}}}}",
        GLOBAL + "hydra: {job: {env_set: {GIT_EXTERNAL_DIFF: touch MARKER}}}",
        "# @package hydra.callbacks.x\n_target_: evil_module.Thing",
        GLOBAL + "extra: {_target_: evil_module.Thing}",
        GLOBAL + "optimizer: {lr: {_target_: evil_module.Thing}}",
        GLOBAL + "data: {_target_: evil_module.Thing}\ntrust: evil_module",
        GLOBAL + "seed: !!python/object/apply:evil_module.Thing []",
    ],
)
def test_a_yaml_of_a_strangers_runs_nothing_and_is_refused(
    recipe: str, flags: list[str], trap: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cai.train.train", lambda config, run: None)
    monkeypatch.setattr("cai.train.describe_end", lambda directory, result: "")
    (trap.parent / "conf" / "experiment").mkdir(parents=True)
    (trap.parent / "conf" / "experiment" / "hostile.yaml").write_text(recipe + "\n")
    code = main(["train", *TINY, *flags, "--config-dir", "conf", "experiment=hostile"])
    assert not trap.exists()
    assert "evil_module" not in sys.modules
    assert code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert run_directories(trap.parent) == []
