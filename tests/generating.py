"""A tiny run to generate from, and the command with what it said."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from cai.cli import main
from tests.conftest import train_tiny


def make_run(folder: Path) -> Path:
    """Train one in ``folder``, which tests may copy from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder / train_tiny("trainer.keep=1", "trainer.save_every=3")


def copy_run(run: Path, folder: Path) -> Path:
    """A copy in ``outputs/`` of ``folder``."""
    target = folder / "outputs" / "run" / run.name
    shutil.copytree(run, target)
    return target


def generate(capsys: pytest.CaptureFixture[str], words: Sequence[str], code: int = 0) -> tuple[str, str]:
    """What ``cai generate`` says on standard output and on standard error."""
    capsys.readouterr()
    assert main(["generate", "device.threads=1", *words]) == code
    said = capsys.readouterr()
    return said.out, said.err
