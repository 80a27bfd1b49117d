"""Results that are expensive to make and fully named by what they were made from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from cai.files import sync

PROGRESS = "progress.json"
"""The file in an unfinished folder that says how far it has come: one that has it is gone on with, not made anew."""


def cached(folder: Path, build: Callable[[Path], None]) -> Path:
    """``folder``, made by ``build(temporary_folder)`` unless it exists already.

    Built beside its place under an operating-system lock and then renamed: never half-written, made once however many
    processes ask. ``folder``'s name must be a fingerprint of everything that decides its content. ``build`` finds what a
    killed process left if that is to be gone on with (``PROGRESS``), else an empty folder.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not folder.is_dir():
            _sweep(folder.parent)
            unfinished = folder.with_name(f".{folder.name}.unfinished")
            if not (unfinished / PROGRESS).is_file():
                shutil.rmtree(unfinished, ignore_errors=True)  # left by a process that was killed
                unfinished.mkdir()
            build(unfinished)
            (unfinished / PROGRESS).unlink(missing_ok=True)
            for path in unfinished.iterdir():  # a power cut must not leave an empty file under a name that promises content
                sync(path)
            os.replace(unfinished, folder)
    return folder


def _sweep(parent: Path) -> None:
    """Remove what killed processes left of other results, unless it can be gone on with or someone is at work on it."""
    for unfinished in parent.glob(".*.unfinished"):
        if (unfinished / PROGRESS).is_file():
            continue
        try:
            with FileLock(unfinished.with_suffix(".lock"), timeout=0):
                shutil.rmtree(unfinished, ignore_errors=True)
        except Timeout:
            continue
