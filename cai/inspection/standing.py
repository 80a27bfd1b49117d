"""A run as it stands at one of its checkpoints, put together in memory: ready for its next update, writing nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cai.config.roots import TrainConfig
from cai.device import Device
from cai.errors import DataError
from cai.model.base import IGNORE_INDEX
from cai.tokens.batches import TokenDataset, dataset_of
from cai.tokens.shards import build_shards
from cai.trained import TrainedRun, load_trained
from cai.trainer.checkpoint import SUFFIX, load_checkpoint
from cai.trainer.state import load_optimizer, load_weights
from cai.trainer.update import Updater


class Standing(NamedTuple):
    """What takes the next update, and how far it is what the run itself would take."""

    updater: Updater
    step: int
    """Updates taken so far."""
    max_steps: int
    fresh: str
    """Why the optimizer begins anew; empty if it goes on from its own state."""
    others: str
    """Why the batch is not the run's own; empty if it is."""


def standing_at(
    directory: Path,
    checkpoint: str,
    config: TrainConfig,
    facts: Mapping[str, Any],
    device: Device,
    cache: Path,
    trusted: Sequence[str] = (),
) -> Standing:
    """The run in ``directory`` at ``checkpoint``, on ``device``. ``config`` is the run's own, ``facts`` its ``run.json``.

    Token shards come from ``cache`` or are made there. Raises ``DataError`` if the text is gone, ``RunError`` for a
    checkpoint that is missing or does not fit.
    """
    trained = load_trained(directory, checkpoint, device, trusted)
    dataset, others = _dataset(config, facts, trained, cache)
    max_steps = config.trainer.steps(dataset.n_windows)
    schedule = config.schedule.build(max_steps)
    updater = Updater(
        config.trainer,
        trained.model,
        config.optimizer.build(trained.model),
        lambda step: schedule(min(step, max_steps - 1)),  # behind its end a schedule may have come to 0
        dataset,
        device,
        seed=config.seed,
    )
    if updater.micro_batch.auto and (size := facts.get("micro_batch_size")):
        updater.micro_batch.size = size
    fresh = _restore(updater, directory / "checkpoints" / f"{checkpoint}{SUFFIX}")
    return Standing(updater, trained.step, max_steps, fresh, others)


def _dataset(config: TrainConfig, facts: Mapping[str, Any], trained: TrainedRun, cache: Path) -> tuple[TokenDataset, str]:
    try:
        config.data.check()
        corpus = config.data.build()
        shards = build_shards(corpus, trained.tokenizer, cache)
    except DataError as error:
        raise DataError(
            f"the run's data must be there, as its next batch is looked at, but: {error} The run was trained in"
            f" {facts.get('cwd', 'another folder')}; look from there, or say where the same text lies now, as data.path=..."
        ) from error
    before = facts.get("fingerprints", {}).get("ids", shards.content)
    others = (
        "" if before == shards.content else f"the run's data are others now (token ids {shards.content}, before {before})"
    )
    return dataset_of(corpus, shards, config.model.block_size, config.seed, IGNORE_INDEX), others


def _restore(updater: Updater, path: Path) -> str:
    """Put back what training goes on from. Returns why there is no such thing, if there is none."""
    if not path.is_file():
        return "an average of weights has no optimizer state"
    saved = load_checkpoint(path)
    if "sizes" not in saved.state:
        return f"{path.stem} holds no optimizer state"
    load_weights(updater.model, saved.model, saved.state, path)  # and not their average, with which a run is used
    load_optimizer(updater.optimizer, saved)
    if updater.scaler.is_enabled() and saved.state["scaler"]:
        updater.scaler.load_state_dict(saved.state["scaler"])
    if updater.micro_batch.auto:
        updater.micro_batch.size = saved.state["micro_batch_size"]
    return ""
