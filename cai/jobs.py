"""The jobs of a sweep in processes of their own, started, watched and asked to stop. (Command layer.)"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Self

from cai.hardware import default_threads
from cai.interruption import Interrupted, deferred
from cai.job import record_failure
from cai.runs import STATUS
from cai.sweeps import DONE, Sweep

log = logging.getLogger(__name__)

PAUSE = 0.05
"""Seconds between two looks at the processes."""


class JobProcess:
    """One job of a sweep, running. It ends by itself when the process that started it dies."""

    def __init__(
        self, sweep: Sweep, number: int, words: Sequence[str], *, label: str, devices: str | None, alone: bool
    ) -> None:
        """``alone``: its lines and bars go to the terminal as they are, not line by line behind its ``label``."""
        self.number = number
        self.label = label
        self._asked = False
        # -P: not the code of the folder that one happens to stand in; what this process finds is passed on.
        command = [sys.executable, "-P", "-m", "cai.job", str(sweep.directory), str(number), *words]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # whose end tells the job that nobody is there any more
            stdout=None if alone else subprocess.PIPE,
            stderr=None if alone else subprocess.STDOUT,
            env=_environment(sweep.threads, devices, alone=alone),
            start_new_session=True,  # Ctrl-C reaches it through its parent alone, and once
        )
        self.lines = None if self.process.stdout is None else threading.Thread(target=self._pass_on, daemon=True)
        if self.lines is not None:
            self.lines.start()

    def ended(self) -> bool:
        return self.process.poll() is not None

    def ask_to_stop(self, number: int) -> None:
        """Send a signal, once: a second one would have it stop in the midst of saving. Where there are no signals, its
        standard input ends instead.
        """
        if self._asked or self.ended():
            return
        self._asked = True
        if os.name == "nt":
            assert self.process.stdin is not None
            self.process.stdin.close()
        else:
            self.process.send_signal(number)

    def close(self) -> int:
        """Wait for its end. Returns its exit code; of one that a signal ended, the negative number of that."""
        code = self.process.wait()
        if self.lines is not None:
            self.lines.join(timeout=5)  # a process of its own making may hold the pipe longer
        assert self.process.stdin is not None
        self.process.stdin.close()
        return code

    def _pass_on(self) -> None:
        out: IO[bytes] | None = self.process.stdout
        assert out is not None
        for line in out:  # to its end, whatever becomes of this terminal: a full pipe would stop the job
            if text := line.decode(errors="replace").rstrip():
                with suppress(OSError, ValueError):
                    log.info("[%s] %s", self.label, text)


class JobProcesses:
    """Jobs that run side by side. A context manager: left for an error or the wish to stop, it asks them and waits."""

    def __init__(self, at_once: int, words: Sequence[str]) -> None:
        """``words`` are added to the command of every job."""
        self.at_once, self.words = at_once, tuple(words)
        self.running: dict[int, JobProcess] = {}
        """By slot: the place of a job among those side by side."""
        self._accelerators = _accelerators()

    @property
    def has_room(self) -> bool:
        return len(self.running) < self.at_once

    def start(self, sweep: Sweep, number: int, label: str | None = None) -> JobProcess:
        """Start a job, when there is room. ``label`` stands before its lines; ``None``: the job's place in the sweep."""
        slot = next(slot for slot in range(self.at_once) if slot not in self.running)
        shared = self.at_once > 1 and len(self._accelerators) > 1
        devices = self._accelerators[slot % len(self._accelerators)] if shared else None
        label = str(number + 1) if label is None else label
        with deferred():  # a process is either not there, or known here
            job = JobProcess(sweep, number, self.words, label=label, devices=devices, alone=self.at_once == 1)
            self.running[slot] = job
        return job

    def take_ended(self) -> list[JobProcess]:
        """The jobs that have ended; they run no more."""
        return [self.running.pop(slot) for slot, job in list(self.running.items()) if job.ended()]

    def ask_to_stop(self, number: int) -> None:
        """Send every job a signal."""
        for job in self.running.values():
            job.ask_to_stop(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with deferred(then_raise=False):
            if error is not None:
                self.ask_to_stop(error.exit_code - 128 if isinstance(error, Interrupted) else signal.SIGTERM)
            for job in self.running.values():
                job.close()


def run_jobs(sweep: Sweep, numbers: Iterable[int], words: Sequence[str], *, fail_fast: bool = False) -> None:
    """Run the jobs ``numbers``, ``sweep.at_once`` side by side, until all have ended. ``words`` are added to each command.

    Asked to stop, it asks the jobs, waits for them, and raises ``Interrupted``. With ``fail_fast``, a job that fails ends
    all others.
    """
    waiting, stopping = list(numbers), False
    with JobProcesses(sweep.at_once, words) as processes:
        while waiting or processes.running:
            while waiting and processes.has_room:
                number = waiting.pop(0)
                log.info("\n[%d/%d] %s", number + 1, len(sweep.jobs), " ".join(sweep.jobs[number].overrides))
                processes.start(sweep, number)
            for job in processes.take_ended():
                settle(sweep, job)
                if fail_fast and not stopping and sweep.status(job.number) not in DONE:
                    stopping = True
                    log.info("\nsweep.fail_fast: the other jobs are stopped")
                    waiting = []
                    processes.ask_to_stop(signal.SIGTERM)
            time.sleep(PAUSE)


def threads_for(at_once: int) -> int:
    """Threads of each job, when so many run side by side."""
    return max(1, default_threads() // at_once)


def settle(sweep: Sweep, job: JobProcess) -> int:
    """Close a job that has ended, and see that its folder or the user is told of an end that it could not tell itself.

    Returns its exit code.
    """
    code, folder = job.close(), sweep.folder(job.number)
    if 0 < code <= 128 and not (folder / STATUS).is_file():  # beyond: it was asked to stop
        try:
            record_failure(folder, f"its process ended with code {code} before the run had begun")
        except OSError as error:  # the trouble of one job is not that of the others
            log.error("%s could not be written: %s", folder, error)
    if code < 0:
        log.error("[%s] was killed (%s): %s", job.label, signal.Signals(-code).name, folder)
    return code


def _environment(threads: int, devices: str | None, *, alone: bool) -> Mapping[str, str]:
    """Of a job: modules are found where this process finds them; OpenMP takes no more threads than are meant for it; a line
    that goes through a pipe goes at once.
    """
    own = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    if not alone:
        own |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    if threads:
        own["OMP_NUM_THREADS"] = str(threads)
    if devices is not None:
        own["CUDA_VISIBLE_DEVICES"] = devices
    return {**os.environ, **own}


def _accelerators() -> list[str]:
    """The CUDA devices that jobs may share out, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in visible.split(",") if name]
    return [str(number) for number in range(torch.cuda.device_count())]
