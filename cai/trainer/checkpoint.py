"""Checkpoints: one safetensors file each, written whole or not at all, read without executing anything.

Tensors are named ``model.<parameter>`` and ``optimizer.<parameter>.<state>``; everything else is one JSON text in the
file's metadata. No pickle, so a checkpoint from a stranger is data.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from cai.errors import OutputError, RunError

SUFFIX = ".safetensors"
FORMAT = 1
"""Of a checkpoint file; in its state as ``format``."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    model: dict[str, Tensor]
    optimizer: dict[str, dict[str, Tensor]]
    """Optimizer state by parameter name; empty in ``best``, which is there for use, not for going on."""
    state: dict[str, Any]
    """The trainer's own numbers: step, best validation loss, patience used, tokens seen, ..."""


def save_checkpoint(path: Path, model: nn.Module, optimizer: Optimizer | None, state: dict[str, Any]) -> None:
    """Write a checkpoint to ``path``: temporary name, fsync, rename. What stood at ``path`` survives a failed write.

    Raises ``OutputError`` if it cannot be written.
    """
    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    for name, values in _state_by_name(optimizer).items() if optimizer else ():
        tensors |= {f"optimizer.{name}.{key}": torch.as_tensor(value) for key, value in values.items()}
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, unfinished, metadata={"format": "pt", "state": json.dumps({"format": FORMAT, **state})})
        with unfinished.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except (OSError, SafetensorError) as error:
        unfinished.unlink(missing_ok=True)
        needed = sum(tensor.nbytes for tensor in tensors.values()) / 2**20
        free = shutil.disk_usage(path.parent if path.parent.is_dir() else path.parent.parent).free / 2**20
        raise OutputError(
            f"the checkpoint {path} could not be written ({error}). It needs {needed:.0f} MiB and {free:.0f} MiB are"
            " free. Earlier checkpoints are intact. Free some space or point output_dir elsewhere."
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint into CPU memory. Raises ``RunError`` if it is missing or damaged."""
    if not path.is_file():
        raise RunError(f"a checkpoint must lie at {path}, but there is none. The run may have stopped before its first.")
    model: dict[str, Tensor] = {}
    optimizer: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            for key in file.keys():  # noqa: SIM118  (not a dict)
                kind, _, name = key.partition(".")
                if kind == "model":
                    model[name] = file.get_tensor(key)
                else:
                    parameter, _, entry = name.rpartition(".")
                    optimizer.setdefault(parameter, {})[entry] = file.get_tensor(key)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} must be a checkpoint, but is damaged or something else ({error}).") from error
    return Checkpoint(model, optimizer, state)


def load_weights(model: nn.Module, checkpoint: Checkpoint, source: Path) -> None:
    """Put a checkpoint's weights into ``model``. Raises ``RunError`` naming what does not fit."""
    own = model.state_dict()
    for name in sorted(own.keys() | checkpoint.model.keys()):
        here, there = (tuple(t[name].shape) if name in t else "nothing" for t in (own, checkpoint.model))
        if here != there:
            raise RunError(
                f"{source} must hold weights of the configured model, but {name} is {there} there and {here} in the"
                " model. Take the checkpoint and config.yaml from the same run."
            )
    model.load_state_dict(checkpoint.model)


def _state_by_name(optimizer: Optimizer) -> dict[str, dict[str, Any]]:
    """The optimizer's state keyed by parameter name instead of position."""
    return {
        name: optimizer.state[parameter]
        for group in optimizer.param_groups
        for name, parameter in zip(group["param_names"], group["params"], strict=True)
        if parameter in optimizer.state
    }
