"""Weights and optimizer state by name: taken for a checkpoint, put back from one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cai.errors import RunError
from cai.sharding import collected, divided_as
from cai.symptoms.table import tell
from cai.trainer.checkpoint import Checkpoint


def plain_name(name: str) -> str:
    """A parameter's name as the uncompiled model has it: ``torch.compile`` of a part adds ``_orig_mod`` to the path."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def take_weights(model: nn.Module) -> dict[str, Tensor]:
    """Every weight and buffer by its plain name."""
    return {plain_name(name): collected(tensor) for name, tensor in model.state_dict().items()}


def load_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    state: Mapping[str, Any],
    source: Path,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Put the ``weights`` of a checkpoint with this ``state``, read from ``source``, into ``model``, built from ``options``.

    Raises ``RunError`` naming the options that differ, or, if none does, the weights that do not fit.
    """
    there = state.get("model", {})
    differing = [
        f"model.{name}: checkpoint {there[name]}, config {value}"
        for name, value in (options or {}).items()
        if name in there and there[name] != value
    ]
    own = {plain_name(name): name for name in model.state_dict()}
    shapes = {plain_name(name): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    saved = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wrong = [name for name in sorted(shapes.keys() | saved.keys()) if shapes.get(name) != saved.get(name)]
    if wrong or differing:
        more = f" and {len(wrong) - 1} more" * (len(wrong) > 1)
        what = "; ".join(differing) or (
            f"{wrong[0]} is {saved.get(wrong[0], 'missing')} there and {shapes.get(wrong[0], 'missing')} in the model{more}"
        )
        raise RunError.of(tell("other_shape", source=source, differing=what))
    there_now = model.state_dict()
    model.load_state_dict({own[name]: divided_as(tensor, there_now[own[name]]) for name, tensor in weights.items()})


def take_optimizer(optimizer: Optimizer) -> tuple[dict[str, dict[str, Tensor]], dict[str, dict[str, Any]]]:
    """The state of each parameter by its name: what is a tensor, and what is a plain value."""
    tensors: dict[str, dict[str, Tensor]] = {}
    values: dict[str, dict[str, Any]] = {}
    for name, parameter in _parameters(optimizer):
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors.setdefault(name, {})[key] = collected(value)
            else:
                values.setdefault(name, {})[key] = value
    return tensors, values


def take_groups(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The plain values of each parameter group: some optimizers count in them."""
    plain = (bool, int, float, str, tuple, type(None))
    return [{key: value for key, value in group.items() if isinstance(value, plain)} for group in optimizer.param_groups]


def load_optimizer(optimizer: Optimizer, checkpoint: Checkpoint) -> None:
    """Put the state back, the plain values of the groups with it."""
    tensors, values = checkpoint.optimizer, checkpoint.state["optimizer"]
    parameters = dict(_parameters(optimizer))
    names = {name: index for index, name in enumerate(parameters)}
    if unknown := sorted((tensors.keys() | values.keys()) - names.keys()):
        raise RunError(f"the checkpoint must be of this optimizer, but holds state of {unknown[0]} too.")
    state = {
        names[name]: {**_divided(tensors.get(name, {}), parameters[name]), **values.get(name, {})}
        for name in tensors.keys() | values.keys()
    }
    # PyTorch finds the right device, and casts to the parameter's type: undone for what had a type of its own.
    groups = optimizer.state_dict()["param_groups"]
    if len(groups) != len(checkpoint.state["groups"]):
        raise RunError(
            f"the checkpoint must be of this optimizer, but has {len(checkpoint.state['groups'])} groups of parameters and"
            f" the optimizer {len(groups)}."
        )
    for group, saved in zip(groups, checkpoint.state["groups"], strict=True):
        # A rate that is a tensor, as for a compiled step, stays one: it is set before each step. And which kernel computes
        # is this run's own choice.
        plain = {key: value for key, value in saved.items() if key != "fused" and not isinstance(group.get(key), Tensor)}
        group |= {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for name, parameter in _parameters(optimizer):
        for key, tensor in tensors.get(name, {}).items():
            loaded = optimizer.state[parameter][key]
            if loaded.dtype != tensor.dtype != checkpoint.model[name].dtype:
                optimizer.state[parameter][key] = tensor.to(loaded.device)


def _divided(tensors: Mapping[str, Tensor], parameter: Tensor) -> dict[str, Tensor]:
    """The state of a parameter, divided as it is where it has its shape."""
    return {
        key: divided_as(tensor, parameter) if tensor.shape == parameter.shape else tensor for key, tensor in tensors.items()
    }


def _parameters(optimizer: Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
    for group in optimizer.param_groups:
        for name, parameter in zip(group["param_names"], group["params"], strict=True):
            yield plain_name(name), parameter
