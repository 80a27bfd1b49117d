"""Results that are expensive to make and fully named by what they were made from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def cached(folder: Path, build: Callable[[Path], None]) -> Path:
    """``folder``, made by ``build(temporary_folder)`` unless it exists already.

    Built beside its place under an operating-system lock and then renamed: never half-written, made once however many
    processes ask. ``folder``'s name must be a fingerprint of everything that decides its content.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not folder.is_dir():
            unfinished = folder.with_name(f".{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)  # left by a process that was killed
            unfinished.mkdir()
            build(unfinished)
            for path in unfinished.iterdir():  # a power cut must not leave an empty file under a name that promises content
                with path.open("r+b") as file:
                    os.fsync(file.fileno())
            os.replace(unfinished, folder)
    return folder
