"""The ``checkpoints/`` folder of a run: ``last``, the one before it, ``best``, and as many older ones as asked for."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cai.trainer.checkpoint import SUFFIX, Checkpoint, DamagedCheckpoint, load_checkpoint, save_checkpoint

log = logging.getLogger(__name__)


class CheckpointFolder:
    """Keeps checkpoints by role. There is never a moment without a whole one, once the first is written."""

    def __init__(self, path: Path, keep: int = 0) -> None:
        self.path = path
        self.keep = keep

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
        if self.last.is_file():
            _link(self.last, self.previous)
        save_checkpoint(self.last, checkpoint)
        if self.keep:
            _link(self.last, self.path / f"step_{checkpoint.state['step']:08d}{SUFFIX}")
            # One more than asked: the newest of them is `last` under its other name.
            for old in self._kept()[self.keep + 1 :]:
                old.unlink()

    def save_best(self, checkpoint: Checkpoint) -> None:
        save_checkpoint(self.best, checkpoint)

    def newest(self) -> tuple[Path, Checkpoint] | None:
        """The newest checkpoint that is whole, and where it lies; ``None`` if there is none to go on from.

        Damaged ones are said and put aside under another name, so that they never take a whole one's place.
        """
        for path in self._candidates():
            try:
                return path, load_checkpoint(path)
            except DamagedCheckpoint as error:
                aside = path.with_suffix(".damaged")
                os.replace(path, aside)
                log.warning("%s It is now %s; going back to the checkpoint before it.", error, aside.name)
        return None

    def _candidates(self) -> Iterator[Path]:
        """What a run could go on from, newest first."""
        yield from (path for path in (self.last, self.previous, *self._kept()) if path.is_file())

    def _kept(self) -> list[Path]:
        return sorted(self.path.glob(f"step_*{SUFFIX}"), reverse=True)


def _link(source: Path, target: Path) -> None:
    """A second name for the same bytes, in one instant; a copy where the file system has no hard links."""
    unfinished = target.with_name(f".{target.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        os.link(source, unfinished)
    except OSError:
        shutil.copyfile(source, unfinished)
    os.replace(unfinished, target)
