"""What a run says about itself: cut back to a checkpoint, synced before one, and told when it cannot be written."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cai.errors import OutputError, RunError
from cai.recorder import Recorder
from cai.trainer.checkpoint import load_checkpoint
from tests.conftest import train_tiny
from tests.resuming import TEN_STEPS, metrics_of


def record(folder: Path, *steps: int) -> dict[str, int]:
    """Metrics and a sample of each step; the sizes of all that is recorded then."""
    with Recorder(folder) as recorder:
        for step in steps:
            recorder.metrics(step, {"train/loss": 1 / step})
            recorder.sample(step, "물음", f"답 {step}")
        return recorder.sizes()


def cut_back(folder: Path, sizes: dict[str, int] | None) -> None:
    """To a checkpoint that knows of these sizes; to none for ``None``."""
    Recorder(folder).go_on(None if sizes is None else {"sizes": sizes, "step": 2, "owed": None})


def content(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("metrics.jsonl", "samples.md")]


def test_records_are_cut_back_to_their_sizes_and_come_again(tmp_path: Path) -> None:
    sizes = record(tmp_path, 1, 2)
    before = content(tmp_path)
    record(tmp_path, 3, 4)
    after = content(tmp_path)
    cut_back(tmp_path, sizes)
    assert content(tmp_path) == before
    record(tmp_path, 3, 4)
    assert content(tmp_path) == after


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    sizes = record(tmp_path, 1)
    before = content(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "train/lo')
    with (tmp_path / "samples.md").open("ab") as file:
        file.write("## 물".encode()[:-1])
    cut_back(tmp_path, sizes)
    assert content(tmp_path) == before


def test_a_record_that_a_checkpoint_does_not_know_is_emptied(tmp_path: Path) -> None:
    record(tmp_path, 1)
    events = len(list(tmp_path.glob("events.*")))
    cut_back(tmp_path, {"metrics.jsonl": 0})
    assert content(tmp_path) == [b"", b""]
    assert len(list(tmp_path.glob("events.*"))) == events == 1, "their tail is purged by the next writer"


def events(folder: Path) -> list[Path]:
    return sorted(folder.glob("events.*"))


def test_event_files_are_cut_back_to_the_checkpoint_and_later_ones_removed(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.metrics(1, {"train/loss": 1.0})
        recorder.sync()
        sizes = recorder.sizes()
        (first,) = events(tmp_path)
        before = first.read_bytes()
        recorder.metrics(2, {"train/loss": 0.5})
    evaluation = tmp_path / "events.out.tfevents.2000000000.host.1.0.eval"
    evaluation.touch()
    later = tmp_path / "events.out.tfevents.2000000000.host.2.0"
    later.touch()
    assert sizes[first.name] == len(before) < first.stat().st_size
    cut_back(tmp_path, sizes)
    assert events(tmp_path) == [first, evaluation]
    assert first.read_bytes() == before


def test_event_files_stay_if_the_checkpoint_is_older_than_their_sizes(tmp_path: Path) -> None:
    sizes = record(tmp_path, 1, 2)
    before = [path.read_bytes() for path in events(tmp_path)]
    cut_back(tmp_path, {name: size for name, size in sizes.items() if not name.startswith("events")})
    assert [path.read_bytes() for path in events(tmp_path)] == before != []


def test_without_a_checkpoint_all_records_are_taken_out(tmp_path: Path) -> None:
    record(tmp_path, 1)
    record(tmp_path, 2)
    cut_back(tmp_path, None)
    assert content(tmp_path) == [b"", b""]
    assert list(tmp_path.glob("events.*")) == []
    cut_back(tmp_path / "nowhere", None)


@pytest.mark.parametrize(
    "name",
    [
        "../precious.txt",
        "{outside}/precious.txt",
        "inside.txt",
        "events.out.tfevents.1/../../precious.txt",
        "events.out.tfevents.1.host.1.0.eval",
    ],
)
def test_nothing_is_cut_that_is_no_record_of_the_run(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    (folder / "events.out.tfevents.1").mkdir(parents=True)
    kept = [tmp_path / "precious.txt", folder / "inside.txt", folder / "events.out.tfevents.1.host.1.0.eval"]
    for path in kept:
        path.write_text("precious")
    (folder / "metrics.jsonl").write_text("{}\n")
    sizes = {"metrics.jsonl": 0, name.format(outside=tmp_path): 0}
    with pytest.raises(RunError, match="must be cut back in its own records alone, but its checkpoint names"):
        cut_back(folder, sizes)
    with pytest.raises(RunError, match="must be cut back in its own records alone"):
        Recorder(folder).go_on({"sizes": {}, "step": 2, "owed": None}, sizes)
    assert [path.read_text() for path in kept] == ["precious"] * 3
    assert (folder / "metrics.jsonl").read_text() == "{}\n", "it refuses before it cuts"


@pytest.mark.parametrize("size", [-1, 1.5, "0", None, True])
def test_a_size_that_is_none_is_refused(tmp_path: Path, size: Any) -> None:
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(RunError, match=r"names 'metrics.jsonl'"):
        cut_back(tmp_path, {"metrics.jsonl": size})
    assert (tmp_path / "metrics.jsonl").read_text() == "{}\n"


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.md", "events.out.tfevents.1.host.1.0"])
@pytest.mark.parametrize("saved", [True, False])
def test_no_link_is_followed_in_place_of_a_record(tmp_path: Path, name: str, saved: bool) -> None:
    (tmp_path / "precious.txt").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "precious.txt")
    if name.startswith("events") and not saved:
        cut_back(tmp_path / "run", None)  # the link goes, not what it leads to
    else:
        with pytest.raises(RunError, match=f"{name} must be a file of the run's own, but is a link. Nothing was cut."):
            cut_back(tmp_path / "run", {name: 0} if saved else None)
    assert (tmp_path / "precious.txt").read_text() == "precious"


@pytest.mark.parametrize("gone", [False, True])
def test_a_record_that_is_shorter_than_it_was_is_said_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    sizes = record(tmp_path, 1, 2)
    path = tmp_path / "metrics.jsonl"
    path.unlink() if gone else os.truncate(path, 10)
    monkeypatch.setattr("cai.recorder.log.warning", lambda text, *values: said.append(text % values))
    said: list[str] = []
    cut_back(tmp_path, sizes)
    lost = sizes["metrics.jsonl"] - (0 if gone else 10)
    assert said == [f"{path} has lost its last {lost} bytes since the checkpoint was written; they stay lost"]
    assert not path.exists() if gone else path.stat().st_size == 10


def test_metrics_and_samples_are_synced_before_each_checkpoint_gets_its_name(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, replace, order = os.fsync, os.replace, []

    def synced(handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        order.append((path.name, path.stat().st_size))
        fsync(handle)

    def replaced(source: Path, target: Path) -> None:
        order.append((Path(target).name, 0))
        if Path(target).name == "last.safetensors":
            sizes = load_checkpoint(Path(source)).state["sizes"]
            seen = dict(entry for entry in order[done:] if entry[0] in sizes)
            assert seen == sizes, "every byte that the checkpoint knows of was synced since the one before"
            checked.append(len(order))
        replace(source, target)

    done, checked = 0, list[int]()
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    train_tiny(tiny=TEN_STEPS)
    assert len(checked) == 3
    names = [name for name, _ in order[checked[0] : checked[1]]]
    assert names.index("metrics.jsonl") < names.index(".last.safetensors.unfinished") < names.index("last.safetensors")


def test_a_line_is_on_its_way_to_the_disk_as_soon_as_it_is_recorded(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.metrics(1, {"train/loss": 0.1})
        assert metrics_of(tmp_path) == [{"step": 1, "train/loss": 0.1}]
        recorder.metrics(2, {"train/loss": float("nan")})
        assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[1]) == {"step": 2, "train/loss": None}


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.md"])
def test_a_record_that_the_disk_does_not_take_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/full")
    recorder = Recorder(tmp_path)
    said = rf"{name} could not be written \(No space left.*Free some space \(\d[\d.]* MiB are free\)."
    with pytest.raises(OutputError, match=said):
        record_one(recorder)
    with suppress(OSError):
        recorder.close()


def record_one(recorder: Recorder) -> None:
    recorder.metrics(1, {"train/loss": 0.1})
    recorder.sample(1, "물음", "답")
    recorder.sync()


def test_a_record_that_must_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    said = r"metrics.jsonl could not be written \(Is a directory\). Make it writable"
    with Recorder(tmp_path) as recorder, pytest.raises(OutputError, match=said):
        recorder.metrics(1, {"train/loss": 0.1})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_events_that_the_disk_does_not_take_are_named_before_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.compat.tensorflow_stub.io.gfile import LocalFileSystem

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    recorder = Recorder(tmp_path)
    record_one(recorder)
    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "_write", full)
        with pytest.raises(OutputError, match=r"events.out.tfevents.\* could not be written \(No space"):
            record_one(recorder)
        with suppress(OSError):
            recorder.close()


def test_nothing_is_opened_before_it_is_used(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        assert recorder.sizes() == {}
        recorder.sync()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("owed", "step"), [(None, 8), ({}, 7), ({"train/loss": 1.0}, 7)])
def test_events_are_purged_from_the_first_step_that_comes_again(
    tmp_path: Path, owed: dict[str, float] | None, step: int
) -> None:
    assert purge_step(tmp_path / "new", Recorder(tmp_path / "new")) == 0
    again = Recorder(tmp_path / "again")
    again.go_on({"sizes": {}, "step": 7, "owed": owed})
    assert purge_step(tmp_path / "again", again) == step


def purge_step(folder: Path, recorder: Recorder) -> int:
    """As TensorBoard is told it in the file of its events."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    folder.mkdir()
    with recorder:
        recorder.metrics(20, {"train/loss": 0.1})
    (path,) = folder.glob("events.*")
    (step,) = [event.step for event in EventFileLoader(str(path)).Load() if event.HasField("session_log")]
    assert isinstance(step, int)
    return step


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_error_of_closing_does_not_take_the_place_of_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="could not be written"), Recorder(tmp_path) as recorder:
        recorder.metrics(1, {"train/loss": 0.1})
