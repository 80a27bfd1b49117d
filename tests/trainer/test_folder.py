"""The folder of checkpoints: there is always a whole one to go on from, if one was ever written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from cai.errors import RunError
from cai.files import sweep_unfinished
from cai.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cai.trainer.folder import CheckpointFolder
from tests.trainer.conftest import refuse_links


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
    return None if found is None else (found.name, load_checkpoint(found).state["step"])


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
    assert "It is now last.damaged." in record.getMessage()
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


def test_if_all_are_damaged_they_are_named_every_time(tmp_path: Path) -> None:
    folder = filled(tmp_path, 3)
    for path in (folder.last, folder.previous):
        damage(path)
    folder.save_best(checkpoint(2))
    said = r"must hold a whole checkpoint, but all are damaged \(last\.damaged, previous\.damaged\)\. Put back a copy"
    for _ in range(2):
        with pytest.raises(RunError, match=said):
            folder.newest()  # best is for use, not for going on
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


def test_without_links_a_kept_copy_of_a_damaged_last_is_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse_links)
    folder = filled(tmp_path, 3, keep=1)
    damage(folder.last)
    assert step_of(folder) == ("step_00000003.safetensors", 3)


def test_so_it_is_where_times_are_coarse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse_links)
    folder = filled(tmp_path, 3, keep=1)
    damage(folder.last)
    for path in tmp_path.iterdir():
        os.utime(path, (10**9, 10**9))  # FAT, which has no links, counts time in steps of two seconds
    assert step_of(folder) == ("step_00000003.safetensors", 3)


def test_without_links_the_newest_kept_copies_are_taken_before_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse_links)
    folder = filled(tmp_path, 5, keep=3)
    order: list[int] = []
    while len(order) < 4:
        found = folder.newest()
        assert found is not None
        order.append(load_checkpoint(found).state["step"])
        damage(found)
    assert order[:2] == [5, 5]
    assert sorted(order, reverse=True) == order


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
