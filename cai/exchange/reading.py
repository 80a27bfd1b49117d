"""Trained models that lie on the disk, read as CAI's own: runs, exports, and folders of Hugging Face's."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.errors import ConfigError, RunError
from cai.exchange.layouts import Layout, layout_named
from cai.exchange.weights import PAGE, WEIGHTS, read_page, read_shapes, read_weights
from cai.exports import format_read, is_export, read_export
from cai.model.base import ModelConfig
from cai.model.gpt2 import GPT2Config
from cai.runs import CONFIG
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.folder import CheckpointFolder
from cai.trainer.state import take_weights

TABLES = ("wte.weight", "embed_tokens.weight", "lm_head.weight")
"""Weights with a row for each id, in the architectures that a checkpoint of others may have."""


def weights_of_export(folder: Path, model: ModelConfig) -> dict[str, Tensor]:
    """What an export of ``model`` holds, by CAI's names and in the type that it was written in.

    Raises ``RunError`` for a format that is not read back, and for files that are missing or damaged.
    """
    if format_read(folder) == "huggingface":
        weights = _weights_of_huggingface(folder, model)
        if isinstance(model, GPT2Config) and not model.bias:  # transformers' has them in any case, as zeros
            return {name: tensor for name, tensor in weights.items() if not name.endswith(".bias") or tensor.any()}
        return weights
    try:
        return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{folder / WEIGHTS} must hold the weights of the export, but cannot be read ({error}).") from error


@dataclass(frozen=True)
class Weights:
    """The weights of a trained model."""

    tensors: Mapping[str, Tensor]
    """By CAI's names."""
    told: str
    """Which they are, for a person."""

    @cached_property
    def fingerprint(self) -> str:
        """Equal for weights that are equal to the bit, whatever file they lie in."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()[:16]


def weights_at(folder: Path, model: ModelConfig) -> Weights:
    """Of the model in ``folder``, with all of its positions. ``model``: its options. Of a run: the best, or else the last.

    Raises ``RunError`` or ``ConfigError`` if there are none, or none that can be read.
    """
    if is_export(folder):
        return Weights(weights_of_export(folder, model), f"an export of step {read_export(folder)['step']:,}")
    if (folder / CONFIG).is_file():
        path = _checkpoint_of(folder)
        saved = load_checkpoint(path)
        return Weights(saved.weights, f"checkpoint {path.stem}, step {saved.state['step']:,}")
    return Weights(_weights_of_huggingface(folder, model), str(read_page(folder).get("architectures", ["unknown"])[0]))


def model_at(folder: Path, option: str, block_size: int | None, trusted: Collection[str] = ()) -> ModelConfig:
    """The options of the model in ``folder``, with all of its positions, or as many of them as CAI's model can have.

    ``option`` is what names the folder, ``block_size`` how many positions are wanted; ``None``: all. Raises ``RunError`` or
    ``ConfigError`` if there is no model that CAI can go on with.
    """
    if not folder.is_dir():
        raise RunError(
            f"`{option}` must be the folder of a trained model, but there is no folder {folder}. Paths count from"
            f" {Path.cwd()}.{' Several are a sweep: cai train -m.' * (',' in str(folder))}"
        )
    if is_export(folder) or (folder / CONFIG).is_file():
        config = load_config(folder / CONFIG, TrainConfig, trusted)
        _ = format_read(folder) if is_export(folder) else _checkpoint_of(folder)
        return config.model
    if not (folder / PAGE).is_file():
        raise RunError(
            f"`{option}` must be a run or an export of CAI's ({CONFIG}), or a Hugging Face folder ({PAGE}), but {folder}"
            " holds neither file."
        )
    try:
        layout, model = _huggingface(folder, block_size)
    except ConfigError as error:
        raise ConfigError([problem.replace("`model.path`", f"`{option}`") for problem in error.problems]) from None
    if not any(folder.glob("*.safetensors")):
        raise RunError(
            f"`{option}` must hold its weights as *.safetensors, but {folder} has none, and other files could run code."
            " Write them with transformers: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder)"
        )
    _refuse_other_shapes(layout.ours(read_shapes(folder), model), model, folder, option)
    return model


def _refuse_other_shapes(weights: Mapping[str, Tensor], model: ModelConfig, folder: Path, option: str) -> None:
    """Raise ``RunError`` if a weight is not as the options of ``model`` ask it, but for how many ids there are."""
    with torch.device("meta"):  # shapes alone
        needed = take_weights(model.build(vocab_size=1))
    found, wanted = ({name: _shape(name, tensor) for name, tensor in some.items()} for some in (weights, needed))
    if wrong := [name for name in sorted(found.keys() | wanted.keys()) if found.get(name) != wanted.get(name)]:
        there, by_page = (shapes.get(wrong[0], "missing") for shapes in (found, wanted))
        more = f" and {len(wrong) - 1} more" * (len(wrong) > 1)
        raise RunError(
            f"`{option}` must hold the weights that its {PAGE} describes, but in {folder} {wrong[0]} is {there}, and"
            f" {by_page} by {PAGE}{more}. Take both from the same model, whole."
        )


def _shape(name: str, tensor: Tensor) -> tuple[int | str, ...]:
    return ("ids", *tensor.shape[1:]) if name in TABLES else tuple(tensor.shape)


def most_positions(model: ModelConfig) -> int | None:
    """How many tokens a model with these trained weights can see at once; ``None``: angles are there for any number."""
    return model.block_size if isinstance(model, GPT2Config) else None


def _huggingface(folder: Path, block_size: int | None) -> tuple[Layout, ModelConfig]:
    """The architecture, and its options with all positions; if CAI's model cannot have that many, with ``block_size``."""
    page = read_page(folder)
    layout = layout_named(page)
    try:
        return layout, layout.config(page, block_size=None, dropout=0.0)
    except ConfigError:
        return layout, layout.config(page, block_size=block_size, dropout=0.0)


def _weights_of_huggingface(folder: Path, model: ModelConfig) -> dict[str, Tensor]:
    layout, there = _huggingface(folder, model.block_size)
    return layout.ours(read_weights(folder), there)


def _checkpoint_of(run: Path) -> Path:
    checkpoints = CheckpointFolder(run / "checkpoints")
    for path in (checkpoints.best, checkpoints.last):
        if path.is_file():
            return path
    raise RunError(f"{run} must have a checkpoint to begin with, but {checkpoints.path} holds neither best nor last.")
