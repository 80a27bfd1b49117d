"""Which code a run came from: CAI's own, with git and without, and the components of a user's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cai
from cai import environment
from cai.environment import (
    copy_sources,
    describe_code,
    describe_machine,
    describe_versions,
    own_packages,
    sources_of,
)
from tests.conftest import TINY

Git = Callable[..., None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for the folder of CAI, outside of any checkout."""
    package = tmp_path / "checkout" / "cai"
    package.mkdir(parents=True)
    for name in ("environment.py", "old.py"):
        (package / name).write_text("x = 1\n")
    (package.parent / ".gitignore").write_text("__pycache__/\n")
    monkeypatch.setattr("cai.environment.__file__", str(package / "environment.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return package


@pytest.fixture
def git(package: Path) -> Git:
    """Its checkout, with one commit."""

    def run(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@a.example"]
        subprocess.run(["git", *identity, *words], cwd=package.parent, check=True, capture_output=True)

    run("init")
    run("add", ".")
    run("commit", "-m", "first")
    return run


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package ``mine_here`` and a module ``mine_alone`` of a user's, imported."""
    (tmp_path / "mine_here" / "deep").mkdir(parents=True)
    (tmp_path / "mine_here" / "a.py").write_text("a = 1\n")
    (tmp_path / "mine_here" / "deep" / "b.py").write_text("b = 1\n")
    (tmp_path / "mine_here" / "notes.txt").write_text("none of this\n")
    (tmp_path / "mine_alone.py").write_text("c = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mine_here", "mine_alone"):
        __import__(name)
    yield tmp_path
    for name in ("mine_here", "mine_alone"):
        del sys.modules[name]


def test_without_git_the_files_are_hashed(package: Path) -> None:
    first = describe_code()
    assert first["commit"] is None
    (package / "old.py").write_text("x = 2\n")
    assert describe_code()["sources"] != first["sources"]
    (package / "old.py").write_text("x = 1\n")
    assert describe_code() == first


def test_a_program_git_that_is_missing_is_no_error(package: Path, monkeypatch: pytest.MonkeyPatch, git: Git) -> None:
    monkeypatch.setenv("PATH", "")
    assert describe_code().keys() == {"commit", "sources"}


def test_a_checkout_of_another_project_is_not_taken_for_cais(package: Path, git: Git) -> None:
    git("rm", "-r", "--cached", "cai")
    git("commit", "-m", "none of it")
    assert describe_code().keys() == {"commit", "sources"}


def test_a_clean_checkout_is_its_commit(package: Path, git: Git) -> None:
    facts = describe_code()
    assert len(facts["commit"]) == 40
    assert (facts["dirty"], facts["diff"], facts["untracked"]) == (False, "", {})
    git("commit", "--allow-empty", "-m", "second")
    assert describe_code()["commit"] != facts["commit"]


def test_a_changed_file_is_kept_as_the_difference(package: Path, git: Git) -> None:
    (package / "old.py").write_text("x = 2\n")
    git("add", ".")  # staged is not committed
    facts = describe_code()
    assert facts["dirty"] is True
    assert "+x = 2" in facts["diff"]


def test_a_new_file_makes_the_checkout_dirty(package: Path, git: Git) -> None:
    (package / "new.py").write_text("y = 2\n")
    first = describe_code()
    assert first["dirty"] is True
    assert list(first["untracked"]) == ["cai/new.py"]
    (package / "new.py").write_text("y = 3\n")
    assert describe_code()["untracked"] != first["untracked"]


def test_a_new_file_beside_the_code_is_nothing_of_it(package: Path, git: Git) -> None:
    (package.parent / "notes.md").write_text("y = 2\n")
    (package.parent / "tests").mkdir()
    (package.parent / "tests" / "test_x.py").write_text("y = 2\n")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "old.pyc").write_bytes(b"")
    assert describe_code()["dirty"] is False


def test_own_components_are_hashed_by_package(own: Path) -> None:
    assert "own" not in describe_code()
    first = describe_code(["mine_here", "mine_alone"])["own"]
    (own / "mine_here" / "deep" / "b.py").write_text("b = 2\n")
    (own / "mine_here" / "notes.txt").write_text("changed\n")
    second = describe_code(["mine_here", "mine_alone"])["own"]
    assert first["mine_here"] != second["mine_here"]
    assert first["mine_alone"] == second["mine_alone"]


def test_their_sources_are_copied_with_their_places(own: Path, tmp_path: Path) -> None:
    copy_sources(["mine_here", "mine_alone"], tmp_path / "code")
    copied = {str(path.relative_to(tmp_path / "code")) for path in (tmp_path / "code").rglob("*") if path.is_file()}
    assert copied == {"mine_here/a.py", "mine_here/deep/b.py", "mine_alone.py"}
    assert (tmp_path / "code" / "mine_here" / "deep" / "b.py").read_text() == "b = 1\n"


def test_what_has_no_sources_has_none() -> None:
    assert sources_of("no_such_package_at_all") == []
    assert sources_of("sys") == []


def test_packages_are_the_users_own_alone() -> None:
    config = cai.compose(list(TINY))

    class MineConfig(type(config.schedule)):  # type: ignore[misc]
        pass

    schedule = MineConfig(**config.schedule.model_dump())
    assert own_packages(config) == []
    assert own_packages(config.model_copy(update={"schedule": schedule})) == ["tests"]


def test_versions_and_machine_name_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    import platform

    versions, machine = describe_versions(), describe_machine()
    assert versions.keys() == {"python", "cai", *environment.PACKAGES}
    assert machine.keys() == {"system", "processor", "cpu_count"}
    assert platform.node() not in str(machine) or len(platform.node()) < 4
