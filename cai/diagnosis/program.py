"""The program as a user starts it: a process of its own, in a folder of its own, of which nothing is left behind."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from cai.interruption import deferred

COMMAND = (sys.executable, "-m", "cai")
PAUSE = 0.01
"""Seconds between two looks at a process."""
TAIL = 40
"""Lines of output that are kept of a command that failed."""


class Outcome(NamedTuple):
    """Of a command."""

    words: tuple[str, ...]
    code: int | None
    """``None``: it was ended, as it took too long."""
    out: str
    err: str

    @property
    def command(self) -> str:
        return f"cai {shlex.join(self.words)}"

    @property
    def tail(self) -> list[str]:
        """The last lines, of both."""
        return [line for text in (self.out, self.err) for line in text.splitlines()[-TAIL:]]


def run(words: Sequence[str], folder: Path, limit: float) -> Outcome:
    """Run ``cai <words>`` in ``folder`` to its end, or for ``limit`` seconds."""
    with started(words, folder) as process:
        code = wait(process, lambda: False, limit)
    return outcome(words, folder, code)


def outcome(words: Sequence[str], folder: Path, code: int | None) -> Outcome:
    """What the command that was started last in ``folder`` has said."""
    out, err = (_file(folder, name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err"))
    return Outcome(tuple(words), code, out, err)


@contextmanager
def started(words: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``cai <words>`` in ``folder``, running; it is killed when the block ends, however that is."""
    process = None
    try:
        with deferred(), _file(folder, "out").open("wb") as out, _file(folder, "err").open("wb") as err:
            process = subprocess.Popen(
                [*COMMAND, *words],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=_environment(),
                start_new_session=True,  # Ctrl-C reaches it through its parent alone
            )
        yield process
    finally:
        if process is not None:
            kill(process)


def wait(process: subprocess.Popen[bytes], enough: Callable[[], bool], limit: float) -> int | None:
    """Until it ends, ``enough()``, or ``limit`` seconds are over. Returns its exit code, ``None`` if it runs on."""
    end = time.monotonic() + limit
    while process.poll() is None and not enough() and time.monotonic() < end:
        time.sleep(PAUSE)
    return process.poll()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """One that is removed when the block ends, however that is."""
    folder = Path(tempfile.mkdtemp(prefix="cai_verify_")).resolve()
    try:
        yield folder
    finally:
        with deferred(then_raise=False):
            shutil.rmtree(folder, ignore_errors=True)


def kill(process: subprocess.Popen[bytes]) -> int:
    """As hard as the system can, with all that it has started. Returns its exit code."""
    with deferred(then_raise=False):
        if process.poll() is None:
            with suppress(ProcessLookupError):
                if os.name == "nt":
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def _file(folder: Path, name: str) -> Path:
    return folder / f".{name}.txt"


def _environment() -> dict[str, str]:
    """Modules are found where this process finds them, though the command runs in another folder."""
    path = os.pathsep.join(os.path.abspath(each) for each in sys.path if each)
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
