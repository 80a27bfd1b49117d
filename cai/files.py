"""Files that are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to. When the block ends well it is synced and takes ``path``'s place.

    If the block fails nothing is left of it; if the process is killed, ``sweep_unfinished`` removes what is.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        sync(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_whole(path: Path, text: str) -> None:
    """``text`` as the UTF-8 file ``path``: all of it, or what stood there before."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Wait until a file is on the disk: a power cut must not leave a name without its content."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    """The same for the names in a folder, as far as the system can: Windows and some network disks cannot."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep_unfinished(folder: Path) -> None:
    """Remove what killed writers left in ``folder``. Only for who holds the lock of all that is written there."""
    for path in folder.glob(".*.unfinished"):
        path.unlink()
