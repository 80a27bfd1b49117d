"""The ``checkpoints/`` folder of a run: ``last``, the one before it, ``best``, and as many older ones as asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from cai.errors import RunError
from cai.files import second_name
from cai.trainer.background import Background
from cai.trainer.checkpoint import SUFFIX, Checkpoint, DamagedCheckpoint, load_checkpoint, save_checkpoint, unwritten

log = logging.getLogger(__name__)


class CheckpointFolder:
    """Keeps checkpoints by role. There is never a moment without a whole one, once the first is written."""

    def __init__(self, path: Path, keep: int = 0, *, writes: bool = True, background: bool = False) -> None:
        """``writes``: whether this process is the one that saves; another of the same run only looks. ``background``: it
        copies what is to be saved, and goes on while that is written."""
        self.path = path
        self.keep = keep
        self.writes = writes
        self.background = Background() if background else None

    @property
    def last(self) -> Path:
        """Everything at the newest save: what a run goes on from."""
        return self.path / f"last{SUFFIX}"

    @property
    def previous(self) -> Path:
        """What was ``last`` before: should ``last`` turn out damaged."""
        return self.path / f"previous{SUFFIX}"

    @property
    def best(self) -> Path:
        """Weights at the lowest validation loss: what a run is used by."""
        return self.path / f"best{SUFFIX}"

    def save_last(self, checkpoint: Checkpoint) -> None:
        self._save(self._write_last, checkpoint)

    def save_best(self, checkpoint: Checkpoint) -> None:
        self._save(self._write_best, checkpoint)

    def wait(self) -> None:
        """Until all that was saved is on the disk. Raises ``OutputError`` if it could not be written."""
        if self.background is not None:
            self.background.wait()

    def _save(self, write: Callable[[Checkpoint], None], checkpoint: Checkpoint) -> None:
        if not self.writes:
            return
        if self.background is None:
            write(checkpoint)
        else:
            copy = checkpoint.copy()
            self.background.do(lambda: write(copy))

    def _write_last(self, checkpoint: Checkpoint) -> None:
        save_checkpoint(self.last, checkpoint, keep_as=self.previous)
        if self.keep:
            kept = self.path / f"step_{checkpoint.state['step']:08d}{SUFFIX}"
            try:
                second_name(self.last, kept)
            except OSError as error:
                raise unwritten(kept, error, self.last.stat().st_size) from error
            # One more than asked: the newest of them is `last` under its other name.
            for old in self._kept()[self.keep + 1 :]:
                old.unlink()

    def _write_best(self, checkpoint: Checkpoint) -> None:
        save_checkpoint(self.best, checkpoint)

    def newest(self) -> Path | None:
        """The newest checkpoint that is whole; ``None`` if there has been none so far.

        Damaged ones are said and put aside under another name, so that they never take a whole one's place. Raises
        ``RunError`` if all are damaged.
        """
        for path in self._candidates():
            try:
                load_checkpoint(path)
                return path
            except DamagedCheckpoint as error:
                aside = path.with_suffix(".damaged")
                os.replace(path, aside)
                log.warning("%s It is now %s.", error, aside.name)
        if damaged := sorted(path.name for path in self.path.glob("*.damaged")):
            raise RunError(
                f"{self.path} must hold a whole checkpoint, but all are damaged ({', '.join(damaged)}). Put back a copy of"
                " one, or start a new run."
            )
        return None

    def _candidates(self) -> Iterator[Path]:
        """What a run could go on from, newest first."""
        others = [path for path in (*self._kept(), self.previous) if path.is_file()]
        yield from [self.last] * self.last.is_file()
        yield from sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)

    def _kept(self) -> list[Path]:
        return sorted(self.path.glob(f"step_*{SUFFIX}"), reverse=True)
