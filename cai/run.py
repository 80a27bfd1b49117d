"""The run directory: claimed once, locked while in use, its status always true."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from cai.config.base import Config
from cai.config.saved import save_config
from cai.environment import copy_sources, describe_code, describe_machine, describe_versions
from cai.errors import CaiError, OutputError, RunError
from cai.files import sweep_unfinished, write_whole
from cai.interruption import deferred, requested

log = logging.getLogger(__name__)

CONFIG, STATUS, LOG, TOKENIZER, CODE = "config.yaml", "run.json", "train.log", "tokenizer.json", "code"


def claim_directory(parent: Path) -> Path:
    """A new directory ``<parent>/<date_time>``, made by this very call: no other process has it or ever had."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            directory = parent / (stamp if number == 1 else f"{stamp}_{number}")
            try:
                directory.mkdir()
            except FileExistsError:
                continue
            return directory
    except OSError as error:
        raise OutputError(
            f"output_dir must be writable, but {parent} is not ({error.strerror}). Try output_dir=..."
        ) from error
    raise OutputError(f"{parent} must have room for one more run of this second, but 10,000 are there already.")


class LogFile(logging.FileHandler):
    """``train.log``. A line that a full disk does not take is passed over: the same failure reaches the user by itself."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Print nothing, where ``logging`` would print a traceback of its own."""


class Run:
    """One run's directory while it is being written. A context manager: however the block ends, ``run.json`` says so."""

    def __init__(self, directory: Path, config: Config, overrides: Sequence[str] = (), *, resumes: bool = False) -> None:
        """Raises ``RunError`` if another process is writing there, or, unless it ``resumes``, if a run is there already."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._lock = _lock(directory)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{directory} must be free, but another process is writing a run there.") from None
        try:
            with deferred(then_raise=False):  # the next record raises it, when the status can be put right
                self._begin(config, overrides, resumes)
        except OSError as error:
            self._lock.release()
            raise OutputError(
                f"{directory} must be writable, but a run cannot begin there ({error.strerror or error})."
                " Free some space or set output_dir=..."
            ) from error
        except BaseException:
            self._lock.release()
            raise

    def _begin(self, config: Config, overrides: Sequence[str], resumes: bool) -> None:
        there = (self.directory / STATUS).exists()
        if there and not resumes:
            raise RunError(f"{self.directory} must be empty, but holds a run. Nothing was changed.")
        packages = own_packages(config)
        now: dict[str, Any] = {
            "cwd": str(Path.cwd()),
            "code": describe_code(packages),
            "versions": describe_versions(),
            "machine": describe_machine(),
        }
        begun = {"status": "running", "started": _now(), "overrides": list(overrides), **now}
        self.facts: dict[str, Any] = read_run(self.directory) | {"status": "running"} if there else begun
        for key in ("ended", "error", "traceback"):
            self.facts.pop(key, None)
        sweep_unfinished(self.directory)
        sweep_unfinished(self.directory / "checkpoints")
        save_config(config, self.directory / CONFIG)  # before anything that can be resumed
        self._write()
        copy_sources(packages, self.directory / CODE)
        logger = logging.getLogger("cai")
        self._level_before = logger.level
        if logger.level == logging.NOTSET:  # in a notebook nobody has set one, and the log must not stay empty
            logger.setLevel(logging.INFO)
        self._log_handler = LogFile(self.directory / LOG, encoding="utf-8")
        self._log_handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger.addHandler(self._log_handler)

    def record(self, **facts: Any) -> None:
        """Add to ``run.json``."""
        self.facts |= facts
        with deferred():
            self._write()

    def resumed(self, step: int, changed: Mapping[str, Any]) -> None:
        """Note that the run goes on from ``step``, under which circumstances, and what the user ``changed``."""
        entry = {"step": step, "at": _now(), "versions": describe_versions(), "changed": dict(changed)}
        self.record(resumed=[*self.facts.get("resumed", []), entry])

    def confirm_data(self, corpus: str, tokenizer: str, tokens: str, ids: str) -> None:
        """Record the fingerprints of the data. Raises ``RunError`` if this run was on other data before.

        ``ids`` decides, the hash of what a model sees: a newer CAI may give the same text other fingerprints.
        """
        fingerprints = {"corpus": corpus, "tokenizer": tokenizer, "tokens": tokens, "ids": ids}
        before = self.facts.get("fingerprints", {})
        key = "ids" if "ids" in before else "tokens"
        if before.get(key, fingerprints[key]) != fingerprints[key]:
            raise RunError(
                f"{self.directory} must go on with the data it began with (fingerprint {before[key]}), but they are others"
                f" now ({fingerprints[key]}). Point data.path at the same text, or start a new run."
            )
        self.record(fingerprints=fingerprints)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        logger = logging.getLogger("cai")
        try:
            with deferred(then_raise=False):
                if error is None:
                    self.record(status="finished", ended=_now())
                else:
                    self._record_end(error)
        finally:
            logger.removeHandler(self._log_handler)
            logger.setLevel(self._level_before)
            self._log_handler.close()
            self._lock.release()

    def _record_end(self, error: BaseException) -> None:
        """Why the run ended before its time."""
        try:
            if isinstance(error, KeyboardInterrupt) or requested() is not None:  # some library may have wrapped it
                self.record(status="interrupted", ended=_now())
                return
            text = "".join(traceback.format_exception(error))
            message = str(error) if isinstance(error, CaiError) else f"{type(error).__name__}: {error}"
            self._log_handler.emit(logging.LogRecord(__name__, logging.ERROR, __file__, 0, text, None, None))
            self.record(status="failed", ended=_now(), error=message, traceback=text)
        except OutputError as full:
            # The first error is the one to report. Without a holder of the lock the run is shown as interrupted.
            log.error("%s", full)

    def _write(self) -> None:
        path = self.directory / STATUS
        try:
            write_whole(path, json.dumps(self.facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        except OSError as error:
            raise OutputError(f"{path} could not be written ({error.strerror}). Free some space.") from error


def read_run(directory: Path) -> dict[str, Any]:
    """``run.json``, with the status as it really is: a run that nobody holds the lock of is not running any more."""
    path = directory / STATUS
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{directory} must be a run directory, but has no {STATUS}.") from None
    except ValueError as error:
        raise RunError(f"{path} must be JSON, but cannot be read ({error}).") from error
    if facts["status"] == "running" and not is_locked(directory):
        facts["status"] = "interrupted"
    return facts


def is_locked(directory: Path) -> bool:
    """Whether some process is writing a run in ``directory``."""
    lock = _lock(directory)
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


def find_run(name: str, output_dir: Path, checkpoint: str = "last") -> Path:
    """The directory meant by ``run=``: a path, or ``last``: the newest run under ``output_dir`` that has ``checkpoint``."""
    if name != "last":
        directory = Path(name).expanduser()
        if not (directory / CONFIG).is_file():
            raise RunError(f"run must be a run directory or `last`, but {name} holds no {CONFIG}.")
        return directory
    started: dict[Path, str] = {}
    found = list(output_dir.glob(f"**/checkpoints/{checkpoint}.*")) or list(output_dir.glob("**/checkpoints/*.safetensors"))
    for path in found:
        try:
            started[path.parents[1]] = read_run(path.parents[1])["started"]
        except RunError as error:
            log.warning("passed over: %s", error)
    if not started:
        raise RunError(
            f"run=last needs a run with a checkpoint under {output_dir}, but there is none. Start with: cai train"
        )
    return max(started, key=lambda directory: started[directory])


def own_packages(config: Config) -> list[str]:
    """The top-level packages that components of ``config`` come from, CAI's own left out."""
    parts = (type(getattr(config, name)) for name in type(config).model_fields)
    tops = {part.__module__.partition(".")[0] for part in parts if issubclass(part, Config)}
    return sorted(tops - {"cai"})


def _lock(directory: Path) -> FileLock:
    return FileLock(directory / ".lock")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
