"""A folder of files that outlives a machine: on a disk, or behind a URL that fsspec knows (``s3://``, ``gs://``, ...)."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname
from uuid import uuid4

from cai.errors import ConfigError, DataError, OutputError, is_full
from cai.files import told, whole_file

T = TypeVar("T")

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before a request is made again that a store has not answered: the outage of a moment ends no run."""

FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""What another try does not mend."""
TRANSIENT = ("Connect", "Timeout", "Disconnect", "Payload", "Throttl", "SlowDown", "HttpError")
"""Words in the names of errors that clients of stores raise for what may pass; not all of them are an ``OSError``."""


class Store(ABC):
    """Files by name, ``/`` between folders."""

    name: str
    """The place, for people; without a slash at its end."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A whole small file. Raises ``FileNotFoundError`` if there is none, ``DataError`` if it cannot be read."""

    @abstractmethod
    def names(self, folder: str) -> set[str]:
        """All files below ``folder`` as they are now; empty if there is no such folder."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """A small file, whole or not at all. Raises ``OutputError``."""

    @abstractmethod
    def put(self, file: Path, name: str) -> None:
        """A copy of ``file``, whole or not at all. Raises ``OutputError``."""


class LocalStore(Store):
    """A folder of this machine, or one that it has mounted."""

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = str(folder), folder

    def read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(name) from None
        except OSError as error:
            raise _unreadable(f"{self.name}/{name}", error) from error

    def names(self, folder: str) -> set[str]:
        found = (self.folder / folder).rglob("*")
        return {path.relative_to(self.folder).as_posix() for path in found if path.is_file()}

    def write(self, name: str, content: bytes) -> None:
        with self._place_of(name) as unfinished:
            unfinished.write_bytes(content)

    def put(self, file: Path, name: str) -> None:
        with self._place_of(name) as unfinished:
            shutil.copyfile(file, unfinished)

    @contextmanager
    def _place_of(self, name: str) -> Iterator[Path]:
        place = self.folder / name
        with told(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(place, mark=uuid4().hex) as unfinished:  # machines that begin at once write the same files
                yield unfinished


class RemoteStore(Store):
    """What lies behind a URL, through fsspec. Requests that are not answered are made again (``PAUSES``)."""

    def __init__(self, url: str, option: str) -> None:
        """``option``: what the user gave the URL as. Raises ``ConfigError`` if a package is missing."""
        self.name = url.rstrip("/")
        self._files, root = _connect(url, option)
        self._root = root.rstrip("/")

    def read(self, name: str) -> bytes:
        return self._reading(name, lambda path: bytes(self._files.cat_file(path)))

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """The bytes from ``start`` to ``end`` of a file: fewer if it ends before. Raises as ``read``."""
        return self._reading(name, lambda path: bytes(self._files.cat_file(path, start=start, end=end)))

    def get(self, name: str, file: Path) -> None:
        """Copy a file of any size to this disk. Raises as ``read``, and ``OutputError`` if the disk does not take it."""
        self._reading(name, lambda path: self._files.get_file(path, str(file)), file)

    def names(self, folder: str) -> set[str]:
        def find(path: str) -> set[str]:
            self._files.invalidate_cache()  # other machines write there too
            try:
                return {found.removeprefix(f"{self._root}/") for found in self._files.find(path)}
            except FileNotFoundError:
                return set()

        return self._reading(folder, find)

    def write(self, name: str, content: bytes) -> None:
        self._writing(name, lambda path: self._files.pipe_file(path, content))

    def put(self, file: Path, name: str) -> None:
        self._writing(name, lambda path: self._files.put_file(str(file), path))

    def _reading(self, name: str, action: Callable[[str], T], file: Path | None = None) -> T:
        try:
            return _patiently(lambda: action(f"{self._root}/{name}"))
        except FileNotFoundError:
            raise FileNotFoundError(name) from None
        except Exception as error:  # each client of a store raises kinds of its own
            if file is not None and isinstance(error, OSError) and is_full(error):
                with told(file):
                    raise
            raise _unreadable(f"{self.name}/{name}", error) from error

    def _writing(self, name: str, action: Callable[[str], object]) -> None:
        try:
            _patiently(lambda: action(f"{self._root}/{name}"))
        except Exception as error:  # as above
            raise OutputError(
                f"{self.name}/{name} could not be written ({_reason(error)}). See that the bucket exists and may be written"
                " to, then give the same command again: it goes on where it was."
            ) from error


def open_store(place: str, option: str) -> Store:
    """The store at a path or a URL. ``option`` is what the user gave it as, such as ``data.path``."""
    if is_remote(place):
        return RemoteStore(place, option)
    local = url2pathname(urlsplit(place).path) if place.startswith("file://") else place
    return LocalStore(Path(local).expanduser())


def is_remote(place: str) -> bool:
    """Whether a place is behind a network: a URL, and not one of this machine's files."""
    return "://" in place and not place.startswith("file://")


def _connect(url: str, option: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it."""
    try:
        import fsspec
        from fsspec.registry import known_implementations
    except ImportError as error:
        raise ConfigError(
            f'`{option}` names a URL, which needs the package fsspec, but that is missing. Try: pip install "cai[remote]"'
        ) from error
    protocol = url.partition("://")[0]
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
        return found
    except ImportError as error:
        package = known_implementations.get(protocol, {}).get("class", "fsspec").partition(".")[0]
        remedy = 'pip install "cai[remote]"' if package in ("s3fs", "fsspec") else f"pip install {package}"
        raise ConfigError(
            f"`{option}` names a URL of {protocol}://, whose package is not installed ({error}). Try: {remedy}"
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"`{option}` must be a folder or a URL that fsspec knows (s3://, gs://), but is {url} ({error})."
        ) from error


def _patiently(action: Callable[[], T]) -> T:
    """What ``action`` returns, tried again after growing pauses as long as what it raises may pass."""
    for pause in PAUSES:
        try:
            return action()
        except Exception as error:
            if not _may_pass(error):
                raise
            time.sleep(pause)
    return action()


def _may_pass(error: Exception) -> bool:
    named = any(word in kind.__name__ for kind in type(error).__mro__ for word in TRANSIENT)
    if isinstance(error, OSError):
        return not isinstance(error, FINAL) and not is_full(error)
    return named


def _unreadable(place: str, error: Exception) -> DataError:
    return DataError(
        f"{place} could not be read ({_reason(error)}). See that the network, the address and your right to read are there,"
        " then give the same command again."
    )


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).rstrip(".")[:200]
