"""A run directory is claimed once, locked while written, and its status is always true."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

import cai
from cai.environment import fingerprint_of
from cai.errors import OutputError, RunError
from cai.run import Run, claim_directory
from cai.runs import find_run, is_locked, read_run
from tests.conftest import TINY
from tests.resuming import content_of

CONFIG = cai.compose(list(TINY))
NOTES = {"changed": {"device.threads": 2}, "other": {"torch": "3"}}
"""Of a run that is taken up again."""


def claim_many(parent: str, count: int) -> list[str]:
    return [str(claim_directory(Path(parent))) for _ in range(count)]


@pytest.mark.slow
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


def test_last_is_the_newest_run_that_has_a_checkpoint_or_if_asked_for_the_newest_of_all(tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        with Run(tmp_path / "run" / name, CONFIG):
            pass
    for name in ("first", "second"):
        (tmp_path / "run" / name / "checkpoints").mkdir()
        (tmp_path / "run" / name / "checkpoints" / "last.safetensors").touch()
    assert find_run("last", tmp_path).name == "second"
    assert find_run("last", tmp_path, checkpoint=None).name == "third"
    assert find_run(str(tmp_path / "run" / "first"), tmp_path).name == "first"


def test_a_missing_run_is_named_with_the_way_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run=last needs a run with a checkpoint under .*cai train"):
        find_run("last", tmp_path)
    with pytest.raises(RunError, match=r"must be a run directory or `last`, but nowhere"):
        find_run("nowhere", tmp_path)


def fail(directory: Path) -> None:
    run = Run(directory, CONFIG, ("seed=1",))
    run.record(parameters=5)
    with pytest.raises(ZeroDivisionError), run:
        1 / 0  # noqa: B018


def test_a_run_that_resumes_keeps_its_facts_but_how_it_ended(tmp_path: Path) -> None:
    fail(tmp_path / "a")
    before = read_run(tmp_path / "a")
    with Run(tmp_path / "a", CONFIG, ("seed=2",), resumes=NOTES) as run:
        run.go_on(3)
        now = read_run(run.directory)
        kept = {key: value for key, value in before.items() if key not in ("ended", "error", "traceback")}
        new = {"status": "running", "resumed": now["resumed"]}
        assert now == kept | new
    facts = read_run(tmp_path / "a")
    assert (facts["status"], facts["parameters"], facts["overrides"]) == ("finished", 5, ["seed=1"])
    (entry,) = facts["resumed"]
    assert entry == {"step": 3, "at": entry["at"], **NOTES}


def test_every_resumption_is_noted(tmp_path: Path) -> None:
    fail(tmp_path / "a")
    for step in (3, 5):
        with Run(tmp_path / "a", CONFIG, resumes=NOTES) as run:
            run.go_on(step)
    assert [entry["step"] for entry in read_run(tmp_path / "a")["resumed"]] == [3, 5]


@pytest.mark.parametrize("error", [None, RuntimeError("refused"), KeyboardInterrupt()])
def test_a_run_that_is_not_taken_up_stays_as_it_was(tmp_path: Path, error: BaseException | None) -> None:
    fail(tmp_path / "a")
    before = content_of(tmp_path / "a")
    other = CONFIG.model_copy(update={"seed": 3})
    with contextlib.suppress(RuntimeError, KeyboardInterrupt), Run(tmp_path / "a", other, resumes=NOTES) as run:
        run.record(parameters=6)
        run.confirm_data("c", "t", tokens="s", ids="i")
        if error:
            raise error
    assert content_of(tmp_path / "a") == before
    assert not is_locked(tmp_path / "a")


def test_the_config_and_its_fingerprint_are_those_that_the_run_goes_on_with(tmp_path: Path) -> None:
    fail(tmp_path / "a")
    path, before = tmp_path / "a" / "config.yaml", read_run(tmp_path / "a")["config"]
    assert fingerprint_of(path.read_text(encoding="utf-8")) == before
    with Run(tmp_path / "a", CONFIG.model_copy(update={"output_dir": "elsewhere"}), resumes=NOTES) as run:
        run.go_on(3)
    facts = read_run(tmp_path / "a")
    assert fingerprint_of(path.read_text(encoding="utf-8")) == facts["config"] != before
    assert "output_dir: elsewhere" in path.read_text(encoding="utf-8")


def test_a_run_that_resumes_can_fail_again_with_another_error(tmp_path: Path) -> None:
    fail(tmp_path / "a")
    run = Run(tmp_path / "a", CONFIG, resumes=NOTES)
    run.go_on(3)
    with pytest.raises(RuntimeError), run:
        raise RuntimeError("another")
    assert read_run(tmp_path / "a")["error"] == "RuntimeError: another"


def test_a_folder_without_a_run_can_be_resumed_as_new(tmp_path: Path) -> None:
    with Run(tmp_path / "a", CONFIG, ("seed=1",), resumes=NOTES) as run:
        assert run.facts["overrides"] == ["seed=1"]
    assert read_run(tmp_path / "a")["status"] == "finished"


def test_a_second_writer_that_resumes_is_refused_too(tmp_path: Path) -> None:
    with Run(tmp_path / "a", CONFIG), pytest.raises(RunError, match="another process is writing"):
        Run(tmp_path / "a", CONFIG, resumes=NOTES)


def test_a_damaged_status_is_named_and_the_lock_is_free_again(tmp_path: Path) -> None:
    fail(tmp_path / "a")
    (tmp_path / "a" / "run.json").write_text("{")
    for _ in range(2):
        with pytest.raises(RunError, match=r"run\.json must be JSON"):
            Run(tmp_path / "a", CONFIG, resumes=NOTES)
    assert not is_locked(tmp_path / "a")


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    fail(tmp_path / "a")
    (tmp_path / "a" / "checkpoints").mkdir()
    left = [tmp_path / "a" / ".run.json.unfinished", tmp_path / "a" / "checkpoints" / ".last.safetensors.unfinished"]
    for path in left:
        path.touch()
    with Run(tmp_path / "a", CONFIG, resumes=NOTES) as run:
        assert all(path.exists() for path in left)
        run.go_on(0)
        assert not any(path.exists() for path in left)


def test_the_data_of_a_run_stay_what_they_were(tmp_path: Path) -> None:
    with Run(tmp_path / "a", CONFIG) as run:
        run.confirm_data("c", "t", tokens="s", ids="i")
        run.confirm_data("newer", "newer", tokens="newer", ids="i")  # a newer CAI may name the same ids otherwise
        with pytest.raises(RunError, match=r"began with \(fingerprint i\), but they are others now \(j\).*data\.path"):
            run.confirm_data("c", "t", tokens="s", ids="j")
        assert run.facts["fingerprints"]["ids"] == "i"


def test_the_data_of_an_older_run_are_told_by_their_token_files(tmp_path: Path) -> None:
    with Run(tmp_path / "a", CONFIG) as run:
        run.record(fingerprints={"corpus": "c", "tokenizer": "t", "tokens": "s"})
        with pytest.raises(RunError, match="fingerprint s"):
            run.confirm_data("c", "t", tokens="other", ids="i")
        run.confirm_data("c", "t", tokens="s", ids="i")
        assert run.facts["fingerprints"]["ids"] == "i"


def test_a_log_that_is_a_link_is_refused_and_what_it_points_at_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    with Run(tmp_path / "a", CONFIG):
        pass
    (tmp_path / "a" / "train.log").unlink()
    (tmp_path / "a" / "train.log").symlink_to(mine)
    before = (tmp_path / "a" / "run.json").read_bytes()
    with pytest.raises(RunError, match="must be a file of the run, but is a link"):
        Run(tmp_path / "a", CONFIG, resumes=NOTES)
    assert (mine.read_text(), (tmp_path / "a" / "run.json").read_bytes()) == ("mine", before)


def test_to_look_whether_a_run_is_locked_leaves_nothing_there(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []
