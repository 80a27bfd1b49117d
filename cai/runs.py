"""Run directories that exist: found, and read as they really are."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cai.errors import RunError

log = logging.getLogger(__name__)

CONFIG, STATUS, SWEEP, METRICS, SAMPLES = "config.yaml", "run.json", "sweep.json", "metrics.jsonl", "samples.md"
LOCK = ".lock"


def read_run(directory: Path) -> dict[str, Any]:
    """``run.json``, with the status as it really is: a run that nobody holds the lock of is not running any more."""
    facts = read_facts(directory)
    if facts["status"] == "running" and not is_locked(directory):
        facts = read_facts(directory)  # it may have ended meanwhile
        if facts["status"] == "running":
            facts["status"] = "interrupted"
    return facts


def read_facts(directory: Path) -> dict[str, Any]:
    """``run.json`` as it was written. Raises ``RunError`` if there is none, or none that can be read."""
    path = directory / STATUS
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{directory} must be a run directory, but has no {STATUS}.") from None
    except ValueError as error:
        raise RunError(f"{path} must be JSON, but cannot be read ({error}).") from error
    return facts


def is_locked(directory: Path) -> bool:
    """Whether some process is writing a run in ``directory``. Looking leaves nothing there."""
    if not (directory / LOCK).exists():
        return False
    lock = lock_of(directory)
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


def file_of(checkpoint: str) -> str:
    """The checkpoint file that ``checkpoint=`` needs at least: an average is of ``last`` and what was before it."""
    return "last" if re.fullmatch(r"ema|average:[1-9]\d*", checkpoint) else checkpoint


def find_run(name: str, output_dir: Path, checkpoint: str | None = "last") -> Path:
    """The directory meant by ``run=``: a path, or ``last``: the newest run under ``output_dir`` that has ``checkpoint``.

    ``None``: whether it has one or not.
    """
    if name != "last":
        directory = Path(name).expanduser()
        if not (directory / CONFIG).is_file():
            raise RunError(
                f"run must be a run directory or `last`, but {name} holds no {CONFIG}. Give one such as"
                " outputs/run/<date_time>."
            )
        return directory
    every = [path.parent for path in output_dir.glob(f"**/{STATUS}")]
    saved = [directory for directory in every if any(directory.glob("checkpoints/*.safetensors"))]
    wanted = f"checkpoints/{file_of(checkpoint or '')}.*"
    chosen = [directory for directory in saved if any(directory.glob(wanted))] or saved
    started: dict[Path, str] = {}
    for directory in every if checkpoint is None else chosen:
        try:
            started[directory] = read_facts(directory)["started"]
        except RunError as error:
            log.warning("passed over: %s", error)
    if not started:
        raise RunError(
            f"run=last needs a run{' with a checkpoint' * (checkpoint is not None)} under {output_dir}, but there is none."
            " Start with: cai train"
        )
    return max(started, key=lambda directory: started[directory])


@contextmanager
def alone(directory: Path, what: str) -> Iterator[None]:
    """Inside, nobody else works on ``what`` in ``directory``: a sweep, a study. Raises ``RunError`` if somebody does."""
    lock = lock_of(directory)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            f"{directory} must be free, but another process is at work on that {what}. Wait until it has ended, or stop it."
        ) from None
    try:
        yield
    finally:
        lock.release()


def lock_of(directory: Path) -> FileLock:
    """The lock that whoever writes a run holds."""
    return FileLock(directory / LOCK)
