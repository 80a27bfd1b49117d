"""Hydra's way to CAI's launcher: each job of a sweep in a process of its own.

It stands where Hydra looks for plugins, and every Hydra program of the environment imports it: the work is done in
``cai.jobs``.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus, _save_config
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

if TYPE_CHECKING:
    from cai.sweep import SweepTask


class LocalLauncher(Launcher):
    """Runs the jobs that ``cai train -m`` has frozen, ``jobs`` of them side by side."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context = hydra_context
        self.task: SweepTask = task_function  # type: ignore[assignment]
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs and returns when all have ended, however. What each came to stands in its directory."""
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        for number, overrides in zip(numbers, job_overrides, strict=True):
            self._keep_record(number, overrides)
        self.task.in_processes(numbers, self.jobs)
        done: list[JobReturn] = []
        for overrides in job_overrides:
            ended = JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
            ended.return_value = None
            done.append(ended)
        return done

    def _keep_record(self, number: int, overrides: Sequence[str]) -> None:
        """The ``.hydra`` folder that Hydra's own launcher would leave beside a job."""
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        task: Any = copy.deepcopy(config)
        with read_write(task), open_dict(task):
            del task["hydra"]
        folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir / config.hydra.output_subdir
        _save_config(task, "config.yaml", folder)
        _save_config(config.hydra, "hydra.yaml", folder)
        _save_config(config.hydra.overrides.task, "overrides.yaml", folder)
