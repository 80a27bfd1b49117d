"""All that a trainer goes on from, taken as a checkpoint and put back from one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cai import randomness
from cai.errors import RunError
from cai.trainer.checkpoint import Checkpoint
from cai.trainer.progress import Progress
from cai.trainer.state import load_optimizer, load_weights, take_groups, take_optimizer, take_weights

if TYPE_CHECKING:
    from cai.trainer.trainer import Trainer


def take_snapshot(trainer: Trainer) -> Checkpoint:
    """Everything. The batch and the dropout of a step follow from seed and step, so there is no loader to save."""
    updater = trainer.updater
    tensors, values = take_optimizer(trainer.optimizer)
    state = asdict(trainer.progress) | {
        "model": trainer.built_from,
        "newest": trainer.newest,
        "optimizer": values,
        "groups": take_groups(trainer.optimizer),
        "scaler": updater.scaler.state_dict(),
        "skipped": updater.guard.skipped,
        "micro_batch_size": updater.micro_batch.size,
        "max_steps": trainer.max_steps,
        "sizes": trainer.recorder.sizes(),
    }
    return Checkpoint(take_weights(trainer.model), tensors, updater.average.state(), randomness.capture(), state)


def take_weights_alone(trainer: Trainer) -> Checkpoint:
    """What a trained model is used by."""
    return Checkpoint(take_weights(trainer.model), state=asdict(trainer.progress) | {"model": trainer.built_from})


def restore_snapshot(trainer: Trainer, checkpoint: Checkpoint, source: Path) -> None:
    """Put everything back but the random states, which are for the moment when training begins.

    Raises ``RunError`` if ``checkpoint``, read from ``source``, does not hold all of it or is of another model.
    """
    state, updater = checkpoint.state, trainer.updater
    if "sizes" not in state:
        what = "was written by a CAI that could not resume" if state["format"] == 1 else "holds weights alone"
        raise RunError(f"{source} must hold all that a run goes on from, but {what}. Use it with generate.")
    load_weights(trainer.model, checkpoint.model, checkpoint.state, source, trainer.built_from)
    updater.average.load(checkpoint.average)
    load_optimizer(trainer.optimizer, checkpoint)
    if updater.scaler.is_enabled() and state["scaler"]:
        updater.scaler.load_state_dict(state["scaler"])
    updater.guard.skipped = state["skipped"]
    if updater.micro_batch.auto:
        updater.micro_batch.size = state["micro_batch_size"]
    trainer.progress, trainer.newest = Progress.of(state), dict(state["newest"])
