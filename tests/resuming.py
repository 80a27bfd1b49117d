"""Runs cut short, and what must be equal of two runs: shared by the tests of resume and reproduce."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from cai import environment
from cai.cli import main
from cai.trainer.update import Update, Updater
from tests.conftest import TINY, run_directories, train_tiny

TEN_STEPS = (
    *TINY,
    "model.dropout=0.1",
    "trainer.max_steps=10",
    "trainer.save_every=4",
    "trainer.sample_every=3",
    "trainer.samples=1",
)
"""Checkpoints at 4, 8 and 10; whoever is cut at 7 has records of step 6 that come again."""

TEXT = ("data=text", "data.path=글/a.txt", *(word for word in TEN_STEPS if not word.startswith("data.")))
"""The same on a text that ``write_text`` writes."""


@contextmanager
def cut_short(at: int, error: BaseException | None = None) -> Iterator[None]:
    """Whatever trains inside is cut when ``at`` steps are taken: interrupted, or failed of ``error``."""
    original = Updater.update

    def update(self: Updater, step: int) -> Update:
        if step == at:
            raise error or KeyboardInterrupt
        return original(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Updater, "update", update)
        yield


def train_cut(at: int, *overrides: str, tiny: Sequence[str] = TEN_STEPS, error: BaseException | None = None) -> Path:
    """Train in the current folder up to step ``at``, and return the run's directory."""
    before = set(run_directories(Path("outputs")))
    with cut_short(at, error):
        assert main(["train", *tiny, *overrides]) == (1 if error else 130)
    (directory,) = set(run_directories(Path("outputs"))) - before
    return directory


CODE = environment._describe_cai()


def steady_code(patch: pytest.MonkeyPatch) -> None:
    """Whoever edits CAI while its tests run makes no difference."""
    patch.setattr(environment, "_describe_cai", lambda: dict(CODE))


@functools.cache
def prepared_runs(base: Path) -> Path:
    """A folder in ``base``, made once for all modules, with runs of ten steps for tests to copy.

    ``whole``; ``cut`` at step 7; both on a text; and ``early``, the newest, cut at step 3 with nothing saved.
    """
    folder = base / "prepared_runs"
    write_text(folder / "글" / "a.txt")
    with pytest.MonkeyPatch.context() as patch:
        steady_code(patch)
        patch.chdir(folder)
        train_tiny(tiny=TEN_STEPS).rename("outputs/run/whole")
        train_cut(7).rename("outputs/run/cut")
        train_tiny(tiny=TEXT).rename("outputs/run/whole_text")
        train_cut(7, tiny=TEXT).rename("outputs/run/cut_text")
        train_cut(3).rename("outputs/run/early")
    return folder


def copy_prepared(folder: Path, scratch: Path) -> Path:
    """All runs, caches and texts of a prepared folder, times included. Returns the folder of the runs."""
    shutil.copytree(folder, scratch, dirs_exist_ok=True)
    return Path("outputs/run")


def facts_of(directory: Path) -> dict[str, Any]:
    """``run.json`` as it stands there."""
    facts: dict[str, Any] = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    return facts


def edit_facts(directory: Path, **facts: Any) -> None:
    (directory / "run.json").write_text(json.dumps(facts_of(directory) | facts), encoding="utf-8")


def content_of(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every file below, but the lock."""
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def metrics_of(directory: Path) -> list[dict[str, float]]:
    """Every line of ``metrics.jsonl``, without speed and memory."""
    lines = (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{tag: value for tag, value in json.loads(line).items() if not tag.startswith("perf/")} for line in lines]


def tensors_of(directory: Path, checkpoint: str = "last") -> dict[str, bytes]:
    """Weights, optimizer state and random states of a checkpoint, to the bit."""
    with safe_open(directory / "checkpoints" / f"{checkpoint}.safetensors", "np") as file:
        return {key: file.get_tensor(key).tobytes() for key in file.keys()}  # noqa: SIM118


def assert_equal_runs(run: Path, other: Path) -> None:
    """Everything that a run computes and keeps is equal."""
    assert (run / "config.yaml").read_bytes() == (other / "config.yaml").read_bytes()
    assert metrics_of(run) == metrics_of(other)
    assert (run / "samples.md").read_bytes() == (other / "samples.md").read_bytes()
    for checkpoint in ("last", "best"):
        assert tensors_of(run, checkpoint) == tensors_of(other, checkpoint)


def write_text(path: Path, word: str = "푸르다") -> None:
    """A small corpus; another ``word`` makes it another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(f"문단 {i}번, 하늘은 {i % 7}번 {word}." for i in range(300)), encoding="utf-8")


def refused(capsys: pytest.CaptureFixture[str], directory: Path, *words: str) -> str:
    """The one message of a refusal that changes nothing and trains nothing."""
    before = content_of(directory)
    with cut_short(4), cut_short(0):
        assert main(["resume", str(directory), *words]) == 2
    assert content_of(directory) == before
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said
