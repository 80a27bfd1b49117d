"""The files that a path means, and their bytes, compressed or not."""

from __future__ import annotations

import glob
import gzip
import hashlib
import importlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from cai.errors import ConfigError, DataError

COMPRESSED = (".gz", ".zst")


def find_files(pattern: str) -> list[Path]:
    """The files meant by ``data.path``, sorted; hidden ones in a folder left out. Raises ``DataError`` if there is none."""
    path = Path(os.path.expanduser(pattern))
    with readable(path):
        if path.is_file():
            return [path]
        if path.is_dir():
            files = sorted(_files_below(path))
            where = "is a folder without files"
        else:
            files = sorted(file for name in glob.glob(str(path), recursive=True) if (file := Path(name)).is_file())
            where = "does not exist"
    if not files:
        raise DataError(
            f"data.path must name a file, folder or glob, but {pattern} {where}."
            f" Paths count from {Path.cwd()}; give another, for instance data.path=my_text.txt."
        )
    return files


def check_files(pattern: str) -> None:
    """Raise ``DataError`` unless all files can be read and there is something in them."""
    files = find_files(pattern)
    for file in files:
        with readable(file), file.open("rb"):
            pass
        if file.suffix == ".zst":
            _zstd()
    if not any(file.stat().st_size for file in files):
        raise DataError(f"data.path must hold text, but {pattern} is empty. Put text into it or name another file.")


def digest(file: Path) -> str:
    """SHA-256 of a file as it lies there."""
    with readable(file), file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def plain_suffix(file: Path) -> str:
    """``.txt`` of ``a.txt`` and of ``a.txt.gz``, in lower case."""
    return Path(file.stem if file.suffix in COMPRESSED else file.name).suffix.lower()


@contextmanager
def open_bytes(file: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed if its name ends in ``.gz`` or ``.zst``. Raises ``DataError`` if it is damaged."""
    with readable(file), file.open("rb") as raw:
        damage: tuple[type[Exception], ...] = (EOFError, gzip.BadGzipFile, zlib.error)
        if file.suffix == ".gz":
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
        elif file.suffix == ".zst":
            zstd = _zstd()
            stream, damage = cast("IO[bytes]", zstd.ZstdFile(raw)), (EOFError, zstd.ZstdError)
        else:
            yield raw
            return
        try:
            yield stream
        except damage as error:
            kind = "gzip" if file.suffix == ".gz" else "zst"
            raise DataError(
                f"{file} must be a whole {kind} file, but is not: {error}. Copy or compress it again."
            ) from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what the system says about a path into a ``DataError``."""
    try:
        yield
    except gzip.BadGzipFile:  # an OSError too, but not the system's
        raise
    except OSError as error:
        name = error.filename or path
        raise DataError(
            f"data.path must be readable, but {str(name)[:200]} is not: {error.strerror or error}."
            " Give the path of a file that you may read."
        ) from error


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file in a folder and its subfolders, hidden ones left out. A subfolder that cannot be read is an error."""

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _zstd() -> Any:
    """Python's own module (3.14), or the same for older ones."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ConfigError('data.path names a .zst file, which needs the package backports.zstd. Try: pip install "cai[zstd]"')
