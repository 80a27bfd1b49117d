"""The jobs of ``cai train -m``: each in its own folder, none able to end the others. (Command layer.)"""

from __future__ import annotations

import gc
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cai.composition import HydraSession, Job
from cai.config.roots import TrainConfig
from cai.config.saved import to_tree
from cai.errors import RunError
from cai.files import write_whole
from cai.interruption import Interrupted, is_interruption, requested
from cai.overrides import job_folder
from cai.runs import STATUS, read_run
from cai.summary import describe_failure, describe_interruption, describe_sweep

log = logging.getLogger(__name__)


def sweep(session: HydraSession, jobs: Sequence[Job[TrainConfig]], directory: Path, train_in: Callable[..., object]) -> int:
    """Run ``train_in(folder, config, overrides)`` for every job. Returns 0 only if all of them finished.

    A job that fails is recorded in its own folder at that moment, and the others go on.
    """
    folders = [job_folder(number, job.swept) for number, job in enumerate(jobs)]
    _freeze(session, jobs, folders, directory)

    def task(number: int) -> None:
        job = jobs[number]
        log.info("\n[%d/%d] %s", number + 1, len(jobs), " ".join(job.swept))
        try:
            train_in(directory / folders[number], job.config, job_overrides(session.arguments.typed, job.swept))
        except Exception as error:  # one bad corner of the grid must not end the sweep
            if (wish := requested()) is not None and is_interruption(error):
                raise Interrupted(wish) from error  # what a library has wrapped; Hydra would begin the next job
            log.error("failed: %s", describe_failure(error, directory / folders[number]))
        finally:
            gc.collect()

    try:
        session.sweep(task, directory, folders)
    except KeyboardInterrupt as error:
        begun = [folder for folder in folders if (directory / folder / STATUS).is_file()]
        log.info("\ninterrupted; %d of %d jobs had begun, the others did not start", len(begun), len(folders))
        stopped = [folder for folder in begun if read_run(directory / folder)["status"] == "interrupted"]
        log.info("".join(describe_interruption(directory / folder, session.arguments.trust()) for folder in stopped))
        return getattr(error, "exit_code", 130)
    except Exception as error:  # of Hydra's sweeper or launcher; the jobs catch their own
        print(f"\n{describe_failure(error, directory)}", file=sys.stderr)
    runs = [_read(directory / folder) for folder in folders]
    log.info(describe_sweep(directory, folders, runs))
    return 0 if all(run["status"] == "finished" for run in runs) else 1


def job_overrides(typed: Sequence[str], swept: Sequence[str]) -> list[str]:
    """What a job was asked for: the words typed, each list that was swept over replaced by the job's own value."""
    own = {word.partition("=")[0]: word for word in swept}
    return [own.get(word.lstrip("+").partition("=")[0], word) for word in typed]


def _freeze(session: HydraSession, jobs: Sequence[Job[TrainConfig]], folders: Sequence[str], directory: Path) -> None:
    """Write ``sweep.json``: every job's full config, as it was when the sweep began."""
    listing = [
        {"folder": folder, "overrides": list(job.swept), "config": to_tree(job.config)}
        for folder, job in zip(folders, jobs, strict=True)
    ]
    text = json.dumps({"overrides": session.arguments.typed, "jobs": listing}, indent=2, ensure_ascii=False)
    write_whole(directory / "sweep.json", text + "\n")


def _read(folder: Path) -> dict[str, Any]:
    """A job's ``run.json``; of one that could not even begin, that it failed."""
    try:
        return read_run(folder)
    except RunError:
        return {"status": "failed"}
