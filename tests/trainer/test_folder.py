"""The folder of checkpoints: there is always a whole one to go on from, if one was ever written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from cai.errors import OutputError, RunError
from cai.files import sweep_unfinished
from cai.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cai.trainer.folder import CheckpointFolder


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint({"weight": torch.full((4,), float(step))}, state={"step": step})


def filled(path: Path, steps: int, keep: int = 0) -> CheckpointFolder:
    """A folder after ``steps`` saves."""
    folder = CheckpointFolder(path, keep)
    for step in range(1, steps + 1):
        folder.save_last(checkpoint(step))
    return folder


def damage(path: Path) -> None:
    """Flip a bit, in place: every hard link to these bytes sees it."""
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte ^ 4]))


def names(folder: CheckpointFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def step_of(folder: CheckpointFolder) -> tuple[str, int] | None:
    found = folder.newest()
    return found and (found[0].name, found[1].state["step"])


def refuse_links(*_: object) -> None:
    raise OSError(95, "Operation not supported")


@pytest.fixture(params=["links", "copies"])
def _with_and_without_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "copies":
        monkeypatch.setattr(os, "link", refuse_links)


def test_an_empty_folder_has_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path / "none").newest() is None


@pytest.mark.usefixtures("_with_and_without_links")
def test_last_and_the_one_before_it_are_kept(tmp_path: Path) -> None:
    folder = filled(tmp_path, 1)
    assert names(folder) == ["last.safetensors"]
    for step in (2, 3):
        folder.save_last(checkpoint(step))
    assert names(folder) == ["last.safetensors", "previous.safetensors"]
    assert load_checkpoint(folder.previous).state["step"] == 2
    assert step_of(folder) == ("last.safetensors", 3)


@pytest.mark.usefixtures("_with_and_without_links")
@pytest.mark.parametrize("keep", [0, 1, 3])
def test_only_as_many_files_as_asked_for_stay(tmp_path: Path, keep: int) -> None:
    folder = filled(tmp_path, 7, keep)
    kept = [f"step_{step:08d}.safetensors" for step in range(7 - keep, 8)] if keep else []
    assert names(folder) == ["last.safetensors", "previous.safetensors", *kept]
    for name in kept:
        assert load_checkpoint(folder.path / name).state["step"] == int(name[5:13])


def test_links_take_no_space_of_their_own(tmp_path: Path) -> None:
    folder = filled(tmp_path, 3, keep=1)
    assert folder.last.samefile(tmp_path / "step_00000003.safetensors")
    assert folder.previous.samefile(tmp_path / "step_00000002.safetensors")


@pytest.mark.usefixtures("_with_and_without_links")
def test_a_damaged_last_is_said_and_put_aside_and_the_one_before_it_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = filled(tmp_path, 3)
    damage(folder.last)
    assert step_of(folder) == ("previous.safetensors", 2)
    (record,) = caplog.records
    assert "last.safetensors must be a checkpoint, but is damaged" in record.getMessage()
    assert "It is now last.damaged; going back to the checkpoint before it." in record.getMessage()
    assert names(folder) == ["last.damaged", "previous.safetensors"]


@pytest.mark.usefixtures("_with_and_without_links")
def test_a_damaged_file_never_becomes_the_one_before(tmp_path: Path) -> None:
    folder = filled(tmp_path, 3)
    damage(folder.last)
    folder.newest()
    folder.save_last(checkpoint(30))
    assert load_checkpoint(folder.previous).state["step"] == 2
    folder.save_last(checkpoint(31))
    assert [load_checkpoint(path).state["step"] for path in (folder.last, folder.previous)] == [31, 30]


@pytest.mark.usefixtures("_with_and_without_links")
def test_if_both_are_damaged_the_newest_kept_one_is_used(tmp_path: Path) -> None:
    folder = filled(tmp_path, 6, keep=3)
    for path in (folder.last, folder.previous, *sorted(tmp_path.glob("step_*"))[-2:]):
        if load_or_none(path):  # a link to what was damaged already is left as it is
            damage(path)
    assert step_of(folder) == ("step_00000004.safetensors", 4)
    assert not folder.last.exists()
    assert not folder.previous.exists()


def load_or_none(path: Path) -> Checkpoint | None:
    try:
        return load_checkpoint(path)
    except RunError:
        return None


def test_if_all_are_damaged_there_is_none(tmp_path: Path) -> None:
    folder = filled(tmp_path, 3)
    for path in (folder.last, folder.previous):
        damage(path)
    folder.save_best(checkpoint(2))
    assert folder.newest() is None  # best is for use, not for going on
    assert names(folder) == ["best.safetensors", "last.damaged", "previous.damaged"]


def test_an_empty_file_is_damaged_too(tmp_path: Path) -> None:
    folder = filled(tmp_path, 2)
    folder.last.write_bytes(b"")
    assert step_of(folder) == ("previous.safetensors", 1)


def test_a_checkpoint_of_a_newer_cai_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr("cai.trainer.checkpoint.FORMAT", 99)
        folder.save_last(checkpoint(2))
    with pytest.raises(RunError, match=r"last\.safetensors must have a format up to \d+, but has 99\. Update CAI\."):
        folder.newest()
    assert names(folder) == ["last.safetensors", "previous.safetensors"]


def full_disk(tensors: object, target: Path, metadata: object) -> None:
    target.write_bytes(b"half of it")
    raise OSError(28, "No space left on device")


@pytest.mark.usefixtures("_with_and_without_links")
def test_a_save_that_fails_leaves_the_newest_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(tmp_path, 2)
    with monkeypatch.context() as patch:
        patch.setattr("cai.trainer.checkpoint.save_file", full_disk)
        with pytest.raises(OutputError):
            folder.save_last(checkpoint(3))
    assert step_of(folder) == ("last.safetensors", 2)
    folder.save_last(checkpoint(4))
    assert [load_checkpoint(path).state["step"] for path in (folder.last, folder.previous)] == [4, 2]


@pytest.mark.xfail(strict=True, reason="`previous` is already a second name of `last` when the save fails")
def test_after_a_save_that_fails_there_are_still_two_to_go_back_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(tmp_path, 2)
    with monkeypatch.context() as patch:
        patch.setattr("cai.trainer.checkpoint.save_file", full_disk)
        with pytest.raises(OutputError):
            folder.save_last(checkpoint(3))
    damage(folder.last)
    assert step_of(folder) == ("previous.safetensors", 1)


@pytest.mark.xfail(strict=True, reason="renaming a hard link onto the same file does nothing and leaves both names")
def test_after_a_save_that_fails_no_temporary_name_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(tmp_path, 2)
    with monkeypatch.context() as patch:
        patch.setattr("cai.trainer.checkpoint.save_file", full_disk)
        with pytest.raises(OutputError):
            folder.save_last(checkpoint(3))
    folder.save_last(checkpoint(4))
    assert names(folder) == ["last.safetensors", "previous.safetensors"]


@pytest.mark.xfail(strict=True, reason="_link's copy is outside of what turns a full disk into an OutputError")
def test_a_disk_that_is_full_while_a_copy_is_made_is_told_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = filled(tmp_path, 2)
    monkeypatch.setattr(os, "link", refuse_links)
    monkeypatch.setattr("cai.trainer.folder.shutil.copyfile", lambda source, target: full_disk(0, target, 0))
    with pytest.raises(OutputError, match="No space left"):
        folder.save_last(checkpoint(3))


@pytest.mark.xfail(strict=True, reason="`previous` is asked before a kept copy of `last` that is newer")
def test_without_links_a_kept_copy_of_a_damaged_last_is_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse_links)
    folder = filled(tmp_path, 3, keep=1)
    damage(folder.last)
    assert step_of(folder) == ("step_00000003.safetensors", 3)


def test_what_a_killed_writer_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    folder = filled(tmp_path, 2, keep=1)
    whole = names(folder)
    for name in (".last.safetensors.unfinished", ".previous.safetensors.unfinished"):
        (tmp_path / name).write_bytes(b"half of it")
    assert step_of(folder) == ("last.safetensors", 2)  # it is no candidate before it is swept either
    sweep_unfinished(tmp_path)
    assert names(folder) == whole


def test_what_a_killed_writer_left_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = filled(tmp_path, 2)
    for name in (".last.safetensors.unfinished", ".previous.safetensors.unfinished"):
        (tmp_path / name).write_bytes(b"half of it" * 1000)
    folder.save_last(checkpoint(3))
    assert [load_checkpoint(path).state["step"] for path in (folder.last, folder.previous)] == [3, 2]
    save_checkpoint(folder.best, checkpoint(3))
    assert names(folder) == ["best.safetensors", "last.safetensors", "previous.safetensors"]
