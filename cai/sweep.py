"""The sweep: its jobs frozen, handed to a launcher, and completed later if need be. (Command layer.)"""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from cai.changes import change, refusals_on_resuming
from cai.composition import HydraSession, Job
from cai.config.roots import TrainConfig
from cai.config.saved import load_config, to_tree
from cai.errors import CaiError, RunError
from cai.interruption import Interrupted, advise, is_interruption, requested
from cai.job import run_job
from cai.jobs import run_jobs, threads_for
from cai.overrides import Arguments, job_folder, parse_arguments
from cai.run import TOKENIZER
from cai.runs import CONFIG, alone
from cai.summary import describe_failure, describe_sweep, resume_command
from cai.sweeps import DONE, Sweep, SweepJob
from cai.train import check_surroundings

log = logging.getLogger(__name__)


class _FailedFast(BaseException):
    """A job failed, and no other is to begin. No ``Exception``: Hydra's launcher would begin the next."""


@dataclass(frozen=True)
class SweepTask:
    """What a launcher of Hydra's runs. Called, it runs the job of that number here, out of ``sweep.json``."""

    directory: Path
    words: tuple[str, ...]
    """Added to the command of every job: what it may trust."""
    fail_fast: bool

    def __post_init__(self) -> None:
        self._name_folders()

    def __setstate__(self, state: dict[str, object]) -> None:
        """Unpickled by a launcher, in another process."""
        self.__dict__.update(state)
        self._name_folders()

    def _name_folders(self) -> None:
        """Let ``hydra.sweep.subdir`` find the folders of the jobs, in whatever process Hydra asks."""
        folders = [job.folder for job in Sweep.load(self.directory).jobs]
        OmegaConf.register_new_resolver("cai.job_folder", lambda number: folders[number], replace=True)

    def __call__(self, _: object) -> None:
        sweep, number = Sweep.load(self.directory), HydraConfig.get().job.num
        log.info("\n[%d/%d] %s", number + 1, len(sweep.jobs), " ".join(sweep.jobs[number].overrides))
        code = 1
        try:
            code = run_job(sweep, number, parse_arguments(self.words))
        except Exception as error:  # one bad corner of the grid must not end the sweep
            if (wish := requested()) is not None and is_interruption(error):
                raise Interrupted(wish) from error  # what a library has wrapped; Hydra would begin the next job
            log.error("failed: %s", describe_failure(error, sweep.folder(number)))
        finally:
            gc.collect()
        if code > 128:  # it was asked to stop, and has
            raise Interrupted(code - 128)
        self._refuse_to_go_on(sweep, [number])

    def in_processes(self, numbers: Sequence[int], at_once: int) -> None:
        """The same for CAI's own launcher: each job in a process, ``at_once`` side by side."""
        sweep = replace(Sweep.load(self.directory), at_once=at_once, threads=threads_for(at_once))
        sweep.save()
        run_jobs(sweep, numbers, self.words, fail_fast=self.fail_fast)
        self._refuse_to_go_on(sweep, numbers)

    def _refuse_to_go_on(self, sweep: Sweep, numbers: Sequence[int]) -> None:
        if self.fail_fast and any(sweep.status(number) not in DONE for number in numbers):
            raise _FailedFast


def start_sweep(session: HydraSession, jobs: Sequence[Job[TrainConfig]], directory: Path) -> int:
    """Run every job. Returns 0 only if all of them ended well."""
    folders = [job_folder(number, job.swept) for number, job in enumerate(jobs)]
    listed = [SweepJob(folder, job.swept, to_tree(job.config)) for folder, job in zip(folders, jobs, strict=True)]
    Sweep(directory, tuple(session.arguments.typed), tuple(listed), config_dir=session.arguments.config_dir).save()
    trust = session.arguments.trust().split()
    task = SweepTask(directory, tuple(trust), jobs[0].config.sweep.fail_fast)
    with alone(directory, "sweep"):
        return _ended(directory, trust, lambda: session.sweep(task, directory))


def resume_sweep(directory: Path, arguments: Arguments) -> int:
    """Complete a sweep: what is finished stays, what was interrupted goes on, what failed is tried again.

    Numbers, folders and threads of the jobs stay as they were. Raises ``ConfigError`` before anything is begun.
    """
    sweep = Sweep.load(directory)
    pending, configs = [], []
    for number in range(len(sweep.jobs)):
        status, own = sweep.status(number), sweep.folder(number) / CONFIG
        if status in DONE:
            continue
        frozen = sweep.config(number, TrainConfig, arguments.trusted)
        saved = load_config(own, TrainConfig, arguments.trusted) if own.is_file() else frozen
        config, _ = change(saved, arguments, refusals_on_resuming)
        if status != "failed" or config.sweep.retry:
            pending.append(number)
            configs.append(config)
    if sweep.jobs and not pending and arguments.typed:  # a mistake is one, whether there is something to be done or not
        change(sweep.config(0, TrainConfig, arguments.trusted), arguments, refusals_on_resuming)
        log.info("note: %s changes nothing, as no job is to be done", " ".join(arguments.typed))
    if busy := [sweep.jobs[number].folder for number in pending if sweep.status(number) == "running"]:
        raise RunError(f"{directory} must be free, but another process is running {', '.join(busy)}.")
    has_begun = [(sweep.folder(number) / TOKENIZER).is_file() for number in pending]
    check_surroundings([config for config, has in zip(configs, has_begun, strict=True) if not has])
    check_surroundings([config for config, has in zip(configs, has_begun, strict=True) if has], learns=False)
    log.info("%d of %d jobs are to be done", len(pending), len(sweep.jobs))
    words = [*arguments.typed, *arguments.trust().split()]
    with alone(directory, "sweep"):
        fail_fast = bool(configs) and configs[0].sweep.fail_fast
        return _ended(directory, arguments.trust().split(), lambda: run_jobs(sweep, pending, words, fail_fast=fail_fast))


def _ended(directory: Path, trust: Sequence[str], run: Callable[[], None]) -> int:
    """Run the jobs, and say how they ended. Returns an exit code."""
    trusted = "".join(f" {word}" for word in trust)
    advise(resume_command(directory, trusted))
    code = 0
    try:
        run()
    except KeyboardInterrupt as error:
        code = getattr(error, "exit_code", 130)
        log.info("\ninterrupted")
    except _FailedFast:
        code = 1
    except Exception as error:  # of Hydra's sweeper or launcher; the jobs catch their own
        print(f"\n{error if isinstance(error, CaiError) else describe_failure(error, directory)}", file=sys.stderr)
        code = 1
    sweep = Sweep.load(directory)
    log.info(describe_sweep(sweep, trusted))
    return code or int(any(sweep.status(number) not in DONE for number in range(len(sweep.jobs))))
