"""Files that are whole or absent, and what happens when there is no room for them, or they vanish."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cai.cli import main
from cai.errors import OutputError
from cai.files import sweep_unfinished, sync, told, whole_file, write_whole
from cai.interruption import Interrupted
from cai.runs import read_run
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.update import Update, Updater
from tests.conftest import run_directories, train_tiny
from tests.resuming import TEN_STEPS, assert_equal_runs, metrics_of, tensors_of


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_text_is_written_whole_as_utf_8_over_what_was_there(tmp_path: Path) -> None:
    for text in ("짧다", "줄 하나\n" * 1000, ""):
        write_whole(tmp_path / "a.txt", text)
        assert (tmp_path / "a.txt").read_bytes() == text.encode()
        assert names(tmp_path) == ["a.txt"]


def test_until_the_end_the_old_file_stands_and_then_at_once_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with whole_file(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("new")
        assert unfinished.parent == tmp_path, "renaming is atomic within one file system only"
        assert (tmp_path / "a.txt").read_text() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), Interrupted(15), ValueError("wrong")])
@pytest.mark.parametrize("there", [True, False])
def test_a_writer_that_fails_leaves_what_was_there_and_nothing_of_its_own(
    tmp_path: Path, error: BaseException, there: bool
) -> None:
    if there:
        (tmp_path / "a.txt").write_text("old")

    def write() -> None:
        with whole_file(tmp_path / "a.txt") as unfinished:
            unfinished.write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        write()
    assert caught.value is error
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"] * there


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_file_that_cannot_be_synced_or_renamed_does_not_take_the_place_of_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    write_whole(tmp_path / "a.txt", "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="broken"):
            write_whole(tmp_path / "a.txt", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_content_is_synced_before_it_gets_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, replace, order = os.fsync, os.replace, []

    def synced(handle: int) -> None:
        order.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        fsync(handle)

    def replaced(source: Path, target: Path) -> None:
        order.append(f"replace {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_whole(tmp_path / "a.txt", "new")
    assert order == ["fsync .a.txt.unfinished", "replace a.txt", f"fsync {tmp_path.name}"]


def test_a_folder_that_cannot_be_synced_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.open

    def refuse(path: Path, flags: int, *arguments: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "as on Windows")
        return original(path, flags, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    write_whole(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_only_what_killed_writers_left_is_swept(tmp_path: Path) -> None:
    for name in (".a.txt.unfinished", ".last.safetensors.unfinished", "a.txt", ".hidden", "b.unfinished"):
        (tmp_path / name).write_text("x")
    sweep_unfinished(tmp_path)
    sweep_unfinished(tmp_path / "nowhere")
    assert names(tmp_path) == [".hidden", "a.txt", "b.unfinished"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, r"Free some space \(\d+\.\d MiB are free\)"),
        (errno.EDQUOT, r"Free some space \(\d+\.\d MiB are free\)"),
        (errno.EROFS, "Make it writable"),
    ],
)
def test_what_cannot_be_written_is_told_with_its_path_reason_and_remedy(tmp_path: Path, number: int, remedy: str) -> None:
    path = tmp_path / "not" / "there" / "a.txt"
    reason = f"{path} could not be written ({os.strerror(number)})."
    with pytest.raises(OutputError, match=f"^{re.escape(reason)} {remedy}.$") as caught, told(path):
        raise OSError(number, os.strerror(number))
    with pytest.raises(OutputError) as again, told(tmp_path):
        raise caught.value
    assert again.value is caught.value, "told already"


def used_below(folder: Path) -> int:
    """Bytes of all files, a file of two names once."""
    found = {stat.st_ino: stat.st_size for path in folder.rglob("*") if path.is_file() and (stat := path.stat())}
    return sum(found.values())


@pytest.fixture(params=["a file system of its own, where mounting is allowed", "injected"])
def small_disk(
    request: pytest.FixtureRequest, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[int], None]]:
    """6 MiB for all of ``outputs``; the function gives it another size. Without the right to mount, ENOSPC is injected."""
    outputs, limit = scratch / "outputs", 6
    outputs.mkdir()

    def mount(options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(outputs)]
        return shutil.which("mount") is not None and not subprocess.run(command, capture_output=True, check=False).returncode

    def sync_if_there_is_room(path: Path) -> None:
        if used_below(outputs) > limit * 2**20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(path)

    mounted = request.param != "injected" and mount("size=6m")
    if not mounted:
        monkeypatch.setattr("cai.files.sync", sync_if_there_is_room)

    def resize(mebibytes: int) -> None:
        nonlocal limit
        limit = mebibytes
        if mounted:
            assert mount(f"remount,size={mebibytes}m")

    yield resize
    if mounted:
        subprocess.run(["umount", "--lazy", str(outputs)], check=True)


@pytest.mark.slow
def test_on_a_disk_that_is_full_the_checkpoint_before_it_stays(
    scratch: Path, small_disk: Callable[[int], None], capfd: pytest.CaptureFixture[str]
) -> None:
    large = (
        *TEN_STEPS,
        "model=gpt2",
        "optimizer=adamw",
        "model.n_embd=128",
        "trainer.save_every=2",
    )  # 3 MB in `last`, as much while its successor is written, 1 MB in `best`
    assert main(["train", *large]) == 1
    said = capfd.readouterr()
    (directory,) = run_directories(Path("outputs"))
    assert "Traceback" not in said.out + said.err
    assert f"the checkpoint {directory}/checkpoints/last.safetensors could not be written" in said.err
    assert "No space left on device" in said.err
    assert load_checkpoint(directory / "checkpoints/last.safetensors").state["step"] == 2
    assert read_run(directory)["status"] == "failed"
    small_disk(60)
    assert main(["resume", str(directory)]) == 0
    assert read_run(directory)["resumed"][0]["step"] == 2
    assert main(["train", *large, "name=whole"]) == 0
    (whole,) = (path.parent for path in Path("outputs/whole").glob("*/run.json"))
    assert metrics_of(directory) == metrics_of(whole)
    assert tensors_of(directory) == tensors_of(whole)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_an_output_folder_that_is_read_only_is_one_message(
    number: int, scratch: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(["train", *TEN_STEPS]) == 1
    said = capfd.readouterr()
    assert "output_dir must be writable, but outputs/run is not" in said.err
    assert "Traceback" not in said.out + said.err
    assert not (scratch / "outputs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("all_of_it", [True, False])
def test_shards_that_vanish_or_lose_their_end_are_told_and_made_anew_to_the_bit(
    all_of_it: bool, scratch: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = train_tiny(tiny=TEN_STEPS).rename("whole")
    capfd.readouterr()
    original = Updater.update

    def update(self: Updater, step: int) -> Update:
        if step == 5:
            (shard,) = Path("outputs/cache/tokens").glob("*/val.bin")
            shutil.rmtree("outputs/cache") if all_of_it else os.truncate(shard, 200)
        return original(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Updater, "update", update)
        assert main(["train", *TEN_STEPS]) == 1
    said = capfd.readouterr()
    assert "outputs/cache/tokens/" in said.err
    assert "resume the run: the shards are then made anew" in said.err
    assert "Traceback" not in said.out + said.err
    (directory,) = run_directories(Path("outputs"))
    shutil.rmtree("outputs/cache", ignore_errors=True)  # as the message says
    assert main(["resume", str(directory)]) == 0
    assert_equal_runs(directory, whole)
