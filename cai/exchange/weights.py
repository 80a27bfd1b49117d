"""The weights of a Hugging Face folder, read without running anything that is in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from cai.errors import RunError

WEIGHTS, INDEX, PAGE = "model.safetensors", "model.safetensors.index.json", "config.json"


def read_page(folder: Path) -> dict[str, Any]:
    """``config.json``. Raises ``RunError`` if there is none that can be read."""
    return _read_json(folder / PAGE)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor by its name there, of the type that it is stored in: of one file, or of several that an index lists.

    Raises ``RunError`` for a folder without safetensors, and for files that are damaged or missing.
    """
    return _of_all_files(folder, load_file)


def read_shapes(folder: Path) -> dict[str, Tensor]:
    """As ``read_weights``, but tensors of the device ``meta``, without values: quick, however large they are."""
    return _of_all_files(folder, _load_shapes)


def _load_shapes(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in file.keys()}  # noqa: SIM118


def _of_all_files(folder: Path, load: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    if (folder / WEIGHTS).is_file():
        return _read(folder / WEIGHTS, load)
    if not (folder / INDEX).is_file():
        pickled = sorted([*folder.glob("pytorch_model*.bin"), *folder.glob("*.pth"), *folder.glob("*.pt")])
        there = f"only {pickled[0].name}, a pickle, which could run code when it is read" if pickled else "none"
        raise RunError(
            f"{folder} must hold {WEIGHTS} (or several, with {INDEX}), but there is {there}. Save it anew as safetensors:"
            ' AutoModelForCausalLM.from_pretrained("...").save_pretrained("...")'
        )
    place = _read_json(folder / INDEX).get("weight_map")
    if not isinstance(place, dict) or not all(isinstance(file, str) for file in place.values()):
        raise RunError(f"{folder / INDEX} must say in weight_map which file each weight is in, but does not.")
    weights: dict[str, Tensor] = {}
    for file in dict.fromkeys(place.values()):
        if Path(file).name != file:
            raise RunError(f"{folder / INDEX} must name files beside it, but names {file!r}.")
        weights |= _read(folder / file, load)
    if missing := sorted(place.keys() - weights.keys()):
        more = f" and {len(missing) - 1} more" * (len(missing) > 1)
        raise RunError(f"{folder} must hold every weight of its {INDEX}, but lacks {missing[0]}{more}. Copy it anew.")
    return weights


def _read(path: Path, load: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    try:
        return load(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} must be a whole safetensors file, but cannot be read ({error}). Copy it anew.") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} must be a JSON file, but cannot be read ({error}).") from error
    if not isinstance(page, dict):
        raise RunError(f"{path} must hold a JSON object, but holds {type(page).__name__}.")
    return page
