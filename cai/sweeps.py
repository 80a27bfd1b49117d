"""Sweeps as they stand on the disk: the list of their jobs, frozen when they began, and how far each job is."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from cai.config.base import Config
from cai.config.saved import FORMAT, config_of
from cai.errors import RunError
from cai.files import write_whole
from cai.runs import STATUS, SWEEP, read_run

DONE = frozenset({"finished", "pruned"})
"""How a job ends that is not to be run again."""

C = TypeVar("C", bound=Config)


class SweepConfig(Config):
    """What a sweep does about jobs that fail."""

    fail_fast: bool
    retry: bool


@dataclass(frozen=True)
class SweepJob:
    """One job: its folder in the sweep, the overrides in which it differs from the others, and its whole config."""

    folder: str
    overrides: tuple[str, ...]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Sweep:
    """What ``sweep.json`` says. Nothing in it changes when a YAML does, or the command that began it is forgotten."""

    directory: Path
    overrides: tuple[str, ...]
    """The words typed."""
    jobs: tuple[SweepJob, ...]
    at_once: int = 1
    """Jobs that run side by side."""
    threads: int = 0
    """Threads of each job that leaves ``device.threads`` open; 0: as many as it finds."""
    config_dir: str | None = None
    """The folder of YAMLs that was given, for the record: jobs need it no more."""
    format: int = FORMAT
    """Of the configs."""

    @classmethod
    def load(cls, directory: Path) -> Sweep:
        """Raises ``RunError`` if there is none, or none that can be read."""
        path = directory / SWEEP
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            jobs = tuple(SweepJob(job["folder"], tuple(job["overrides"]), job["config"]) for job in facts["jobs"])
            known = {key: facts[key] for key in ("at_once", "threads", "config_dir", "format") if key in facts}
            sweep = cls(directory, tuple(facts["overrides"]), jobs, **{"format": 5, **known})
            sweep._refuse_what_is_none()
            return sweep
        except FileNotFoundError:
            raise RunError(f"{directory} must be a sweep, but has no {SWEEP}.") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunError(f"{path} must list the jobs of a sweep, but cannot be read ({error!r}).") from error

    def _refuse_what_is_none(self) -> None:
        """Raises ``ValueError``. A sweep may come from a stranger: it names folders of its own, nothing outside."""
        for job in self.jobs:
            if not is_folder_name(job.folder) or not isinstance(job.config, dict):
                raise ValueError(f"{job.folder!r} is no job")
        if len({job.folder for job in self.jobs}) < len(self.jobs):
            raise ValueError("each job must have a folder of its own")
        for name, least in (("at_once", 1), ("threads", 0), ("format", 1)):
            if type(value := getattr(self, name)) is not int or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, but is {value!r}")

    def save(self) -> None:
        """Write ``sweep.json``, whole or not at all."""
        facts = {key: value for key, value in asdict(self).items() if key != "directory"}
        order = ("format", "overrides", "config_dir", "at_once", "threads", "jobs")
        text = json.dumps({key: facts[key] for key in order}, indent=2, ensure_ascii=False)
        write_whole(self.directory / SWEEP, text + "\n")

    def with_jobs(self, jobs: Sequence[SweepJob]) -> Sweep:
        """The same sweep with more jobs behind those it has."""
        return replace(self, jobs=(*self.jobs, *jobs))

    def config(self, number: int, root: type[C], trusted: Collection[str] = ()) -> C:
        """The config of a job. Raises ``ConfigError`` if it is not valid."""
        return config_of(dict(self.jobs[number].config), self.format, self.directory / SWEEP, root, trusted)

    def folder(self, number: int) -> Path:
        """The run directory of a job, whether it has begun or not."""
        return self.directory / self.jobs[number].folder

    def status(self, number: int) -> str:
        """``waiting`` for a job that has not begun, else what its ``run.json`` says."""
        folder = self.folder(number)
        return str(read_run(folder)["status"]) if (folder / STATUS).is_file() else "waiting"


def is_folder_name(name: object) -> bool:
    """Whether ``name`` is that of one folder, with no way out of the one that it stands in."""
    return isinstance(name, str) and bool(name) and not name.startswith(".") and not set(name) & set("/\\\0")
