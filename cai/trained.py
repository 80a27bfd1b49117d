"""A trained run, loaded for use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cai.comparison.history import number
from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.device import Device
from cai.errors import RunError
from cai.exchange.reading import weights_of_export
from cai.exports import is_export, read_export
from cai.run import TOKENIZER
from cai.runs import CONFIG, file_of, read_facts
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
    checkpoint: str = "best"
    """Its name. Of an export: that of the run that it was made of."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What ``run.json`` says, whoever wrote it; an export has none."""

    def fact(self, *names: str) -> float | None:
        """A number among the facts, by its names from outside in."""
        value: Any = self.facts
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return number(value)

    @property
    def val_loss(self) -> float | None:
        """The loss of the validation text, nats: of `best` or of the end, whichever is higher."""
        known = (self.fact("best_val_loss"), self.fact("metrics", "val/loss"))
        return max((loss for loss in known if loss is not None), default=None)


def load_trained(directory: Path, checkpoint: str, device: Device, trusted: Sequence[str] = ()) -> TrainedRun:
    """A model in evaluation mode on ``device``, of a run or of an export that CAI reads.

    ``checkpoint``: a file of the run; ``ema``, the moving average at ``last``; or ``average:3``, the mean of the newest 3.
    Raises ``RunError`` for what is missing or does not fit.
    """
    config = load_config(directory / CONFIG, TrainConfig, trusted)
    tokenizer = Tokenizer.load(directory / TOKENIZER)
    model = config.model.build(vocab_size=tokenizer.vocab_size)
    if is_export(directory):
        step, checkpoint = _load_export(model, config, directory, checkpoint)
    else:
        options = {**config.model.model_dump(), "vocab_size": tokenizer.vocab_size}
        step = _load_checkpoint(model, options, directory / "checkpoints", checkpoint)
    model = model.to(device.torch_device, device.parameter_dtype).eval()
    return TrainedRun(config, model, tokenizer, step, checkpoint, _facts(directory))


def _facts(directory: Path) -> Mapping[str, Any]:
    """``run.json``; nothing if it is missing or torn: the weights do not need it."""
    try:
        return read_facts(directory)
    except (RunError, OSError):
        return {}


def _load_export(model: nn.Module, config: TrainConfig, folder: Path, checkpoint: str) -> tuple[int, str]:
    """Put the weights of an export into ``model``. Returns their step, and the checkpoint that they were."""
    if checkpoint != "best":
        raise RunError(
            f"checkpoint must be left out with an export, which holds one set of weights, but is {checkpoint}. Give the run"
            f" that it was made of, or export it anew: cai export run=... checkpoint={checkpoint}"
        )
    facts = read_export(folder)
    load_weights(model, weights_of_export(folder, config.model), {}, folder)
    return facts["step"], str(facts.get("checkpoint", checkpoint))


def _load_checkpoint(model: nn.Module, options: Mapping[str, Any], folder: Path, checkpoint: str) -> int:
    """Put the weights of a run that ``checkpoint`` names into ``model``, built from ``options``. Returns their step."""
    path = folder / f"{file_of(checkpoint)}{SUFFIX}"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob(f"*{SUFFIX}"))) or "none"
        raise RunError(f"checkpoint must be one of those saved in {folder} ({there}), but is {checkpoint}.")
    saved = load_checkpoint(path)
    if checkpoint == "ema" and not saved.average:
        raise RunError(
            f"checkpoint=ema needs a moving average of the weights, but {folder.parent} keeps none. Train with"
            " trainer.ema_decay=0.999, or take checkpoint=last."
        )
    load_weights(model, saved.weights, saved.state, path, options)
    step: int = saved.state["step"]
    if checkpoint.startswith("average:"):
        _load_mean(model, options, newest_kept(folder, step, int(checkpoint.partition(":")[2])))
    return step


def newest_kept(folder: Path, last: int, count: int) -> list[Path]:
    """The ``count`` newest checkpoints that are kept, each of another step, the newest first: ``last``, of step ``last``."""
    kept = {int(path.stem.removeprefix("step_")): path for path in folder.glob(f"step_*{SUFFIX}")}
    kept = {step: path for step, path in kept.items() if step < last} | {last: folder / f"last{SUFFIX}"}
    if len(kept) < count:
        raise RunError(
            f"checkpoint=average:{count} needs {count} checkpoints of different steps, but {folder} has {len(kept)} (step"
            f" {', '.join(f'{step:,}' for step in sorted(kept))}). Train with trainer.keep={count}, or take"
            f" checkpoint=average:{len(kept)}."
        )
    return [kept[step] for step in sorted(kept, reverse=True)[:count]]


@torch.no_grad()
def _load_mean(model: nn.Module, options: Mapping[str, Any], paths: Sequence[Path]) -> None:
    """Put the mean of what each checkpoint is used with into ``model`` (arXiv:1803.05407), computed in float64.

    What is no real number, such as a count, stays that of the first.
    """
    mean: dict[str, Tensor] = {}
    for path in reversed(paths):
        saved = load_checkpoint(path)
        load_weights(model, saved.weights, saved.state, path, options)  # refuses another model's
        for name, tensor in saved.weights.items():
            if tensor.is_floating_point():
                mean[name] = mean.get(name, torch.zeros_like(tensor, dtype=torch.float64)) + tensor.double() / len(paths)
            else:
                mean[name] = tensor
    load_weights(model, mean, {}, paths[0], options)
