"""A save that fails leaves what was there, and nothing half."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cai.errors import OutputError
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.folder import CheckpointFolder
from tests.trainer.conftest import refuse_links
from tests.trainer.test_folder import checkpoint, damage, filled, names, step_of


def full_disk(unfinished: Path) -> None:
    os.truncate(unfinished, 9)
    raise OSError(28, "No space left on device")


def fail_to_save(folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint of step 3 that the disk does not take."""
    with monkeypatch.context() as patch:
        patch.setattr("cai.files.sync", full_disk)
        with pytest.raises(OutputError):
            folder.save_last(checkpoint(3))


@pytest.mark.usefixtures("_with_and_without_links")
def test_a_save_that_fails_leaves_the_newest_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(tmp_path, 2)
    fail_to_save(folder, monkeypatch)
    assert step_of(folder) == ("last.safetensors", 2)
    folder.save_last(checkpoint(4))
    assert [load_checkpoint(path).state["step"] for path in (folder.last, folder.previous)] == [4, 2]


def test_after_a_save_that_fails_there_are_still_two_to_go_back_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(tmp_path, 2)
    fail_to_save(folder, monkeypatch)
    assert names(folder) == ["last.safetensors", "previous.safetensors"]
    assert not folder.last.samefile(folder.previous)
    damage(folder.last)
    assert step_of(folder) == ("previous.safetensors", 1)


def test_after_a_save_that_fails_no_temporary_name_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(tmp_path, 2)
    fail_to_save(folder, monkeypatch)
    folder.save_last(checkpoint(4))
    assert names(folder) == ["last.safetensors", "previous.safetensors"]


def test_a_disk_that_is_full_while_a_copy_is_made_is_told_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = filled(tmp_path, 2)
    monkeypatch.setattr(os, "link", refuse_links)
    copyfile = shutil.copyfile

    def copy_half(source: Path, target: Path) -> None:
        copyfile(source, target)
        full_disk(target)

    monkeypatch.setattr("cai.files.shutil.copyfile", copy_half)
    with pytest.raises(OutputError, match=r"last\.safetensors could not be written .*No space left"):
        folder.save_last(checkpoint(3))
    assert names(folder) == ["last.safetensors", "previous.safetensors"]
    assert [load_checkpoint(path).state["step"] for path in (folder.last, folder.previous)] == [2, 1]


def test_a_disk_that_is_full_while_a_kept_copy_is_made_is_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = filled(tmp_path, 1, keep=1)
    monkeypatch.setattr(os, "link", refuse_links)
    copyfile = shutil.copyfile

    def full_for_kept(source: Path, target: Path) -> None:
        copyfile(source, target)
        if "step_" in target.name:
            full_disk(target)

    monkeypatch.setattr("cai.files.shutil.copyfile", full_for_kept)
    with pytest.raises(OutputError, match=r"step_00000002\.safetensors could not be written .*No space left"):
        folder.save_last(checkpoint(2))
    assert names(folder) == ["last.safetensors", "previous.safetensors", "step_00000001.safetensors"]
    assert step_of(folder) == ("last.safetensors", 2)


def fail_to_rename(folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save once while ``last`` cannot be replaced."""
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if target == folder.last:
            raise OSError(5, "Input/output error")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        with pytest.raises(OutputError, match="Input/output error"):
            folder.save_last(checkpoint(3))


def test_after_a_rename_that_fails_previous_is_still_an_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(tmp_path, 2)
    fail_to_rename(folder, monkeypatch)
    assert not folder.last.samefile(folder.previous)
    assert load_checkpoint(folder.previous).state["step"] == 1


def test_after_a_rename_that_fails_the_next_save_leaves_no_temporary_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = filled(tmp_path, 2)
    fail_to_rename(folder, monkeypatch)
    folder.save_last(checkpoint(4))
    assert names(folder) == ["last.safetensors", "previous.safetensors"]
