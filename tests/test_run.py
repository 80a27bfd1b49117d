"""A run directory is claimed once, locked while written, and its status is always true."""

from __future__ import annotations

import errno
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

import cai
from cai.errors import OutputError, RunError
from cai.run import Run, claim_directory, find_run, is_locked, read_run
from tests.conftest import TINY

CONFIG = cai.compose(list(TINY))


def claim_many(parent: str, count: int) -> list[str]:
    return [str(claim_directory(Path(parent))) for _ in range(count)]


def test_directories_claimed_in_the_same_instant_are_never_the_same(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        claimed = [name for names in pool.starmap(claim_many, [(str(tmp_path / "run"), 30)] * 2) for name in names]
        pool.close()
        pool.join()
    assert len(set(claimed)) == 60


def test_a_finished_block_is_a_finished_run_with_its_facts(tmp_path: Path) -> None:
    with Run(tmp_path / "a", CONFIG, ("seed=1",)) as run:
        assert read_run(run.directory)["status"] == "running"
        assert is_locked(run.directory)
        run.record(parameters=5)
    facts = read_run(tmp_path / "a")
    assert facts["status"] == "finished"
    assert facts["overrides"] == ["seed=1"]
    assert facts["parameters"] == 5
    assert facts["versions"]["torch"]
    assert facts["code"].keys() >= {"commit"}
    assert not is_locked(tmp_path / "a")
    assert cai.load_config(tmp_path / "a" / "config.yaml", type(CONFIG)) == CONFIG


def test_a_failed_block_leaves_the_traceback_in_the_directory(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Run(tmp_path / "a", CONFIG):
        1 / 0  # noqa: B018
    facts = read_run(tmp_path / "a")
    assert facts["status"] == "failed"
    assert facts["error"] == "ZeroDivisionError: division by zero"
    assert "1 / 0" in facts["traceback"]
    assert "1 / 0" in (tmp_path / "a" / "train.log").read_text()


def test_an_interrupted_block_is_an_interrupted_run(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Run(tmp_path / "a", CONFIG):
        raise KeyboardInterrupt
    assert read_run(tmp_path / "a")["status"] == "interrupted"


def test_a_killed_run_is_shown_as_interrupted(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; import cai; from cai.run import Run;"
        "from tests.conftest import TINY;"
        "Run(Path(sys.argv[1]), cai.compose(list(TINY))); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False, cwd=Path(__file__).parents[1])
    assert json.loads((tmp_path / "a" / "run.json").read_text())["status"] == "running"
    assert read_run(tmp_path / "a")["status"] == "interrupted"


def test_a_second_writer_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with Run(tmp_path / "a", CONFIG) as run:
        before = (run.directory / "run.json").read_bytes()
        with pytest.raises(RunError, match="another process is writing"):
            Run(tmp_path / "a", CONFIG)
        assert (run.directory / "run.json").read_bytes() == before


def test_an_existing_run_is_never_overwritten(tmp_path: Path) -> None:
    with Run(tmp_path / "a", CONFIG):
        pass
    with pytest.raises(RunError, match=r"must be empty, but holds a run\. Nothing was changed"):
        Run(tmp_path / "a", CONFIG)
    assert read_run(tmp_path / "a")["status"] == "finished"


def test_when_the_disk_is_full_at_the_end_the_first_error_is_the_one_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = Run(tmp_path / "a", CONFIG)
    monkeypatch.setattr("cai.files.os.replace", full)
    with pytest.raises(ZeroDivisionError), run:
        1 / 0  # noqa: B018
    assert read_run(tmp_path / "a")["status"] == "interrupted"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"output_dir must be writable, but .*file.* is not"):
        claim_directory(tmp_path / "file" / "run")


def test_last_is_the_newest_run_that_has_a_checkpoint(tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        with Run(tmp_path / "run" / name, CONFIG):
            pass
    for name in ("first", "second"):
        (tmp_path / "run" / name / "checkpoints").mkdir()
        (tmp_path / "run" / name / "checkpoints" / "last.safetensors").touch()
    assert find_run("last", tmp_path).name == "second"
    assert find_run(str(tmp_path / "run" / "first"), tmp_path).name == "first"


def test_a_missing_run_is_named_with_the_way_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run=last needs a run with a checkpoint under .*cai train"):
        find_run("last", tmp_path)
    with pytest.raises(RunError, match=r"must be a run directory or `last`, but nowhere"):
        find_run("nowhere", tmp_path)
