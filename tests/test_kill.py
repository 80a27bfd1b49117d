"""Killed at any instant and resumed, a run ends as if it never had been."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from cai.cli import main
from cai.runs import read_run
from cai.trainer import checkpoint
from cai.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cai.trainer.folder import CheckpointFolder
from tests.conftest import TINY, train_tiny
from tests.processes import (
    context,
    exit_code,
    kill_after,
    leftovers,
    lines_of,
    printed,
    slow,
    start,
    the_run,
    wait_until,
)
from tests.resuming import assert_equal_runs, metrics_of, tensors_of

KILLED = (
    *TINY,
    "model.dropout=0.1",
    "trainer.max_steps=12",
    "trainer.save_every=1",
    "trainer.sample_every=4",
    "trainer.keep=1",
)
"""Writes a checkpoint after each step."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody has stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        return train_tiny(tiny=KILLED).absolute()


def is_writing_a_checkpoint() -> bool:
    return any(the_run().glob("checkpoints/.*.unfinished"))


MOMENTS: dict[str, tuple[Callable[[], object], float]] = {
    "when the run begins": (lambda: the_run().exists(), 0.02),
    "while the tokenizer is learned": (lambda: any(Path("outputs/cache/tokenizers").glob("*")), 0.01),
    "while the tokens are cut": (lambda: any(Path("outputs/cache/tokens").glob(".*.unfinished")), 0.0),
    "at the first evaluation": (lambda: lines_of() >= 1, 0.005),
    "in training": (lambda: lines_of() >= 2, 0.08),
    "at a checkpoint": (is_writing_a_checkpoint, 0.0),
}


@pytest.mark.slow
@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_twice_and_resumed_it_ends_as_if_never_killed(moment: str, whole: Path) -> None:
    condition, spread = MOMENTS[moment]
    chance = random.Random(moment)
    assert kill_after(start("train", *KILLED), condition, chance.uniform(0, spread)), "it had ended before"
    assert the_run().exists(), "a run that says what it is can be resumed"
    before = lines_of()
    kill_after(start("resume", str(the_run())), lambda: lines_of() > before + 1, chance.uniform(0, 0.1))
    assert main(["resume", str(the_run())]) == 0
    assert_equal_runs(the_run(), whole)
    assert leftovers(the_run()) == []
    assert len({line["step"] for line in metrics_of(the_run())}) == len(metrics_of(the_run()))


@pytest.fixture(scope="module")
def given_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that got SIGTERM while the main thread was in the tokenizer's Rust, which knows of no signals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("given_up"))
        process = start("train", *KILLED, prepare=slow, arguments=("tokenizer",))
        wait_until(lambda: Path("reached").exists(), process)
        process.terminate()
        assert exit_code(process) == 143, printed()
    return folder


def test_a_run_that_is_given_up_in_a_tokenizer_says_how_to_go_on(given_up: Path) -> None:
    said = (given_up / "log.txt").read_text()
    (directory,) = given_up.glob("outputs/run/*/")
    assert f"it is begun anew on resuming. Go on with:\n  cai resume {directory.relative_to(given_up)}\n" in said
    assert "Traceback" not in said


def test_a_run_that_is_given_up_in_a_tokenizer_can_be_resumed(
    given_up: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(given_up)
    assert read_run(the_run())["status"] == "interrupted"
    assert main(["resume", str(the_run())]) == 0
    assert_equal_runs(the_run(), whole)


def kill_at(number: int, *calls: tuple[ModuleType, str]) -> list[bool]:
    """In a child: SIGKILL itself at the ``number``-th of these ``calls``, counted while the switch returned is on."""
    seen, switch = 0, [False]

    def counted(module: ModuleType, name: str) -> None:
        original = getattr(module, name)

        def call(*arguments: object, **options: object) -> object:
            nonlocal seen
            if switch[0]:
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        setattr(module, name, call)

    for module, name in calls:
        counted(module, name)
    return switch


WRITES = ((os, "fsync"), (os, "link"), (os, "replace"))


def kill_in_second_save(number: int) -> None:
    """In a child: SIGKILL itself just before the ``number``-th call that writes the checkpoint of step 2."""
    switch, save = kill_at(number, (checkpoint, "save"), (hashlib, "sha256"), *WRITES), CheckpointFolder.save_last

    def save_last(folder: CheckpointFolder, saved: Checkpoint) -> None:
        switch[0] = saved.state["step"] == 2
        save(folder, saved)
        switch[0] = False

    CheckpointFolder.save_last = save_last  # type: ignore[method-assign, assignment]


@pytest.mark.slow
def test_killed_before_each_call_that_writes_a_checkpoint_it_is_resumed(scratch: Path) -> None:
    survived, short = 0, (*KILLED, "trainer.max_steps=4", "trainer.sample_every=0", "trainer.samples=1")
    whole = train_tiny("name=whole", tiny=short)
    for number in range(1, 20):
        name = f"name=call_{number}"
        code = exit_code(start("train", *short, name, prepare=kill_in_second_save, arguments=(number,)))
        if code == 0:
            break
        assert code == -signal.SIGKILL, printed()
        directory = the_run(f"call_{number}")
        assert main(["resume", str(directory)]) == 0
        facts = json.loads((directory / "run.json").read_text())
        assert facts["resumed"][0]["step"] == (1 if number <= 5 else 2), "the newest whole checkpoint"
        assert metrics_of(directory) == metrics_of(whole)
        assert tensors_of(directory) == tensors_of(whole)
        assert leftovers(directory) == []
        survived = number
    assert survived == 9, "serialise, checksum, fsync, link, replace, replace, fsync of the folder, link, replace"


def step(number: int) -> Checkpoint:
    return Checkpoint({"weight": torch.full((64,), float(number))}, state={"step": number})


def save_and_die(folder: Path, links: bool, number: int) -> None:
    """In a child: SIGKILL itself at the ``number``-th call of the system that saves the third checkpoint, after two."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        os.link = refuse  # type: ignore[assignment]
    switch = kill_at(number, *WRITES)
    for saved in (1, 2, 3):
        switch[0] = saved == 3
        save_checkpoint(folder / LAST, step(saved), keep_as=folder / PREVIOUS)
    switch[0] = False


LAST, PREVIOUS = "last.safetensors", "previous.safetensors"
CALLS = {
    True: ("fsync", "link", "replace last", "replace previous", "fsync of the folder"),
    False: ("fsync", "link refused", "fsync of the copy", "replace last", "replace previous", "fsync of the folder"),
}


@pytest.mark.parametrize(
    ("links", "number"),
    [
        pytest.param(links, number, id=f"{call}-{links}")
        for links, calls in CALLS.items()
        for number, call in enumerate(calls, 1)
    ],
)
def test_killed_inside_of_a_save_the_loss_of_one_file_never_loses_both(tmp_path: Path, links: bool, number: int) -> None:
    process = context.Process(target=save_and_die, args=(tmp_path, links, number))
    process.start()
    assert exit_code(process) == -signal.SIGKILL
    there = {name: load_checkpoint(tmp_path / name).state["step"] for name in (LAST, PREVIOUS)}
    assert there[LAST] >= 2, "never older than what was whole before"
    assert there[PREVIOUS] >= 1
    for lost, other in ((LAST, PREVIOUS), (PREVIOUS, LAST)):
        content = (tmp_path / lost).read_bytes()
        with (tmp_path / lost).open("r+b") as file:  # in place: every hard link to these bytes sees it
            file.write(b"\0" * 16)
        assert load_checkpoint(tmp_path / other).state["step"] == there[other]
        (tmp_path / lost).write_bytes(content)


@pytest.mark.parametrize("links", CALLS)
def test_no_call_that_saves_a_checkpoint_is_missing_above(tmp_path: Path, links: bool) -> None:
    process = context.Process(target=save_and_die, args=(tmp_path, links, len(CALLS[links]) + 1))
    process.start()
    assert exit_code(process) == 0
    assert [load_checkpoint(tmp_path / name).state["step"] for name in (LAST, PREVIOUS)] == [3, 2]
