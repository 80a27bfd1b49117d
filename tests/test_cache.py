"""Results are made once, whole, or not at all."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from filelock import FileLock

from cai.cache import cached

BUILD_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from cai.cache import cached

def build(folder):
    (folder / "half.txt").write_text("half")
    Path(sys.argv[2]).write_text("building")
    time.sleep(600)

cached(Path(sys.argv[1]), build)
"""


def ask(folder: Path, log: Path, start_together: multiprocessing.synchronize.Barrier) -> None:
    """One process that wants ``folder``, and leaves a line in ``log`` if it is the one that builds."""

    def build(temporary: Path) -> None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        os.close(descriptor)
        for number in range(200):
            (temporary / f"{number}.txt").write_text("whole")

    start_together.wait()
    assert len(list(cached(folder, build).iterdir())) == 200, "never seen before it is whole"


def write_page(folder: Path) -> None:
    (folder / "page.txt").write_text("whole")


def must_not_build(folder: Path) -> None:
    raise AssertionError(f"{folder} was built again")


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    while not path.exists():
        assert process.poll() is None, "the process ended by itself"
        time.sleep(0.01)


def test_a_folder_is_built_once_and_then_found(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "below" / "0123abcd"
    assert cached(folder, write_page) == folder
    assert [path.name for path in folder.iterdir()] == ["page.txt"]
    assert cached(folder, must_not_build) == folder


def test_the_builder_works_in_an_empty_folder_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "result"

    def build(temporary: Path) -> None:
        assert temporary.parent == folder.parent, "renaming is atomic within one file system only"
        assert temporary != folder
        assert not folder.exists()
        assert list(temporary.iterdir()) == []

    cached(folder, build)
    assert folder.is_dir()


def test_a_failed_build_leaves_nothing_usable_and_the_next_one_starts_afresh(tmp_path: Path) -> None:
    folder = tmp_path / "result"

    def fail(temporary: Path) -> None:
        (temporary / "half.txt").write_text("half")
        raise RuntimeError("disk on fire")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="disk on fire"):
            cached(folder, fail)
        assert not folder.exists()
    assert [path.name for path in cached(folder, write_page).iterdir()] == ["page.txt"]


def test_what_a_killed_process_left_behind_is_swept(tmp_path: Path) -> None:
    folder = tmp_path / "result"
    left = tmp_path / ".result.unfinished"
    (left / "sub").mkdir(parents=True)
    (left / "sub" / "half.txt").write_text("half")
    assert [path.name for path in cached(folder, write_page).iterdir()] == ["page.txt"]
    assert not left.exists()


def test_two_results_side_by_side_do_not_disturb_each_other(tmp_path: Path) -> None:
    def nested(temporary: Path) -> None:
        cached(tmp_path / "inner", write_page)
        write_page(temporary)

    cached(tmp_path / "outer", nested)
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {"inner", "outer"}


def test_four_processes_asking_at_once_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    log = tmp_path / "log.txt"
    arguments = (tmp_path / "results" / "one", log, barrier)
    processes = [context.Process(target=ask, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert len(log.read_text().splitlines()) == 1


def test_a_builder_killed_in_the_middle_leaves_no_result_and_no_lock(tmp_path: Path) -> None:
    folder, marker = tmp_path / "result", tmp_path / "marker"
    process = subprocess.Popen([sys.executable, "-c", BUILD_UNTIL_KILLED, str(folder), str(marker)])
    try:
        wait_for(marker, process)
        assert not folder.exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not folder.exists()
    assert [path.name for path in cached(folder, write_page).iterdir()] == ["page.txt"]


def test_a_second_process_waits_for_the_first_and_builds_when_that_is_killed(tmp_path: Path) -> None:
    folder, marker, second_marker = tmp_path / "result", tmp_path / "marker", tmp_path / "second"
    first = subprocess.Popen([sys.executable, "-c", BUILD_UNTIL_KILLED, str(folder), str(marker)])
    wait_for(marker, first)
    second = subprocess.Popen([sys.executable, "-c", BUILD_UNTIL_KILLED, str(folder), str(second_marker)])
    try:
        assert not second_marker.exists()
        first.kill()
        first.wait()
        wait_for(second_marker, second)
        assert not folder.exists()
    finally:
        for process in (first, second):
            process.kill()
            process.wait()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_result_that_cannot_be_synced_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("cai.cache.sync", fail)
        with pytest.raises(OSError, match=os.strerror(number)):
            cached(tmp_path / "result", write_page)
    assert not (tmp_path / "result").exists()
    assert [path.name for path in cached(tmp_path / "result", write_page).iterdir()] == ["page.txt"]


def test_every_file_is_synced_before_the_result_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, synced = os.replace, list[str]()

    def build(folder: Path) -> None:
        for name in ("a", "b", "c"):
            (folder / name).write_text("whole")

    def replaced(source: Path, target: Path) -> None:
        assert sorted(synced) == ["a", "b", "c"]
        replace(source, target)

    monkeypatch.setattr("cai.cache.sync", lambda path: synced.append(path.name))
    monkeypatch.setattr(os, "replace", replaced)
    assert cached(tmp_path / "result", build).is_dir()


def test_what_was_left_of_another_result_is_swept_unless_someone_is_at_work_on_it(tmp_path: Path) -> None:
    for name in (".killed.unfinished", ".busy.unfinished"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half.txt").write_text("half")
    with FileLock(tmp_path / ".busy.lock"):
        cached(tmp_path / "result", write_page)
    assert not (tmp_path / ".killed.unfinished").exists()
    assert (tmp_path / ".busy.unfinished" / "half.txt").exists()


def test_an_interrupted_build_is_made_anew(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "result", interrupted)
    assert [path.name for path in cached(tmp_path / "result", write_page).iterdir()] == ["page.txt"]


def meet(barrier: Barrier) -> None:
    """In a child: wait for the other, so that both start in one instant."""
    barrier.wait(60)


@pytest.mark.slow
def test_two_runs_of_one_instant_share_the_cache_and_nothing_else(scratch: Path) -> None:
    # Imported here: the processes of the tests above import this module.
    from tests.conftest import TINY, train_tiny
    from tests.processes import context, exit_code, leftovers, printed, start
    from tests.resuming import tensors_of

    short = (*TINY, "trainer.max_steps=2", "trainer.eval_every=0")
    whole = train_tiny(tiny=short)
    for number in range(2):
        barrier, words = context.Barrier(2), (*short, f"output_dir=pair_{number}")
        pair = [start("train", *words, prepare=meet, arguments=(barrier,)) for _ in range(2)]
        assert [exit_code(process) for process in pair] == [0, 0], printed()
        runs = [path.parent for path in Path(f"pair_{number}/run").glob("*/run.json")]
        assert len(runs) == 2
        facts = [json.loads((run / "run.json").read_text()) for run in runs]
        assert facts[0]["fingerprints"] == facts[1]["fingerprints"]
        assert all(tensors_of(run) == tensors_of(whole) for run in runs)
        assert [leftovers(Path(f"pair_{number}")), len(list(Path(f"pair_{number}/cache/tokens").glob("[!.]*")))] == [[], 1]
