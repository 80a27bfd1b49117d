"""A full disk, wherever it strikes: one message that names the file, nothing lost, and with room the run goes on."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from cai.cli import main
from cai.runs import read_run
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.update import Update, Updater
from tests.conftest import TINY, run_directories, train_tiny
from tests.processes import exit_code, printed, start
from tests.resuming import assert_equal_runs

RUN = (*TINY, "model.dropout=0.1", "trainer.save_every=2", "trainer.sample_every=2")
"""Checkpoints at 2, 4 and 6, each with samples."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a disk with room."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        return train_tiny(tiny=RUN).absolute()


def no_space(path: object = None, number: int = errno.ENOSPC) -> OSError:
    return OSError(number, os.strerror(number), *([str(path)] if path else []))


def fill_when_opened(patch: pytest.MonkeyPatch, name: str, nth: int) -> None:
    """From the ``nth`` time on that ``name`` is opened to be written, the disk is full: the system's own ``/dev/full``."""
    original, count = Path.open, 0

    def opened(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> IO[Any]:
        nonlocal count
        if self.name == name and mode[0] in "wa":
            count += 1
            if count >= nth:
                return open("/dev/full", mode, *arguments, **options)
        return original(self, mode, *arguments, **options)

    patch.setattr(Path, "open", opened)


class HalfFull(io.FileIO):
    """A file that takes the first half of what is written to it."""

    error = errno.ENOSPC

    def write(self, content: Any) -> int:
        super().write(content[: len(content) // 2])
        raise no_space(number=self.error)


class BeyondQuota(HalfFull):
    error = errno.EDQUOT


def fill_when_saved(patch: pytest.MonkeyPatch, name: str, nth: int, full: type[HalfFull] = HalfFull) -> None:
    """The same for a checkpoint, whose half is written."""
    original, count = Path.open, 0

    def opened(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> IO[Any]:
        nonlocal count
        count += self.name == name and mode == "wb"
        if self.name == name and mode == "wb" and count >= nth:
            return full(self, mode)
        return original(self, mode, *arguments, **options)

    patch.setattr(Path, "open", opened)


def fill_when_logged(patch: pytest.MonkeyPatch, _: str, nth: int) -> None:
    """The same for TensorBoard's events, which a thread writes: always (1), or since there is a checkpoint."""
    from tensorboard.compat.tensorflow_stub.io.gfile import LocalFileSystem

    original = LocalFileSystem._write

    def write(self: Any, name: bytes, *arguments: Any) -> None:
        if nth == 1 or Path(os.fsdecode(name)).with_name("checkpoints").joinpath("last.safetensors").exists():
            raise no_space()
        original(self, name, *arguments)

    patch.setattr(LocalFileSystem, "_write", write)


def fill_when_copied(patch: pytest.MonkeyPatch, name: str, nth: int) -> None:
    """The same where no hard links are, and the checkpoint before is copied; or the user's own code."""
    original, count = shutil.copyfile, 0

    def link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def copy(source: Path, target: Path) -> None:
        nonlocal count
        original(source, target)
        count += target.name == name
        if count >= nth:
            os.truncate(target, target.stat().st_size // 2)
            error = no_space(source)  # as `shutil` says it
            error.filename2 = str(target)
            raise error

    patch.setattr(os, "link", link)
    patch.setattr(shutil, "copyfile", copy)
    if name.endswith(".py"):
        patch.setattr("cai.run.own_packages", lambda _: ["tests"])


def fill_quota(patch: pytest.MonkeyPatch, name: str, nth: int) -> None:
    """The same where the user's share of the disk is used up."""
    fill_when_saved(patch, name, nth, BeyondQuota)


Fill = Callable[[pytest.MonkeyPatch, str, int], None]
LAST, BEST = ".last.safetensors.unfinished", ".best.safetensors.unfinished"
POINTS: dict[str, tuple[Fill, str, int, str, int | None]] = {
    # where: how, the file, from which time on, what the message names, the step to go on from (None: it is begun anew)
    "the tokenizer in the cache": (fill_when_opened, ".tokenizer.json.unfinished", 1, "outputs/cache/tokenizers", None),
    "the tokenizer of the run": (fill_when_opened, ".tokenizer.json.unfinished", 2, "tokenizer.json", None),
    "the train shard": (fill_when_opened, "train.bin", 1, "outputs/cache/tokens", None),
    "the page about shards": (fill_when_opened, ".meta.json.unfinished", 1, "outputs/cache/tokens", None),
    "the status, later": (fill_when_opened, ".run.json.unfinished", 3, "run.json", None),
    "the first metrics": (fill_when_opened, "metrics.jsonl", 1, "metrics.jsonl", None),
    "the first samples": (fill_when_opened, "samples.md", 1, "samples.md", None),
    "later samples": (fill_when_opened, "samples.md", 2, "samples.md", 2),
    "the first events": (fill_when_logged, "", 1, "events.out.tfevents", None),
    "later events": (fill_when_logged, "", 2, "events.out.tfevents", 2),
    "the first best checkpoint": (fill_when_saved, BEST, 1, "checkpoints/best.safetensors", None),
    "a later best checkpoint": (fill_when_saved, BEST, 2, "checkpoints/best.safetensors", 2),
    "the first checkpoint": (fill_when_saved, LAST, 1, "checkpoints/last.safetensors", None),
    "a later checkpoint": (fill_when_saved, LAST, 2, "checkpoints/last.safetensors", 2),
    "a checkpoint beyond the quota": (fill_quota, LAST, 2, "safetensors could not be written (Disk quota exceeded)", 2),
    "a copied checkpoint": (fill_when_copied, ".previous.safetensors.unfinished", 1, "checkpoints/last.safetensors", 2),
}


def fail_at(point: str) -> Path:
    """Train on a disk that is full at ``point``; the run's directory."""
    fill, name, nth, *_ = POINTS[point]
    with pytest.MonkeyPatch.context() as patch:
        fill(patch, name, nth)
        assert main(["train", *RUN]) == 1
    (directory,) = run_directories(Path("outputs"))
    return directory


@pytest.mark.slow
@pytest.mark.usefixtures("scratch")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning", "ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("point", POINTS)
def test_a_full_disk_is_one_message_that_names_the_file_and_with_room_the_run_goes_on(
    point: str, whole: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    directory, step = fail_at(point), POINTS[point][-1]
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    if "events" in point:  # see test_recorder.py: when their thread fails is a matter of chance
        assert "space" in said.err
    else:
        assert POINTS[point][3] in said.err
        assert said.err.count("could not be written") == 1
        assert said.err.count(" MiB are free") == 1
        assert ("It needs " in said.err) == ("checkpoint" in point)
    if step is not None:
        assert load_checkpoint(directory / "checkpoints/last.safetensors").state["step"] == step
    assert read_run(directory)["status"] in ("failed", "interrupted")
    assert main(["resume", str(directory)]) == 0
    assert read_run(directory)["resumed"][0]["step"] == (step or 0)
    assert_equal_runs(directory, whole)
    assert list(Path("outputs").rglob(".*.unfinished")) == []


def test_a_thread_that_finds_the_disk_full_prints_no_traceback(scratch: Path) -> None:
    process = start("train", *RUN, prepare=fill_events)
    assert exit_code(process) == 1
    assert "space" in printed()
    assert "Traceback" not in printed()


def fill_events() -> None:
    """In a child."""
    fill_when_logged(pytest.MonkeyPatch(), "", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    ("fill", "name", "words"),
    [
        (fill_when_opened, ".config.yaml.unfinished", []),
        (fill_when_opened, ".run.json.unfinished", []),
        (fill_when_copied, "conftest.py", []),
        (fill_when_opened, ".sweep.json.unfinished", ["-m", "seed=1,2"]),
    ],
)
def test_a_run_that_finds_no_room_to_begin_is_one_message(
    fill: Fill, name: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        fill(patch, name, 1)
        assert main(["train", *RUN, *words]) == 1
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "outputs/run/" in said.err
    assert "No space left on device" in said.err
    assert main(["train", *RUN, *words]) == 0, "nothing is in the way of another try"


def test_a_save_that_fails_when_asked_to_stop_is_not_told_as_saved(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Updater.update

    def update(self: Updater, step: int) -> Update:
        if step == 3:
            signal.raise_signal(signal.SIGTERM)
        return original(self, step)

    monkeypatch.setattr(Updater, "update", update)
    fill_when_saved(monkeypatch, LAST, 2)
    assert main(["train", *RUN]) == 1
    said = "".join(capsys.readouterr())
    assert "is saved" not in said
    assert "interrupted" not in said
    assert "last.safetensors could not be written" in said
