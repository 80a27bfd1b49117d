"""Killed at any instant and resumed, a run ends as if it never had been; and what is shared for such tests."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cai import signals
from cai.cli import main
from cai.trainer.update import Update, Updater
from tests.conftest import TINY, train_tiny
from tests.resuming import assert_equal_runs, metrics_of, tensors_of

if TYPE_CHECKING:
    from cai.data.base import Document

context = multiprocessing.get_context("forkserver")
PRELOADED = [
    "cai.train",
    "cai.resume",
    "torch._inductor",
    "torch.utils.tensorboard",
    "tensorboard.plugins.hparams.summary_v2",
]
"""What a run imports sooner or later: a start then takes milliseconds instead of seconds."""
LIMIT = 60.0
"""Seconds after which something is wrong; all of this takes a few at most."""

KILLED = (
    *TINY,
    "model.dropout=0.1",
    "trainer.max_steps=12",
    "trainer.save_every=1",
    "trainer.sample_every=4",
    "trainer.keep=1",
)
"""Writes a checkpoint after each step."""


def program(words: list[str], log: str, prepare: Callable[..., None] | None, arguments: tuple[object, ...]) -> None:
    """In a child: ``prepare``, then the program with its output in a file."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if prepare is not None:
        prepare(*arguments)
    sys.exit(main(words))


def start(*words: str, prepare: Callable[..., None] | None = None, arguments: tuple[object, ...] = ()) -> ForkServerProcess:
    """The program in a process of its own, forked from one that has imported it already; it prints to ``log.txt``."""
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=program, args=(list(words), "log.txt", prepare, arguments))
    process.start()
    return process


def wait_until(condition: Callable[[], object], process: ForkServerProcess) -> None:
    """Raises if ``process`` ends or time passes before."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert process.is_alive(), f"it ended by itself: {printed()}"
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.002)


def exit_code(process: ForkServerProcess) -> int:
    process.join(LIMIT)
    if process.exitcode is None:
        process.kill()
        pytest.fail("it did not end")
    return process.exitcode


def printed() -> str:
    return Path("log.txt").read_text(encoding="utf-8") if Path("log.txt").exists() else ""


def the_run(name: str = "run") -> Path:
    """The one run of that name, once it can be resumed; before, a path where nothing is."""
    return next((path.parent for path in Path("outputs", name).glob("*/config.yaml")), Path("nothing"))


def lines_of(name: str = "run") -> int:
    path = the_run(name) / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def leftovers(directory: Path) -> list[Path]:
    return list(directory.rglob(".*.unfinished"))


def slow(place: str) -> None:
    """In a child: be slow at ``place``, once, and leave the file ``reached`` there."""
    from cai.data.base import Corpus
    from cai.generation import Generator
    from cai.tokens.batches import TokenDataset

    def pause(seconds: float) -> None:
        if not Path("reached").exists():
            Path("reached").touch()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.01)

    update, select, batches, text = Updater.update, Corpus.select, TokenDataset.val_batches, Generator.text

    def slow_update(self: Updater, step: int) -> Update:
        if step == 5:
            pause(0.4)  # in the midst of a step, which is finished first
        return update(self, step)

    def slow_select(self: Corpus, split: Any) -> Iterator[Document]:
        for number, document in enumerate(select(self, split)):
            if number == 20 and (place == "tokenizer" or any(Path("outputs/cache/tokens").glob(".*.unfinished"))):
                pause(60)
            yield document

    def slow_batches(self: TokenDataset, *arguments: Any) -> Iterator[Any]:
        for number, batch in enumerate(batches(self, *arguments)):
            if number == 1 and lines_of():  # of the second evaluation
                pause(60)
            yield batch

    def slow_text(self: Generator, *arguments: Any) -> str:
        result = text(self, *arguments)
        pause(60)
        return result

    signals.DEADLINE = 0.5 if place == "tokenizer" else signals.DEADLINE
    if place == "training":
        Updater.update = slow_update  # type: ignore[method-assign]
    elif place in ("tokenizer", "shards"):
        Corpus.select = slow_select  # type: ignore[method-assign]
    elif place == "evaluation":
        TokenDataset.val_batches = slow_batches  # type: ignore[assignment]
    else:
        Generator.text = slow_text  # type: ignore[method-assign, assignment]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody has stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        return train_tiny(tiny=KILLED).absolute()


def kill_after(process: ForkServerProcess, condition: Callable[[], object], delay: float) -> bool:
    """SIGKILL ``delay`` seconds after ``condition`` is met. Whether it found the process alive."""
    end = time.monotonic() + LIMIT
    while process.is_alive() and not condition() and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    return exit_code(process) == -signal.SIGKILL


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


def kill_at(number: int) -> None:
    """In a child: SIGKILL itself just before the ``number``-th system call that writes the checkpoint of step 2."""
    calls = 0

    def counted(module: object, name: str) -> None:
        original = getattr(module, name)

        def call(*arguments: object, **options: object) -> object:
            nonlocal calls
            if is_second_save[0]:
                calls += 1
                if calls == number:
                    os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        setattr(module, name, call)

    from cai.trainer import checkpoint
    from cai.trainer.folder import CheckpointFolder

    is_second_save, save = [False], CheckpointFolder.save_last

    def save_last(folder: CheckpointFolder, saved: checkpoint.Checkpoint) -> None:
        is_second_save[0] = saved.state["step"] == 2
        save(folder, saved)
        is_second_save[0] = False

    CheckpointFolder.save_last = save_last  # type: ignore[method-assign, assignment]
    for module, name in ((os, "replace"), (os, "fsync"), (os, "link"), (checkpoint, "save_file"), (checkpoint, "_examine")):
        counted(module, name)


def test_killed_before_each_call_that_writes_a_checkpoint_it_is_resumed(scratch: Path, whole: Path) -> None:
    survived = 0
    for number in range(1, 20):
        name = f"name=call_{number}"
        code = exit_code(start("train", *KILLED, name, prepare=kill_at, arguments=(number,)))
        if code == 0:
            break
        assert code == -signal.SIGKILL, printed()
        directory = the_run(f"call_{number}")
        assert main(["resume", str(directory)]) == 0
        facts = json.loads((directory / "run.json").read_text())
        assert facts["resumed"][0]["step"] == (1 if number <= 6 else 2), "the newest whole checkpoint"
        assert metrics_of(directory) == metrics_of(whole)
        assert tensors_of(directory) == tensors_of(whole)
        assert leftovers(directory) == []
        survived = number
    assert survived == 9, "link, replace, write, checksum, fsync, replace, fsync of the folder, link, replace"
