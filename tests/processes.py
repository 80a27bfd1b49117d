"""The program in processes of its own, to be signalled and killed at chosen moments."""

from __future__ import annotations

import multiprocessing
import os
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

if TYPE_CHECKING:
    from cai.data.base import Document, Split

context = multiprocessing.get_context("forkserver")
PRELOADED = [
    "cai.train",
    "cai.resume",
    "torch._inductor",
    "torch.utils.tensorboard",
    "tensorboard.plugins.hparams.summary_v2",
    "pytest",
]
"""What a run imports sooner or later: a start then takes milliseconds instead of seconds."""
LIMIT = 60.0
"""Seconds after which something is wrong; all of this takes a few at most."""


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
    from cai.data.corpus import Corpus
    from cai.generation import Generator
    from cai.tokens.batches import TokenDataset
    from cai.tokens.sample import Sketch

    def pause(seconds: float) -> None:
        if not Path("reached").exists():
            Path("reached").touch()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.01)

    texts = Sketch.texts
    update, divide, batches, text = Updater.update, Corpus.divide, TokenDataset.val_batches, Generator.text

    def slow_update(self: Updater, step: int) -> Update:
        if step == 5:
            pause(0.4)  # in the midst of a step, which is finished first
        return update(self, step)

    def slow_divide(self: Corpus, *arguments: Any) -> Iterator[tuple[Document, Split]]:
        for number, divided in enumerate(divide(self, *arguments)):
            if number == 20 and any(Path("outputs/cache/tokens").glob(".*.unfinished")):
                pause(60)
            yield divided

    def slow_texts(self: Sketch) -> Iterator[str]:
        for number, text in enumerate(texts(self)):
            if number == 20:  # asked for by the tokenizer's Rust
                pause(60)
            yield text

    def slow_batches(self: TokenDataset, *arguments: Any, **named: Any) -> Iterator[Any]:
        for number, batch in enumerate(batches(self, *arguments, **named)):
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
    elif place == "tokenizer":
        Sketch.texts = slow_texts  # type: ignore[method-assign]
    elif place == "shards":
        Corpus.divide = slow_divide  # type: ignore[method-assign]
    elif place == "evaluation":
        TokenDataset.val_batches = slow_batches  # type: ignore[assignment]
    else:
        Generator.text = slow_text  # type: ignore[method-assign, assignment]


def kill_after(process: ForkServerProcess, condition: Callable[[], object], delay: float) -> bool:
    """SIGKILL ``delay`` seconds after ``condition`` is met. Whether it found the process alive."""
    end = time.monotonic() + LIMIT
    while process.is_alive() and not condition() and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    return exit_code(process) == -signal.SIGKILL
