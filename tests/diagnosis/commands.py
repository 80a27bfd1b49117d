"""Commands in the place of the program, and what is left of them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from cai.diagnosis import program

STARTS_ANOTHER = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
with open("started", "a") as file:
    print(subprocess.Popen(sleep).pid, file=file)
time.sleep(60)
"""


def assert_gone(path: Path) -> None:
    """None of the processes whose numbers are in ``path`` is there any more."""
    numbers = [int(line) for line in path.read_text().split()]
    assert numbers
    end = time.monotonic() + 10
    while any(_runs(number) for number in numbers):
        assert time.monotonic() < end, "something was left running"
        time.sleep(0.01)


def _runs(number: int) -> bool:
    """Whether a process runs; one that has ended, and that nobody has asked about, does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def python(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Every command of the program is this one instead."""
    monkeypatch.setattr(program, "COMMAND", (sys.executable, "-c", script))
