"""Checkpoints: one safetensors file each, written whole or not at all, read without executing anything.

Tensors are named ``model.<parameter>``, ``average.<parameter>``, ``optimizer.<parameter>.<state>`` and ``random.<source>``;
everything else is one JSON text in the file's metadata. No pickle, so a checkpoint from a stranger is data. A checksum over
the whole file stands in the metadata too: one flipped bit anywhere and the file is not taken for a checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cai.errors import OutputError, RunError
from cai.files import free_mib, whole_file

SUFFIX = ".safetensors"
FORMAT = 3
"""Of a checkpoint file; in its state as ``format``. 1 had no checksum and no random states, 2 no average of the weights."""

_CHECKSUM = b'"checksum":"'
_BLANK = "0" * 64


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    model: dict[str, Tensor]
    optimizer: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """Optimizer state by parameter name; empty in ``best``, which is there for use, not for going on."""
    average: dict[str, Tensor] = field(default_factory=dict)
    """Moving average of the parameters, if the run keeps one and these are not the average already."""
    random: dict[str, Tensor] = field(default_factory=dict)
    """Source of randomness → its state."""
    state: dict[str, Any] = field(default_factory=dict)
    """The trainer's own numbers: progress, loss scaling, what the model was built from, ..."""

    @property
    def weights(self) -> dict[str, Tensor]:
        """What the model is used with: the average where there is one."""
        return {**self.model, **self.average}

    def copy(self) -> Checkpoint:
        """In main memory, apart from what training goes on to change."""

        def apart_from(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}

        optimizer = {name: apart_from(state) for name, state in self.optimizer.items()}
        model, average, random = map(apart_from, (self.model, self.average, self.random))
        return Checkpoint(model, optimizer, average, random, deepcopy(self.state))


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, keep_as: Path | None = None) -> None:
    """Write ``checkpoint`` to ``path``: temporary name, fsync, rename. What stood at ``path`` survives a failed write.

    ``keep_as``: the name under which it is kept after a good one. Raises ``OutputError`` if it cannot be written.
    """
    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in apart(checkpoint.model).items()}
    for name, values in checkpoint.optimizer.items():
        tensors |= {f"optimizer.{name}.{key}": value.contiguous() for key, value in values.items()}
    tensors |= {f"average.{name}": value.contiguous() for name, value in checkpoint.average.items()}
    tensors |= {f"random.{source}": value for source, value in checkpoint.random.items()}
    metadata = {"format": "pt", "checksum": _BLANK, "state": json.dumps({"format": FORMAT, **checkpoint.state})}
    # Not `save_file`, which leaves a file of a name of its own behind when it is killed.
    content = memoryview(save(tensors, metadata))
    place = _place_of_checksum(bytes(content[: 8 + int.from_bytes(content[:8], "little")]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, keep_as=keep_as) as unfinished, unfinished.open("wb") as file:
            file.write(content[:place])
            file.write(hashlib.sha256(content).hexdigest().encode())
            file.write(content[place + len(_BLANK) :])
    except OSError as error:
        raise unwritten(path, error, len(content)) from error


def apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy of each tensor that shares its memory with one before it, as a weight of two names does; the format cannot."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return separate


def unwritten(path: Path, error: OSError, size: int) -> OutputError:
    """The error for a checkpoint of ``size`` bytes that could not be written to ``path``."""
    return OutputError(
        f"the checkpoint {path} could not be written ({error.strerror or error}). It needs {size / 2**20:.1f} MiB and"
        f" {free_mib(path):.1f} MiB are free. Earlier checkpoints are intact. Free some space."
    )


class DamagedCheckpoint(RunError):
    """A file that was written as a checkpoint and is none any more, or never was."""


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint into CPU memory, after its checksum has been found right.

    Raises ``DamagedCheckpoint`` if a byte is not as it was written, ``RunError`` if the file is missing or of a newer CAI.
    """
    if not path.is_file():
        raise RunError(f"a checkpoint must lie at {path}, but there is none. The run may have stopped before its first.")
    loaded = Checkpoint(model={})
    try:
        _verify(path)
        kinds = {"model": loaded.model, "average": loaded.average, "random": loaded.random}
        with safe_open(path, framework="pt") as file:
            loaded.state.update(json.loads(file.metadata()["state"]))
            if loaded.state["format"] > FORMAT:
                raise RunError(f"{path} must have a format up to {FORMAT}, but has {loaded.state['format']}. Update CAI.")
            for key in file.keys():  # noqa: SIM118  (not a dict)
                kind, _, name = key.partition(".")
                if kind == "optimizer":
                    parameter, _, entry = name.rpartition(".")
                    loaded.optimizer.setdefault(parameter, {})[entry] = file.get_tensor(key)
                else:
                    kinds[kind][name] = file.get_tensor(key)
    except PermissionError as error:
        raise RunError(f"{path} must be readable, but is not ({error.strerror}).") from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedCheckpoint(f"{path} must be a checkpoint, but is damaged or something else ({error}).") from error
    return loaded


def _verify(path: Path) -> None:
    """Raise ``ValueError`` unless every byte of the file is as it was written."""
    if _CHECKSUM not in _header(path):  # format 1
        with safe_open(path, framework="pt") as file:
            if json.loads(file.metadata()["state"])["format"] == 1:
                return
    stored, digest = _examine(path)
    if stored != digest:
        raise ValueError("its checksum does not match its content")


def _header(path: Path) -> bytes:
    """The length of the header and the header. Raises ``ValueError`` if the file is too short for it."""
    with path.open("rb") as file:
        length = file.read(8)
        if (size := int.from_bytes(length, "little")) > path.stat().st_size - 8:
            raise ValueError("its header is cut off")
        return length + file.read(size)


def _place_of_checksum(header: bytes) -> int:
    if header.count(_CHECKSUM) != 1:
        raise ValueError("it has no checksum")
    return header.index(_CHECKSUM) + len(_CHECKSUM)


def _examine(path: Path) -> tuple[str, str]:
    """The checksum that stands in the file, and the right one: SHA-256, with zeros in the place of the checksum."""
    header = _header(path)
    place = _place_of_checksum(header)
    end = place + len(_BLANK)
    digest = hashlib.sha256(header[:place] + _BLANK.encode() + header[end:])
    with path.open("rb") as file:
        file.seek(len(header))
        while block := file.read(2**20):
            digest.update(block)
    return header[place:end].decode(errors="replace"), digest.hexdigest()
