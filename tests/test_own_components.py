"""Components of the user's own: their sources go with the run, and the run can be repeated from them."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cai
from cai.cli import main
from cai.config.roots import TrainConfig
from cai.environment import own_packages
from tests.conftest import TINY, train_tiny
from tests.resuming import assert_equal_runs, cut_short, facts_of, train_cut

CODE = '''
from cai.schedule.base import ScheduleConfig


class InverseSqrtConfig(ScheduleConfig):
    """The peak divided by the square root of the elapsed share (arXiv:1706.03762)."""

    stretch: float

    def after_warmup(self, progress: float) -> float:
        return (1 + self.stretch * progress) ** -0.5
'''
YAML = "_target_: my_package.inverse_sqrt.InverseSqrtConfig\nwarmup_steps: 2\nstretch: 100.0\n"
OWN = ("--config-dir", "my_conf", "schedule=inverse_sqrt", "trust=my_package", "trainer.save_every=2")
TINY_OWN = tuple(word for word in TINY if not word.startswith("schedule"))


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture(autouse=True)
def package(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """``my_package`` and ``my_conf`` of README.md in the current folder."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for path, text in (("my_package/inverse_sqrt.py", CODE), ("my_conf/schedule/inverse_sqrt.yaml", YAML)):
        Path(path).parent.mkdir(parents=True)
        Path(path).write_text(text)
    forget()
    yield scratch / "my_package"
    forget()


def take_code_of(directory: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is gone; ``PYTHONPATH=<directory>/code`` takes its place."""
    shutil.rmtree(package)
    monkeypatch.syspath_prepend((directory / "code").absolute())
    forget()


def test_the_sources_of_own_components_are_in_the_run(package: Path) -> None:
    run = train_tiny(*OWN, tiny=TINY_OWN)
    assert (run / "code" / "my_package" / "inverse_sqrt.py").read_text() == CODE
    assert facts_of(run)["code"]["own"].keys() == {"my_package"}
    config = cai.load_config(run / "config.yaml", TrainConfig, trusted=["my_package"])
    assert own_packages(config) == ["my_package"]


def test_a_run_of_cais_own_components_has_no_copy_of_them() -> None:
    run = train_tiny()
    assert own_packages(cai.load_config(run / "config.yaml", TrainConfig)) == []
    assert not (run / "code").exists()
    assert "own" not in facts_of(run)["code"]


@pytest.mark.slow
def test_a_run_is_repeated_from_its_own_copy(
    package: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_tiny(*OWN, tiny=TINY_OWN)
    take_code_of(run, package, monkeypatch)
    assert main(["reproduce", str(run), "trust=my_package"]) == 0
    said = capsys.readouterr().out
    assert "own components          equal" in said
    assert "losses are equal to the bit" in said


@pytest.mark.slow
def test_without_its_package_a_run_says_so(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train_tiny(*OWN, tiny=TINY_OWN)
    shutil.rmtree(package)
    forget()
    for verb in ("resume", "reproduce"):
        assert main([verb, str(run), "trust=my_package"]) == 2
        assert "`schedule._target_` must be importable" in capsys.readouterr().err
        assert main([verb, str(run)]) == 2
        assert "trust=my_package" in capsys.readouterr().err


@pytest.mark.slow
def test_changed_sources_are_shown_as_different(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train_tiny(*OWN, tiny=TINY_OWN)
    (package / "inverse_sqrt.py").write_text(CODE.replace("** -0.5", "** -0.25"))
    forget()
    assert main(["reproduce", str(run), "trust=my_package", "reproduce.tolerance=0"]) == 4
    said = capsys.readouterr().out
    assert "own components          DIFFERENT  was {'my_package'" in said
    assert "not reproduced: of 6 losses the first to part is at step" in said


@pytest.mark.slow
def test_an_interrupted_run_of_own_components_goes_on(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, cut = train_tiny(*OWN, tiny=TINY_OWN), train_cut(3, *OWN, tiny=TINY_OWN)
    assert f"cai resume {cut} trust=my_package" in capsys.readouterr().out
    assert main(["resume", str(cut), "trust=my_package"]) == 0
    assert_equal_runs(cut, whole)
    with cut_short(0):
        assert main(["resume", str(cut), "trust=my_package"]) == 0


@pytest.mark.slow
def test_an_interrupted_run_goes_on_from_its_own_copy(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = train_tiny(*OWN, tiny=TINY_OWN), train_cut(3, *OWN, tiny=TINY_OWN)
    take_code_of(cut, package, monkeypatch)
    assert main(["resume", str(cut), "trust=my_package"]) == 0
    assert_equal_runs(cut, whole)
