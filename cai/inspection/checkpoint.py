"""What is inside a file of weights: a checkpoint of CAI's with all its parts, or another program's ``.safetensors``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cai.errors import RunError
from cai.trainer.checkpoint import SUFFIX, Checkpoint, DamagedCheckpoint, load_checkpoint

WEIGHTS, AVERAGE, RANDOM = "weights", "moving average", "random states"
HEADS = ("lm_head.weight",)
TABLES = ("wte.weight", "embed_tokens.weight")
"""How the names of a head and of the embedding end, in CAI's models and in those that it reads."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Contents:
    """What a file holds."""

    path: Path
    size: int
    """Bytes of the file."""
    parts: Mapping[str, Tensors]
    """Weights first; then what a run goes on from: the moving average, each kind of optimizer state, the random states."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """Of a checkpoint: the trainer's own numbers."""
    is_checkpoint: bool = True

    @property
    def used(self) -> Tensors:
        """The weights that the model is used with: the average where there is one."""
        return {**self.parts[WEIGHTS], **self.parts.get(AVERAGE, {})}

    def nonfinite(self) -> list[str]:
        """The tensors that have numbers which are none, each with how many."""
        found = []
        for part, tensors in self.parts.items():
            for name, tensor in tensors.items():
                if tensor.is_floating_point() and (count := int((~tensor.isfinite()).sum())):
                    where = f" ({part})" * (part != WEIGHTS)
                    found.append(f"{name}{where}: {count:,} of {tensor.numel():,}")
        return found

    def tied(self) -> str:
        """Whether the head has a matrix of its own, as a sentence; empty where nobody can tell."""
        weights = self.parts[WEIGHTS]
        heads, tables = _ending(weights, HEADS), _ending(weights, TABLES)
        if not tables:
            return ""
        if not heads:
            return f"yes: {tables[0]} is the head too, and is there once"
        if weights[heads[0]].shape == weights[tables[0]].shape and torch.equal(weights[heads[0]], weights[tables[0]]):
            return f"yes, but written twice: {heads[0]} equals {tables[0]}"
        return f"no: {heads[0]} is another matrix than {tables[0]}"


def read_contents(path: Path) -> Contents:
    """Of a checkpoint, whose checksum is verified first, or of a plain file of weights.

    Raises ``RunError`` if it is missing or damaged, with what there is to be done about it.
    """
    if not path.is_file():
        raise RunError(f"`path` must be a file of weights ({SUFFIX}), but {path} is {_what(path)}. Give one, or run=last.")
    try:
        with safe_open(path, framework="pt") as file:
            if "state" not in (file.metadata() or {}):
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
                return Contents(path, path.stat().st_size, {WEIGHTS: tensors}, is_checkpoint=False)
        checkpoint = load_checkpoint(path)
    except (OSError, SafetensorError, DamagedCheckpoint) as error:
        raise RunError(_damaged(path, error)) from error
    return Contents(path, path.stat().st_size, _parts(checkpoint), checkpoint.state)


def mean_contents(paths: Sequence[Path]) -> Contents:
    """Of the mean of several checkpoints' weights, computed in float64 as ``checkpoint=average:N`` computes it."""
    mean: Tensors = {}
    newest = read_contents(paths[0])
    for contents in (newest, *map(read_contents, paths[1:])):
        for name, tensor in contents.used.items():
            if name not in newest.used or tensor.shape != newest.used[name].shape:
                raise RunError(f"{contents.path} must hold weights of the model in {paths[0]}, but differs in {name}.")
            share = tensor.double() / len(paths) if tensor.is_floating_point() else tensor
            mean[name] = mean[name] + share if name in mean and tensor.is_floating_point() else mean.get(name, share)
    weights = {name: tensor.to(newest.used[name].dtype) for name, tensor in mean.items()}
    of_all = {key: value for key, value in newest.state.items() if key not in ("sizes", "groups")}
    return Contents(newest.path, newest.size, {WEIGHTS: weights}, of_all)


def _parts(checkpoint: Checkpoint) -> dict[str, Tensors]:
    """Optimizer state by its kind: what of it there is, is what one wants to know."""
    parts: dict[str, Tensors] = {WEIGHTS: checkpoint.model}
    parts |= {AVERAGE: checkpoint.average} if checkpoint.average else {}
    for name, values in checkpoint.optimizer.items():
        for kind, tensor in values.items():
            parts.setdefault(f"optimizer: {kind}", {})[name] = tensor
    return parts | ({RANDOM: checkpoint.random} if checkpoint.random else {})


def _ending(weights: Tensors, ends: Sequence[str]) -> list[str]:
    return [name for name in weights if any(f".{name}".endswith(f".{end}") for end in ends)]


def _what(path: Path) -> str:
    return "a folder" if path.is_dir() else "not there"


def _damaged(path: Path, error: Exception) -> str:
    """That a file is damaged, and which ones beside it are whole."""
    told = str(error) if isinstance(error, RunError) else f"{path} must be a file of weights, but cannot be read ({error})."
    others = sorted(other for other in path.parent.glob(f"*{SUFFIX}") if other != path)
    whole = [other.stem for other in others if _is_whole(other)] if path.parent.name == "checkpoints" else []
    if not whole:
        return f"{told} Put back a copy of it."
    run = path.parent.parent
    return (
        f"{told} Whole ones there: {', '.join(whole)}. Take one (checkpoint={whole[0]}); `cai resume {run}` finds its own."
    )


def _is_whole(path: Path) -> bool:
    try:
        load_checkpoint(path)
    except RunError:
        return False
    return True


@dataclass(frozen=True)
class Figures:
    """Of the numbers of a module's own tensors, those that are no numbers left out."""

    module: str
    tensors: Tensors
    numbers: int
    norm: float
    mean: float
    std: float
    largest: float


def figures_of(weights: Tensors) -> Iterator[Figures]:
    """Module by module: what stands before the last dot of a weight's name. Whole numbers, such as counts, are left out."""
    modules: dict[str, Tensors] = {}
    for name, tensor in sorted(weights.items(), key=lambda item: _in_order(item[0])):
        if tensor.is_floating_point():
            module, _, leaf = name.rpartition(".")
            modules.setdefault(module, {})[leaf] = tensor
    return (_figures(module, tensors) for module, tensors in modules.items())


def _in_order(name: str) -> list[tuple[int, str]]:
    """By the numbers in a name, where there are some: a file has its tensors in the order of letters."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split(".")]


def _figures(module: str, tensors: Tensors) -> Figures:
    values = [tensor.double()[tensor.isfinite()] for tensor in tensors.values()]
    numbers = sum(each.numel() for each in values)
    mean = sum(float(each.sum()) for each in values) / numbers if numbers else math.nan
    variance = sum(float((each - mean).square().sum()) for each in values) / numbers if numbers else math.nan
    norm = math.sqrt(sum(float(each.square().sum()) for each in values))
    largest = max((float(each.abs().max()) for each in values if each.numel()), default=0.0)
    return Figures(module, tensors, numbers, norm, mean, math.sqrt(variance), largest)
