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

from filelock import Timeout

from cai.config.base import Config
from cai.config.saved import config_text, save_config
from cai.environment import (
    copy_sources,
    describe_code,
    describe_machine,
    describe_versions,
    fingerprint_of,
    own_packages,
)
from cai.errors import OutputError, RunError
from cai.files import sweep_unfinished, write_whole
from cai.interruption import deferred, is_interruption
from cai.runs import CONFIG, STATUS, lock_of, read_facts
from cai.symptoms.failures import message_of, symptom_of

log = logging.getLogger(__name__)

LOG, TOKENIZER, CODE = "train.log", "tokenizer.json", "code"


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

    def __init__(
        self, directory: Path, config: Config, overrides: Sequence[str] = (), *, resumes: Mapping[str, Any] | None = None
    ) -> None:
        """Raises ``RunError`` if another process is writing there, or, unless it ``resumes``, if a run is there already.

        ``resumes``: notes about a run that is taken up again. Nothing of it is touched before ``go_on``: whatever is refused
        until then leaves it as it was.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._lock = lock_of(directory)
        try:
            self._lock.acquire(timeout=1)  # whoever only looks whether it is held, holds it for an instant
        except Timeout:
            raise RunError(f"{directory} must be free, but another process is writing a run there.") from None
        try:
            with deferred(then_raise=False):  # the next record raises it, when the status can be put right
                self._resumes = resumes
                self._open(config, overrides)
        except BaseException as error:
            self._lock.release()
            if not isinstance(error, OSError) or isinstance(error, OutputError):
                raise
            raise OutputError(
                f"{directory} must be writable, but a run cannot begin there ({error.strerror or error})."
                " Free some space or set output_dir=..."
            ) from error

    def _open(self, config: Config, overrides: Sequence[str]) -> None:
        there = (self.directory / STATUS).exists()
        if there and self._resumes is None:
            raise RunError(f"{self.directory} must be empty, but holds a run. Nothing was changed.")
        if (self.directory / LOG).is_symlink():  # of a stranger's run: what it points at is not the run's
            raise RunError(f"{self.directory / LOG} must be a file of the run, but is a link. Remove it.")
        self._config = config
        self._begun = not there
        self._log_file: LogFile | None = None
        self._level_before = logging.getLogger("cai").level
        self.facts: dict[str, Any] = read_facts(self.directory) if there else self._begin(overrides)

    def _begin(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The files of a new run. Its config comes first: without one there is nothing to resume."""
        packages = own_packages(self._config)
        self.facts = {
            "status": "running",
            "started": _now(),
            "overrides": list(overrides),
            "cwd": str(Path.cwd()),
            "code": describe_code(packages),
            "versions": describe_versions(),
            "machine": describe_machine(),
            "config": fingerprint_of(config_text(self._config)),
        }
        save_config(self._config, self.directory / CONFIG)
        copy_sources(packages, self.directory / CODE)
        self._write()
        self._open_log()
        return self.facts

    def _open_log(self) -> None:
        logger = logging.getLogger("cai")
        if logger.level == logging.NOTSET:  # in a notebook nobody has set one, and the log must not stay empty
            logger.setLevel(logging.INFO)
        self._log_file = LogFile(self.directory / LOG, encoding="utf-8")
        self._log_file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger.addHandler(self._log_file)

    def go_on(self, step: int) -> None:
        """Take up a run that resumes, at ``step``: from here on its files are written. Nothing to do for a new one."""
        if self._resumes is None:
            return
        sweep_unfinished(self.directory)
        sweep_unfinished(self.directory / "checkpoints")
        for key in ("ended", "error", "traceback", "symptom"):
            self.facts.pop(key, None)
        self._begun = True
        # Both fingerprints first: killed before or after the next write, the config is one of the two.
        fingerprints = {"config": fingerprint_of(config_text(self._config)), "config_before": self.facts.get("config")}
        resumed = {"step": step, "at": _now(), **self._resumes}
        self.record(status="running", resumed=[*self.facts.get("resumed", []), resumed], **fingerprints)
        save_config(self._config, self.directory / CONFIG)
        del self.facts["config_before"]
        self.record()
        if self._log_file is None:
            self._open_log()

    def record(self, **facts: Any) -> None:
        """Add to ``run.json``."""
        self.facts |= facts
        if self._begun:
            with deferred():
                self._write()

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
        try:
            with deferred(then_raise=False):
                if self._begun and error is None:
                    self.record(status="pruned" if self.facts.get("pruned") else "finished", ended=_now())
                elif self._begun and error is not None:
                    self._record_end(error)
        finally:
            logger = logging.getLogger("cai")
            logger.setLevel(self._level_before)
            if self._log_file is not None:
                logger.removeHandler(self._log_file)
                self._log_file.close()
            self._lock.release()

    def _record_end(self, error: BaseException) -> None:
        """Why the run ended before its time."""
        try:
            if is_interruption(error) or isinstance(error, SystemExit):  # as a cluster's launcher ends what it will requeue
                self.record(status="interrupted", ended=_now())
                return
            text = "".join(traceback.format_exception(error))
            told = symptom_of(error)
            symptom = {"symptom": told.name} if told else {}
            assert self._log_file is not None
            self._log_file.emit(logging.LogRecord(__name__, logging.ERROR, __file__, 0, text, None, None))
            self.record(status="failed", ended=_now(), error=message_of(error), traceback=text, **symptom)
        except OutputError as full:
            # The first error is the one to report. Without a holder of the lock the run is shown as interrupted.
            log.error("%s", full)

    def _write(self) -> None:
        text = json.dumps(self.facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_whole(self.directory / STATUS, text)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
