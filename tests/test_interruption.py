"""The wish to stop: where it takes effect, and that a run which was asked to stop ends as if it never had been."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cai import interruption
from cai.cli import main
from cai.errors import OutputError
from cai.interruption import (
    Interrupted,
    advice,
    advise,
    deferred,
    is_interruption,
    may_be_forced,
    raise_if_overdue,
    request,
    requested,
)
from cai.runs import read_run
from cai.trainer.update import Update, Updater
from tests.conftest import TINY, run_directories, train_tiny
from tests.processes import exit_code, printed, slow, start, the_run, wait_until
from tests.resuming import assert_equal_runs

SIGTERM, SIGINT = signal.SIGTERM, signal.SIGINT
STOPPED = (
    *(*TINY, "model.dropout=0.1", "trainer.max_steps=8", "trainer.eval_max_tokens=512"),
    *("trainer.sample_every=4", "trainer.save_every=0"),
)
"""Saves nothing by itself before its end; its evaluations are of two batches."""


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    interruption.reset()
    yield
    interruption.reset()


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_wish_is_raised_at_once_with_the_exit_code_of_its_signal(number: int) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        request(number)
    assert isinstance(caught.value, Interrupted)
    assert caught.value.exit_code == 128 + number
    assert requested() == number


def test_inside_of_what_is_deferred_it_waits_for_the_outermost_end() -> None:
    done = list[str]()

    def work() -> None:
        with deferred():
            with deferred():
                request(SIGTERM)
                done.append("inner")
            assert not may_be_forced()
            done.append("outer")

    with pytest.raises(Interrupted):
        work()
    assert done == ["inner", "outer"]
    assert not may_be_forced(), "the wish is on its way"


def test_where_it_must_not_be_raised_it_waits_for_the_next_end() -> None:
    with deferred(then_raise=False), deferred():
        request(SIGTERM)
    assert may_be_forced()
    done = []
    with pytest.raises(Interrupted), deferred():
        done.append("whole")
    assert done == ["whole"]


def test_an_error_of_what_is_deferred_is_not_replaced() -> None:
    def fail() -> None:
        with deferred(), deferred():
            request(SIGTERM)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    assert not isinstance(caught.value.__context__, Interrupted)
    assert (may_be_forced(), requested()) == (True, SIGTERM)


def test_deferred_work_may_be_given_up_after_patience_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("cai.interruption.time.monotonic", lambda: now)
    raise_if_overdue()
    with deferred(then_raise=False):
        request(SIGTERM)
        now += interruption.PATIENCE
        raise_if_overdue()
        now += 0.001
        with pytest.raises(Interrupted):
            raise_if_overdue()
    assert not may_be_forced(), "the wish is on its way"


def test_a_new_command_knows_nothing_of_an_old_wish() -> None:
    with pytest.raises(Interrupted):
        request(SIGTERM)
    interruption.reset()
    assert requested() is None
    raise_if_overdue()
    with deferred():
        pass


def test_a_wish_that_a_library_has_wrapped_is_known_and_an_error_of_cais_own_is_itself() -> None:
    assert is_interruption(KeyboardInterrupt())
    assert not is_interruption(RuntimeError("of some library"))
    with deferred(then_raise=False):
        request(SIGTERM)
        assert not is_interruption(RuntimeError("of some library")), "it has not been raised yet"
    with pytest.raises(Interrupted), deferred():
        pass
    assert is_interruption(RuntimeError("of some library"))
    assert not is_interruption(OutputError("the disk is full"))


def test_the_command_that_goes_on_is_kept_for_a_forced_end_and_forgotten_with_the_wish() -> None:
    assert advice() == ""
    advise("cai resume outputs/run/1")
    assert advice() == " Go on with:\n  cai resume outputs/run/1"
    interruption.reset()
    assert advice() == ""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody has stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        return train_tiny(tiny=STOPPED).absolute()


@pytest.mark.slow
@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    ("place", "number", "saved"),
    [
        ("shards", SIGTERM, None),
        ("training", SIGTERM, 6),
        ("training", SIGINT, 6),
        ("evaluation", SIGTERM, 3),
        ("sampling", SIGINT, 4),
    ],
)
def test_a_run_that_is_asked_to_stop_saves_and_says_how_to_go_on(
    place: str, number: int, saved: int | None, whole: Path
) -> None:
    process = start("train", *STOPPED, prepare=slow, arguments=(place,))
    wait_until(lambda: Path("reached").exists(), process)
    assert process.pid is not None
    began = time.monotonic()
    os.kill(process.pid, number)
    assert exit_code(process) == 128 + number, printed()
    assert time.monotonic() - began < 15
    assert f"cai resume {the_run()}" in printed()
    assert "Traceback" not in printed()
    assert ("nothing was to be saved yet" in printed()) == (saved is None)
    assert (f"all up to step {saved} is saved" in printed()) == (saved is not None)
    assert read_run(the_run())["status"] == json.loads((the_run() / "run.json").read_text())["status"] == "interrupted"
    assert main(["resume", str(the_run())]) == 0
    assert read_run(the_run())["resumed"][0]["step"] == (saved or 0)
    assert_equal_runs(the_run(), whole)


@pytest.mark.slow
def test_a_sweep_that_is_asked_to_stop_begins_no_further_job(scratch: Path, whole: Path) -> None:
    process = start("train", "hydra/launcher=basic", "-m", *STOPPED, "seed=1337,2,3", prepare=slow, arguments=("training",))
    wait_until(lambda: Path("reached").exists(), process)
    process.terminate()
    assert exit_code(process) == 143, printed()
    (job,) = run_directories(Path("outputs"))
    assert job.name.startswith("0_")
    assert read_run(job)["status"] == "interrupted"
    assert re.findall(r"cai resume (\S+)", printed()) == [str(job), str(job.parent)]
    assert "0 of 3 jobs finished, 1 interrupted, 2 waiting" in printed()
    assert main(["resume", str(job)]) == 0
    assert_equal_runs(job, whole)


@pytest.fixture
def signal_at(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Whatever trains gets SIGTERM in the midst of this step."""
    original, steps = Updater.update, []

    def update(self: Updater, step: int) -> Update:
        steps.append(step)
        if steps.count(3) == 1 and step == 3:
            signal.raise_signal(SIGTERM)
        return original(self, step)

    monkeypatch.setattr(Updater, "update", update)
    return 3


def test_a_step_that_lasts_is_given_up_between_two_micro_batches(
    signal_at: int, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(interruption, "PATIENCE", -1.0)
        assert main(["train", *STOPPED]) == 143
    (directory,) = run_directories(Path("outputs"))
    assert read_run(directory)["steps"] == signal_at
    assert main(["resume", str(directory)]) == 0
    assert_equal_runs(directory, whole)


def test_a_run_stopped_before_its_config_is_written_is_not_said_to_be_resumable(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cai.train.train_in", lambda *_, **__: signal.raise_signal(SIGTERM))
    assert main(["train", *STOPPED]) == 143
    said = capsys.readouterr().out
    advised = re.findall(r"cai resume (\S+)", said)
    assert all(Path(directory, "config.yaml").exists() for directory in advised)
    assert "interrupted before the run had begun; start it again" in said


@pytest.mark.slow
def test_a_sweep_ends_even_if_a_library_wraps_the_wish_to_stop(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wraps(*_: object) -> None:
        try:
            signal.raise_signal(SIGTERM)
        except KeyboardInterrupt as error:
            raise RuntimeError("of some library") from error

    monkeypatch.setattr("cai.train.learn_tokenizer", wraps)
    assert main(["train", "hydra/launcher=basic", "-m", *STOPPED, "seed=1,2,3"]) == 143
    assert [path.name[:2] for path in run_directories(Path("outputs"))] == ["0_"]


def test_a_signal_after_the_end_of_a_run_does_not_make_it_a_failure(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cai.train.describe_end", lambda *_, **__: signal.raise_signal(SIGTERM))
    assert main(["train", *STOPPED]) == 0
