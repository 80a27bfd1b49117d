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
from typing import IO

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

    def __init__(self, sweep: Sweep, number: int, words: Sequence[str], *, devices: str | None, alone: bool) -> None:
        """``alone``: its lines and bars go to the terminal as they are, not line by line behind its number."""
        self.number = number
        command = [sys.executable, "-m", "cai.job", str(sweep.directory), str(number), *words]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # whose end tells the job that nobody is there any more
            stdout=None if alone else subprocess.PIPE,
            stderr=None if alone else subprocess.STDOUT,
            env=_environment(sweep.threads, devices),
            start_new_session=True,  # Ctrl-C reaches it through its parent alone, and once
        )
        self.lines = None if self.process.stdout is None else threading.Thread(target=self._pass_on, daemon=True)
        if self.lines is not None:
            self.lines.start()

    def ended(self) -> bool:
        return self.process.poll() is not None

    def ask_to_stop(self, number: int) -> None:
        """Send a signal, unless it is over."""
        if not self.ended():
            self.process.send_signal(number)

    def close(self) -> int:
        """Wait for its end. Returns its exit code; of one that a signal ended, the negative number of that."""
        code = self.process.wait()
        if self.lines is not None:
            self.lines.join()
        assert self.process.stdin is not None
        self.process.stdin.close()
        return code

    def _pass_on(self) -> None:
        out: IO[bytes] | None = self.process.stdout
        assert out is not None
        for line in out:
            if text := line.decode(errors="replace").rstrip():
                log.info("[%d] %s", self.number + 1, text)


def run_jobs(sweep: Sweep, numbers: Iterable[int], words: Sequence[str], *, fail_fast: bool = False) -> None:
    """Run the jobs ``numbers``, ``sweep.at_once`` side by side, until all have ended. ``words`` are added to each command.

    Asked to stop, it asks the jobs, waits for them, and raises ``Interrupted``. With ``fail_fast``, a job that fails ends
    all others.
    """
    waiting = list(numbers)
    running: dict[int, JobProcess] = {}  # by slot: the place of a job among those side by side
    accelerators = _accelerators()
    try:
        while waiting or running:
            for slot in range(sweep.at_once):
                if waiting and slot not in running:
                    number = waiting.pop(0)
                    log.info("\n[%d/%d] %s", number + 1, len(sweep.jobs), " ".join(sweep.jobs[number].overrides))
                    shared = sweep.at_once > 1 and len(accelerators) > 1
                    devices = accelerators[slot % len(accelerators)] if shared else None
                    running[slot] = JobProcess(sweep, number, words, devices=devices, alone=sweep.at_once == 1)
            for slot in [slot for slot, job in running.items() if job.ended()]:
                if not _tell(sweep, running.pop(slot)) and fail_fast:
                    log.info("\nsweep.fail_fast: the other jobs are stopped")
                    waiting = []
                    for other in running.values():
                        other.ask_to_stop(signal.SIGTERM)
            time.sleep(PAUSE)
    except BaseException as error:
        wish = error.exit_code - 128 if isinstance(error, Interrupted) else signal.SIGTERM
        with deferred(then_raise=False):
            for job in running.values():
                job.ask_to_stop(wish)
            for job in running.values():
                job.close()
        raise


def threads_for(at_once: int) -> int:
    """Threads of each job, when so many run side by side."""
    return max(1, default_threads() // at_once)


def _tell(sweep: Sweep, job: JobProcess) -> bool:
    """Say how a job has ended. Whether that is well."""
    code, folder = job.close(), sweep.folder(job.number)
    if code > 0 and not (folder / STATUS).is_file():
        record_failure(folder, f"its process ended with code {code} before the run had begun")
    if code < 0:
        log.error("[%d] was killed (%s): %s", job.number + 1, signal.Signals(-code).name, folder)
    return sweep.status(job.number) in DONE


def _environment(threads: int, devices: str | None) -> Mapping[str, str]:
    """Of a job: modules are found where this process finds them; OpenMP takes no more threads than are meant for it."""
    own = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
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
