"""One job of a sweep, run from ``sweep.json``: begun, or gone on with where it was. (Command layer.)

``python -m cai.job SWEEP NUMBER [words]`` is what a launcher starts; nobody types it.
"""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("job"))

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cai.changes import change, refusals_on_resuming
from cai.config.roots import TrainConfig
from cai.files import write_whole
from cai.interruption import is_interruption
from cai.launch import together
from cai.overrides import Arguments, parse_arguments
from cai.recorded import as_recorded
from cai.resume import go_on
from cai.run import LOG
from cai.runs import CONFIG, STATUS, read_facts
from cai.signals import listening
from cai.sweeps import Sweep
from cai.train import check_surroundings, exit_code_of, given, train_in

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """Run the job; 0 if it is finished, by now or already."""
    directory, number, *others = words
    with listening():
        _end_with_parent()
        return run_job(Sweep.load(Path(directory)), int(number), parse_arguments(others))


def run_job(sweep: Sweep, number: int, arguments: Arguments) -> int:
    """Run a job in this process. Returns an exit code. Whatever goes wrong is recorded in the job's own folder."""
    folder = sweep.folder(number)
    try:
        if (folder / CONFIG).is_file() and (folder / STATUS).is_file() and "overrides" in read_facts(folder):
            return go_on(folder, arguments, short=True)
        config, _ = change(sweep.config(number, TrainConfig, arguments.trusted), arguments, refusals_on_resuming)
        computed = as_recorded(config, {"device": {"threads": sweep.threads}}) if sweep.threads else config
        check_surroundings([computed])
        (folder / STATUS).unlink(missing_ok=True)  # left by a job that failed before it had begun
        typed = [*job_overrides(sweep.overrides, sweep.jobs[number].overrides), *arguments.typed]
        return exit_code_of(
            lambda: together(computed.device, train_in, folder, config, typed, computed, **given(sweep.config_dir)),
            folder,
            arguments.trust(),
        )
    except Exception as error:
        if not is_interruption(error) and not (folder / STATUS).is_file():
            record_failure(folder, str(error), "".join(traceback.format_exception(error)))
        raise


def job_overrides(typed: Sequence[str], swept: Sequence[str]) -> list[str]:
    """What a job was asked for: the words typed, each list that was swept over replaced by the job's own value."""
    own = {word.partition("=")[0]: word for word in swept}
    return [own.get(word.lstrip("+").partition("=")[0], word) for word in typed]


def record_failure(folder: Path, error: str, details: str = "") -> None:
    """A ``run.json`` and a ``train.log`` for a job that failed before there was a run."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    facts = {"status": "failed", "started": now, "ended": now, "error": error, "traceback": details}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(f"{error}\n{details}")
    write_whole(folder / STATUS, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def _end_with_parent() -> None:
    """Stop, as a signal would, when standard input ends: whoever started this job keeps it open as long as it lives."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        signal.raise_signal(signal.SIGTERM)

    if not sys.stdin.isatty():
        threading.Thread(target=wait, daemon=True, name="parent").start()
