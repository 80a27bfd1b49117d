"""Sweeps in real processes: jobs that raise, are killed, are stopped, lose their parent, and are completed afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.runs import read_facts, read_run
from cai.sweeps import Sweep
from tests.conftest import TINY, run_directories
from tests.resuming import metrics_of, tensors_of

pytestmark = [
    pytest.mark.usefixtures("scratch"),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc"),
]

CODE = '''
import os, signal, time
from pathlib import Path
from typing import Literal
from cai.data.contacts import ContactsConfig
from cai.schedule.base import ScheduleConfig


class HarmConfig(ScheduleConfig):
    """Constant, until it does ``harm`` in the middle of the run: once only, which a file remembers. Who waits, does so until
    there is a file ``go``, whatever signal comes."""

    harm: Literal["none", "error", "kill", "wait", "edit"]

    def after_warmup(self, progress: float) -> float:
        who = os.getpid() if self.harm == "wait" else ""
        if progress > 0.4 and self.harm != "none" and first(f"harmed_{self.harm}{who}"):
            if self.harm == "error":
                raise RuntimeError("boom")
            if self.harm == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.harm == "edit":
                Path("my_conf/schedule/harm.yaml").write_text("not: a\\n valid yaml: [")
            end = time.monotonic() + 60
            while self.harm == "wait" and not Path("go").exists() and time.monotonic() < end:
                time.sleep(0.02)
        return 1.0


def first(mark):
    """Whether nobody was here before: this is the one who makes the file."""
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class CountedConfig(ContactsConfig):
    """Notes which process reads its documents."""

    def examples(self):
        with open("read.txt", "a") as file:
            file.write(f"{os.getpid()}\\n")
        return super().examples()
'''
LIMIT = 60.0
TRUST = ("--config-dir", "my_conf", "schedule=harm", "trust=my_package")
WORDS = (*(word for word in TINY if not word.startswith("schedule")), *TRUST, "trainer.save_every=2", "device.threads=0")


@pytest.fixture(autouse=True)
def package(scratch: Path) -> None:
    files = {
        "my_package/harm.py": CODE,
        "my_conf/schedule/harm.yaml": "_target_: my_package.harm.HarmConfig\nwarmup_steps: 1\nharm: none\n",
        "my_conf/data/counted.yaml": "defaults:\n  - contacts\n  - _self_\n_target_: my_package.harm.CountedConfig\n",
    }
    for path, text in files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)


def environment() -> dict[str, str]:
    root = Path(__file__).parent.parent
    own = {"PYTHONPATH": os.pathsep.join([str(root), str(Path.cwd())]), "OMP_NUM_THREADS": "4"}
    return {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"} | own


def cai(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cai", *words], env=environment(), capture_output=True, text=True, timeout=4 * LIMIT
    )


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the program; what still runs at the end is ended."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        with open("log.txt", "ab") as log:
            command = [sys.executable, "-m", "cai", *words]
            processes.append(subprocess.Popen(command, env=environment(), stdout=log, stderr=log))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"it took too long: {Path('log.txt').read_text() if Path('log.txt').exists() else ''}"
        time.sleep(0.02)


def the_sweep() -> Sweep:
    (path,) = Path("outputs").glob("*/*/sweep.json")
    return Sweep.load(path.parent)


def statuses() -> list[str]:
    sweep = the_sweep()
    return [sweep.status(number) for number in range(len(sweep.jobs))]


def waiting() -> list[Path]:
    """The marks of jobs that wait for ``go``, or have."""
    return list(Path().glob("harmed_wait*"))


def records(jobs: Sequence[Path]) -> dict[Path, tuple[int, bytes]]:
    """When and how the files of some runs were written last."""
    files = [path for job in jobs for path in job.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def job_processes(sweep: Path) -> list[int]:
    """The processes of jobs of this sweep that are alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if "cai.job" in words and any(str(sweep) in word for word in words) and state != "Z":
            found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_eight_jobs_of_which_one_raises_and_one_is_killed_are_completed_by_resume() -> None:
    grid = ("-m", "schedule.harm=none,error,kill,none", "seed=1,2", "hydra.launcher.jobs=2")
    first = cai("train", *WORDS, "data=counted", *grid)
    assert first.returncode == 1, first.stdout + first.stderr
    sweep = the_sweep()
    # Of two jobs that are to do harm, the one that comes second finds the mark of the other and runs through.
    assert sorted(statuses()) == ["failed"] + ["finished"] * 6 + ["interrupted"]
    failed, killed = (sweep.folder(statuses().index(status)) for status in ("failed", "interrupted"))
    facts = read_run(failed)
    assert "boom" in facts["error"]
    assert "Traceback" in facts["traceback"]
    assert "boom" in (failed / "train.log").read_text(encoding="utf-8")
    assert f"was killed (SIGKILL): {killed}" in first.stdout
    assert "6 of 8 jobs finished, 1 failed, 1 interrupted" in first.stdout
    assert all(job.folder in first.stdout.split("best val loss")[1] for job in sweep.jobs), "the table lists all eight"
    assert f"cai resume {sweep.directory}" in first.stdout
    readers = Path("read.txt").read_text().splitlines()
    assert len(set(readers)) == 1, "tokenizer and shards are built by one job for all"
    others = [sweep.folder(number) for number, status in enumerate(statuses()) if status == "finished"]
    before = records(others)

    second = cai("resume", str(sweep.directory), "trust=my_package")
    assert second.returncode == 0, second.stdout + second.stderr
    assert statuses() == ["finished"] * 8
    assert "2 of 8 jobs are to be done" in second.stdout
    assert "8 of 8 jobs finished" in second.stdout
    assert records(others) == before, "nothing that was finished is touched"
    assert [read_run(job).get("resumed", [{}])[0].get("step") for job in (failed, killed)] == [4, 4]
    assert metrics_of(failed)[-1]["step"] == metrics_of(killed)[-1]["step"] == 6
    assert Path("read.txt").read_text().splitlines() == readers, "tokenizer and shards are found, not built"
    assert {read_run(job)["device"]["threads"] for job in run_directories(Path("outputs"))} == {sweep.threads}
    assert sweep.threads < 4, "half of what there is"

    third = cai("resume", str(sweep.directory), "trust=my_package")
    assert third.returncode == 0
    assert "0 of 8 jobs are to be done" in third.stdout


@pytest.mark.slow
def test_a_sweep_killed_with_all_its_jobs_ends_at_the_same_weights_as_one_that_was_not(
    started: Callable[..., subprocess.Popen[bytes]],
) -> None:
    grid = ("-m", "seed=1,2", "hydra.launcher.jobs=2", "name=killed")
    sweeping = started("train", *WORDS, "schedule.harm=wait", *grid)
    wait_until(lambda: len(waiting()) == 2)
    sweep = the_sweep()
    jobs = job_processes(sweep.directory)
    assert len(jobs) == 2
    for process in (sweeping.pid, *jobs):
        os.kill(process, signal.SIGKILL)
    sweeping.wait()
    wait_until(lambda: "running" not in statuses())  # what is killed holds its lock until it is gone
    assert statuses() == ["interrupted"] * 2
    assert [read_facts(sweep.folder(number))["status"] for number in range(2)] == ["running"] * 2, "nobody could say so"
    Path("go").touch()
    assert cai("resume", str(sweep.directory), "trust=my_package").returncode == 0
    assert statuses() == ["finished"] * 2

    assert cai("train", *WORDS, *grid[:-1], "name=whole").returncode == 0
    (whole,) = (Sweep.load(path.parent) for path in Path("outputs/whole").glob("*/sweep.json"))
    for number in range(2):
        killed, never = tensors_of(sweep.folder(number)), tensors_of(whole.folder(number))
        assert killed.keys() == never.keys()
        assert killed == never


@pytest.mark.slow
def test_jobs_end_with_their_parent_and_a_signal_reaches_them_all(started: Callable[..., subprocess.Popen[bytes]]) -> None:
    grid = ("-m", "seed=1,2,3", "hydra.launcher.jobs=2")
    sweeping = started("train", *WORDS, "schedule.harm=wait", *grid)
    wait_until(lambda: len(waiting()) == 2)
    sweep = the_sweep()
    sweeping.kill()
    sweeping.wait()
    time.sleep(0.3)  # the jobs are told by the end of their standard input
    Path("go").touch()
    wait_until(lambda: not job_processes(sweep.directory))
    assert statuses() == ["interrupted", "interrupted", "waiting"]
    facts = [read_facts(sweep.folder(number)) for number in range(2)]
    assert [one["status"] for one in facts] == ["interrupted"] * 2, "they said so themselves"
    assert all(2 < one["saved_step"] < 6 for one in facts), "and saved where they stood"

    Path("go").unlink()
    resuming = started("resume", str(sweep.directory), "trust=my_package")
    wait_until(lambda: len(waiting()) == 4)
    resuming.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    Path("go").touch()
    assert resuming.wait(LIMIT) == 143
    assert not job_processes(sweep.directory)
    assert [read_facts(sweep.folder(number))["status"] for number in range(2)] == ["interrupted"] * 2
    printed = Path("log.txt").read_text(encoding="utf-8")
    assert f"cai resume {sweep.directory} trust=my_package" in printed
    assert "stopped at once" not in printed


@pytest.mark.slow
def test_a_failure_stops_the_jobs_beside_it_once_if_it_is_asked_to(started: Callable[..., subprocess.Popen[bytes]]) -> None:
    grid = ("-m", "schedule.harm=wait,wait,error,none", "hydra.launcher.jobs=3", "sweep.fail_fast=true")
    sweeping = started("train", *WORDS, *grid)
    wait_until(lambda: len(waiting()) == 2 and "sweep.fail_fast" in Path("log.txt").read_text(encoding="utf-8"))
    time.sleep(1)  # longer than two signals that count as one lie apart
    Path("go").touch()
    assert sweeping.wait(LIMIT) == 1
    assert statuses() == ["interrupted", "interrupted", "failed", "waiting"]
    sweep = the_sweep()
    assert all(read_facts(sweep.folder(number))["saved_step"] > 2 for number in range(2))
    printed = Path("log.txt").read_text(encoding="utf-8")
    assert printed.count("sweep.fail_fast") == 1
    assert "stopped at once" not in printed


@pytest.mark.slow
def test_fail_fast_begins_no_other_job_and_resume_may_leave_failed_ones(scratch: Path) -> None:
    first = cai("train", *WORDS, "sweep.fail_fast=true", "-m", "schedule.harm=error,none")
    assert first.returncode == 1
    assert statuses() == ["failed", "waiting"]
    assert "sweep.fail_fast" in first.stdout
    sweep = the_sweep()
    second = cai("resume", str(sweep.directory), "trust=my_package", "sweep.retry=false", "sweep.fail_fast=false")
    assert second.returncode == 1
    assert "1 of 2 jobs are to be done" in second.stdout
    assert statuses() == ["failed", "finished"]
    wrong = cai("resume", str(sweep.directory), "trust=my_package", "optimizer.lr=1.0")
    assert wrong.returncode == 2
    assert "`optimizer.lr` must stay" in wrong.stderr


@pytest.mark.slow
def test_fail_fast_holds_from_one_of_hydras_batches_to_the_next() -> None:
    batches = "hydra.sweeper.max_batch_size=1"
    done = cai("train", *WORDS, batches, "sweep.fail_fast=true", "-m", "schedule.harm=error,none", "seed=1,2")
    assert done.returncode == 1
    assert statuses() == ["failed", "waiting", "waiting", "waiting"]
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_yaml_that_is_broken_while_a_sweep_runs_changes_no_job_of_it() -> None:
    first = cai("train", *WORDS, "-m", "schedule.harm=edit,none", "schedule.warmup_steps=2")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "valid yaml" in Path("my_conf/schedule/harm.yaml").read_text()
    assert statuses() == ["finished"] * 2
    sweep = the_sweep()
    saved = [load_config(sweep.folder(number) / "config.yaml", TrainConfig, ["my_package"]) for number in range(2)]
    assert [config.schedule.warmup_steps for config in saved] == [2, 2]


@pytest.mark.slow
def test_a_job_runs_no_code_of_the_folder_that_it_is_started_in() -> None:
    Path("filelock.py").write_text("raise SystemExit('OWNED')")
    own = {key: value for key, value in environment().items() if key != "PYTHONPATH"}
    command = [str(Path(sys.executable).parent / "cai"), "train", *TINY, "device.threads=1", "-m", "seed=1"]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=LIMIT)
    assert "OWNED" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
