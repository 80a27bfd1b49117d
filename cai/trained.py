"""A trained run, loaded for use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.device import Device
from cai.errors import RunError
from cai.run import TOKENIZER
from cai.runs import CONFIG
from cai.tokenizer.base import Tokenizer
from cai.trainer.checkpoint import SUFFIX, load_checkpoint
from cai.trainer.state import load_weights


@dataclass(frozen=True)
class TrainedRun:
    """What a run directory gives: its config, its model with a checkpoint's weights, its tokenizer."""

    config: TrainConfig
    model: nn.Module
    tokenizer: Tokenizer
    step: int
    """Of the checkpoint."""


def load_trained(directory: Path, checkpoint: str, device: Device, trusted: Sequence[str] = ()) -> TrainedRun:
    """A run's model in evaluation mode on ``device``. Raises ``RunError`` for what is missing or does not fit."""
    config = load_config(directory / CONFIG, TrainConfig, trusted)
    tokenizer = Tokenizer.load(directory / TOKENIZER)
    path = directory / "checkpoints" / f"{checkpoint}{SUFFIX}"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob(f"*{SUFFIX}"))) or "none"
        raise RunError(f"checkpoint must be one of those saved in {path.parent} ({there}), but is {checkpoint}.")
    model = config.model.build(vocab_size=tokenizer.vocab_size)
    options = {**config.model.model_dump(), "vocab_size": tokenizer.vocab_size}
    saved = load_checkpoint(path)
    load_weights(model, saved.weights, saved.state, path, options)
    return TrainedRun(config, model.to(device.torch_device, device.parameter_dtype).eval(), tokenizer, saved.state["step"])
