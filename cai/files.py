"""Files that are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cai.errors import OutputError, is_full


@contextmanager
def whole_file(path: Path, *, keep_as: Path | None = None, mark: str = "") -> Iterator[Path]:
    """A temporary name beside ``path`` to write to. When the block ends well it is synced and takes ``path``'s place.

    What stood at ``path`` is kept under the name ``keep_as``, if one is given, once the new file has taken its place.
    If the block fails nothing is left of it; if the process is killed, ``sweep_unfinished`` removes what is. ``mark``: of
    the temporary name, where several may write to ``path`` at once; the last of them counts.
    """
    unfinished, kept = _unfinished(path, mark), None
    try:
        yield unfinished
        sync(unfinished)
        if keep_as is not None and path.is_file():
            kept = _link(path, _unfinished(keep_as))
        os.replace(unfinished, path)
        if keep_as is not None and kept is not None:
            _rename_link(kept, keep_as)
    except BaseException:
        for leftover in (unfinished, kept):
            if leftover is not None:
                leftover.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def second_name(path: Path, name: Path) -> None:
    """Another name for the same bytes, in one instant; a copy where the file system has no hard links."""
    _rename_link(_link(path, _unfinished(name)), name)


def _link(path: Path, name: Path) -> Path:
    """``name``, for the bytes of ``path``: nothing is left of it if it cannot be made."""
    name.unlink(missing_ok=True)
    try:
        os.link(path, name)
    except OSError:
        try:
            shutil.copyfile(path, name)
            sync(name)
        except BaseException:
            name.unlink(missing_ok=True)
            raise
    return name


def _rename_link(link: Path, name: Path) -> None:
    """Rename; also if both are one file already, when the system leaves both."""
    os.replace(link, name)
    link.unlink(missing_ok=True)


def _unfinished(path: Path, mark: str = "") -> Path:
    return path.with_name(f".{path.name}.{mark}{'.' * bool(mark)}unfinished")


def write_whole(path: Path, text: str) -> None:
    """``text`` as the UTF-8 file ``path``: all of it, or what stood there before. Raises ``OutputError``."""
    with told(path), whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


@contextmanager
def told(path: Path, instead: str = "") -> Iterator[None]:
    """An ``OSError`` inside as an ``OutputError`` about ``path``: a full disk gives one that does not know its file.

    ``instead``: a sentence on what else could be done.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        remedy = f"Free some space ({free_mib(path):.1f} MiB are free)" if is_full(error) else "Make it writable"
        raise OutputError(
            f"{path} could not be written ({error.strerror or error}). {remedy}. {instead}".rstrip()
        ) from error


def free_mib(path: Path) -> float:
    """MiB that are free on the disk of ``path``, which may not exist yet or any more."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free / 2**20


def sync(path: Path) -> None:
    """Wait until a file is on the disk: a power cut must not leave a name without its content."""
    _fsync(path, os.O_RDWR)


def sync_tree(folder: Path) -> None:
    """``sync`` of all files in ``folder``, and of their names."""
    everything = [folder, *folder.rglob("*")]
    for path in everything:
        if path.is_file():
            sync(path)
    for path in everything:
        if path.is_dir():
            sync_folder(path)


def sync_folder(path: Path) -> None:
    """The same for the names in a folder, as far as the system can: Windows and some network disks cannot."""
    with contextlib.suppress(OSError):
        _fsync(path, os.O_RDONLY)


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep_unfinished(folder: Path) -> None:
    """Remove what killed writers of files left in ``folder``. Only for who holds the lock of all that is written there."""
    for path in folder.glob(".*.unfinished"):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
