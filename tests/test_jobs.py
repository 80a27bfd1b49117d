"""What each job of a sweep gets: threads, a device, modules. What the jobs do together is in ``test_sweep_processes.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cai import jobs
from cai.jobs import run_jobs, threads_for
from cai.sweeps import Sweep, SweepJob


class FakeProcess:
    """Stands for a job's process: ends at the second look, and remembers what it was given."""

    started: list[FakeProcess]

    def __init__(
        self, sweep: Sweep, number: int, words: Sequence[str], *, label: str, devices: str | None, alone: bool
    ) -> None:
        self.number, self.words, self.devices, self.alone, self.looks = number, list(words), devices, alone, 0
        self.label = label
        self.beside = [other.number for other in self.started if not other.over]
        self.over = False
        self.started.append(self)

    def ended(self) -> bool:
        self.looks += 1
        return self.looks > 1

    def ask_to_stop(self, number: int) -> None:
        self.looks = 2

    def close(self) -> int:
        self.over = True
        return 0


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[FakeProcess]:
    FakeProcess.started = []
    monkeypatch.setattr(jobs, "JobProcess", FakeProcess)
    monkeypatch.setattr(jobs, "PAUSE", 0)
    return FakeProcess.started


def sweep_of(directory: Path, count: int, at_once: int) -> Sweep:
    listed = tuple(SweepJob(f"{number}_seed-{number}", (f"seed={number}",), {}) for number in range(count))
    return Sweep(directory, ("seed=0,1,2",), listed, at_once=at_once)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_so_many_run_side_by_side_in_order_and_each_once(tmp_path: Path, started: list[FakeProcess], at_once: int) -> None:
    run_jobs(sweep_of(tmp_path, 7, at_once), [0, 2, 3, 5, 6], ["trust=mine"])
    assert [job.number for job in started] == [0, 2, 3, 5, 6]
    assert [job.label for job in started] == ["1", "3", "4", "6", "7"]
    assert max(len(job.beside) for job in started) == at_once - 1
    assert all(job.words == ["trust=mine"] and job.over for job in started)
    assert {job.alone for job in started} == {at_once == 1}


@pytest.mark.parametrize(
    ("visible", "at_once", "expected"),
    [
        ("0,1,2,3", 2, {"0", "1"}),
        ("4,6", 3, {"4", "6"}),
        ("GPU-a,GPU-b", 2, {"GPU-a", "GPU-b"}),
        ("0,1", 1, {None}),
        ("0", 2, {None}),
        ("", 2, {None}),
    ],
)
def test_several_accelerators_are_shared_out(
    tmp_path: Path,
    started: list[FakeProcess],
    monkeypatch: pytest.MonkeyPatch,
    visible: str,
    at_once: int,
    expected: set[str | None],
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    run_jobs(sweep_of(tmp_path, 4, at_once), range(4), [])
    assert {job.devices for job in started} == expected


def test_accelerators_are_counted_where_nobody_chose_any(
    tmp_path: Path, started: list[FakeProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    run_jobs(sweep_of(tmp_path, 4, 2), range(4), [])
    assert [job.devices for job in started] == ["0", "1", "0", "1"]


@pytest.mark.parametrize(("cores", "at_once", "expected"), [(8, 1, 8), (8, 2, 4), (8, 3, 2), (2, 4, 1)])
def test_the_cores_are_divided(monkeypatch: pytest.MonkeyPatch, cores: int, at_once: int, expected: int) -> None:
    monkeypatch.setattr(jobs, "default_threads", lambda: cores)
    assert threads_for(at_once) == expected


def test_a_job_finds_the_modules_that_its_parent_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", "/a", "/b"])
    environment = jobs._environment(3, "1", alone=False)
    assert (environment["PYTHONPATH"], environment["OMP_NUM_THREADS"]) == ("/a:/b", "3")
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment["PYTHONUNBUFFERED"] == "1", "a line goes through the pipe at once"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    plain = jobs._environment(0, None, alone=True)
    assert plain["CUDA_VISIBLE_DEVICES"] == "5"
    assert "OMP_NUM_THREADS" not in plain
