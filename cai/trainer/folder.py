"""The ``checkpoints/`` folder of a run: ``last``, ``best``, and as many older ones as asked for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from cai.trainer.checkpoint import SUFFIX, save_checkpoint


class CheckpointFolder:
    """Keeps checkpoints by role. There is never a moment without the ``last`` that stood before."""

    def __init__(self, path: Path, keep: int) -> None:
        self.path = path
        self.keep = keep

    @property
    def last(self) -> Path:
        """Weights and optimizer at the newest save: what a run goes on from."""
        return self.path / f"last{SUFFIX}"

    @property
    def best(self) -> Path:
        """Weights at the lowest validation loss: what a run is used by."""
        return self.path / f"best{SUFFIX}"

    def save_last(self, model: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
        save_checkpoint(self.last, model, optimizer, state)
        if self.keep:
            _link(self.last, self.path / f"step_{state['step']:08d}{SUFFIX}")
            # One more than asked: the newest of them is `last` under its other name.
            for old in sorted(self.path.glob(f"step_*{SUFFIX}"))[: -(self.keep + 1)]:
                old.unlink()

    def save_best(self, model: nn.Module, state: dict[str, Any]) -> None:
        save_checkpoint(self.best, model, None, state)


def _link(source: Path, target: Path) -> None:
    """A second name for the same bytes; a copy where the file system has no hard links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
