"""Folders of files on a disk or behind a URL: whole or not at all, and patient."""

from __future__ import annotations

import builtins
import errno
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cai import store as module
from cai.errors import ConfigError, DataError, OutputError
from cai.store import LocalStore, RemoteStore, Store, open_store

URL = "memory://a-bucket/corpus"


@pytest.fixture(params=["folder", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    places = {"folder": str(tmp_path / "a b"), "file": f"file://{tmp_path}/a%20b", "memory": URL}
    yield open_store(places[request.param], "data.path")
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteStore]:
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0, 0.0))
    yield RemoteStore(URL, "data.path")
    fsspec.filesystem("memory").store.clear()


def failing(monkeypatch: pytest.MonkeyPatch, method: str, error: Exception, times: int) -> list[str]:
    """Have the store fail so many times before it answers. Every request is noted."""
    files, asked = fsspec.filesystem("memory"), list[str]()
    answer: Callable[..., Any] = getattr(files, method)

    def flaky(*args: Any, **options: Any) -> Any:
        asked.append(str(args[0]))
        if len(asked) <= times:
            raise error
        return answer(*args, **options)

    monkeypatch.setattr(files, method, flaky)
    return asked


def test_what_is_put_is_there_whole_and_under_its_name(store: Store, tmp_path: Path) -> None:
    assert store.names("parts") == set()
    store.write("parts/1/page.json", b"{}")
    (tmp_path / "ids").write_bytes(bytes(range(100)))
    store.put(tmp_path / "ids", "parts/2/ids.bin")
    assert store.names("parts") == {"parts/1/page.json", "parts/2/ids.bin"}
    assert store.read("parts/1/page.json") == b"{}"
    assert store.read("parts/2/ids.bin") == bytes(range(100))
    with pytest.raises(FileNotFoundError):
        store.read("parts/3/page.json")


def test_a_range_and_a_copy_are_what_was_put(remote: RemoteStore, tmp_path: Path) -> None:
    remote.write("ids.bin", bytes(range(100)))
    assert remote.read_range("ids.bin", 10, 20) == bytes(range(10, 20))
    assert remote.read_range("ids.bin", 90, 200) == bytes(range(90, 100))
    remote.get("ids.bin", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == bytes(range(100))


@pytest.mark.parametrize(
    "error", [OSError("reset by peer"), TimeoutError(), type("ConnectionClosedError", (Exception,), {})()]
)
def test_a_store_that_fails_for_a_moment_is_asked_again(
    remote: RemoteStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    remote.write("page", b"1")
    asked = failing(monkeypatch, "cat_file", error, times=2)
    assert remote.read("page") == b"1"
    assert len(asked) == 3


def test_a_store_that_stays_away_is_told_with_what_helps(remote: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.write("page", b"1")
    asked = failing(monkeypatch, "cat_file", OSError("no route to host"), times=99)
    with pytest.raises(DataError, match=r"memory://a-bucket/corpus/page could not be read \(no route to host\).*network"):
        remote.read("page")
    assert len(asked) == 4
    failing(monkeypatch, "pipe_file", OSError("no route to host"), times=99)
    with pytest.raises(OutputError, match=r"page could not be written \(no route to host\).*the same command again"):
        remote.write("page", b"2")


@pytest.mark.parametrize("error", [PermissionError("403"), OSError(errno.ENOSPC, "full"), KeyError("no credentials")])
def test_what_another_try_does_not_mend_is_told_at_once(
    remote: RemoteStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    asked = failing(monkeypatch, "cat_file", error, times=99)
    with pytest.raises(DataError, match="could not be read"):
        remote.read("page")
    assert len(asked) == 1
    with pytest.raises(FileNotFoundError):
        remote.get("nothing", Path("nowhere"))


def test_a_full_disk_is_not_the_store_s_fault(remote: RemoteStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    remote.write("ids.bin", b"1")
    failing(monkeypatch, "get_file", OSError(errno.ENOSPC, "No space left on device"), times=99)
    with pytest.raises(OutputError, match="Free some space"):
        remote.get("ids.bin", tmp_path / "copy")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] in ("s3fs", "gcsfs"):
            raise ImportError(f"No module named {name}")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    for url, remedy in (("s3://b/c", r'pip install "cai\[remote\]"'), ("gs://b/c", "pip install gcsfs")):
        with pytest.raises(ConfigError, match=rf"`data.path` names a URL of {url[:2]}://.*Try: {remedy}"):
            open_store(url, "data.path")
    with pytest.raises(ConfigError, match=r"`prepare.out` must be a folder or a URL that fsspec knows"):
        open_store("nonsense://b/c", "prepare.out")


def test_fsspec_itself_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigError, match=r'needs the package fsspec.*pip install "cai\[remote\]"'):
        open_store(URL, "data.path")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not be written"):
        LocalStore(tmp_path / "file").write("page", b"1")


def test_two_that_write_one_file_at_once_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that begin at once write the same name in a folder that all of them see."""
    store, write_bytes = LocalStore(tmp_path), Path.write_bytes

    def interrupted(path: Path, content: bytes) -> int:
        """Another machine begins, writes and ends while this one is at it."""
        monkeypatch.setattr(Path, "write_bytes", write_bytes)
        written = write_bytes(path, content)
        store.write("tokenizer.json", b"the other's")
        assert store.read("tokenizer.json") == b"the other's"
        return written

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    store.write("tokenizer.json", b"mine")
    assert store.read("tokenizer.json") == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
