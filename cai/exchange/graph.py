"""A model as a graph of operations, for any number of rows and tokens: what ONNX, torch.export and TorchScript share."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.fx.config
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from cai.errors import ConfigError
from cai.exchange.base import PRECISIONS, Source
from cai.model.cache import Cache
from cai.model.context import Context

BATCH, LENGTH, PAST = "batch", "length", "past"
"""The names of what varies: rows, tokens of this pass, tokens before it."""

NAMES = {"k": "key", "v": "value"}
"""What a cache calls a tensor → what a graph calls it."""


class Kept(NamedTuple):
    """One tensor of a cache."""

    name: str
    """Into a graph it goes as ``past_<name>``, out of it as ``present_<name>``."""
    shape: tuple[int | None, ...]
    """Behind the rows; ``None`` is the number of tokens there are before this pass."""


class Past(Cache):
    """A cache that goes in as tensors and comes out as new ones, in the order in which the layers ask for them.

    Keys and values are ``(B, K, P, D)``; what a token shift reaches back to is ``(B, reach, C)``, at the beginning zeros.
    """

    def __init__(self, past: Sequence[Tensor] | None = None) -> None:
        super().__init__(rows=0, capacity=0)
        self.past = past
        """``None``: there is nothing yet."""
        self.present: list[Tensor] = []
        self.kept: list[Kept] = []

    def extend(self, layer: nn.Module, name: str, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)  # (B, K, T, D)
        self._note(NAMES.get(name, name), (x.shape[1], None, *x.shape[3:]))
        if self.past is not None:
            x = torch.cat([self.past[len(self.present)], x], dim=2)
        self.present.append(x)
        return x.transpose(1, 2)

    def behind(self, layer: nn.Module, x: Tensor, reach: int) -> Tensor:
        self._note("shift", (reach, x.shape[2]))
        before = x.new_zeros(x.shape[0], reach, x.shape[2]) if self.past is None else self.past[len(self.present)]
        x = torch.cat([before, x], dim=1)
        self.present.append(x[:, -reach:])
        return x

    def _note(self, name: str, shape: tuple[int | None, ...]) -> None:
        number = sum(kept.name.rpartition("_")[0] == name for kept in self.kept)
        self.kept.append(Kept(f"{name}_{number}", shape))


class Plain(nn.Module):
    """``input_ids (B, T)`` → logits ``(B, T, V)`` in fp32."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._takes_context = takes_context(model)

    def forward(self, input_ids: Tensor) -> Tensor:
        if self._takes_context:
            places = torch.arange(input_ids.shape[1], device=input_ids.device)
            # The mask in full: `is_causal` would have to be known for every T at once, one token included.
            context = Context((places <= places[:, None])[None, None])
            return _wide(self.model.logits(self.model.hidden(input_ids, context)))
        return _wide(self.model(input_ids))


class Cached(nn.Module):
    """``input_ids (B, T)`` behind what ``past`` holds → logits ``(B, T, V)`` in fp32, and the ``past`` of the next call."""

    def __init__(self, model: Any, kept: Sequence[Kept]) -> None:
        super().__init__()
        self.model = model
        self._grows = next(place for place, (_, shape) in enumerate(kept) if None in shape)

    def forward(self, input_ids: Tensor, past: list[Tensor]) -> tuple[Tensor, ...]:
        length, before = input_ids.shape[1], past[self._grows].shape[2]
        places = torch.arange(length, device=input_ids.device) + before
        mask = torch.arange(before + length, device=input_ids.device) <= places[:, None]  # (T, S)
        cache = Past(past)
        x = self.model.hidden(input_ids, Context(mask[None, None], places[None], cache))
        return _wide(self.model.logits(x)), *cache.present


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float32 else logits.float()


class Program(NamedTuple):
    """What ``torch.export`` makes of one of the modules above."""

    exported: ExportedProgram
    dims: list[dict[int, Dim]]
    """Which dimensions of each input vary."""


def takes_context(model: nn.Module) -> bool:
    """Whether it can be told what its tokens see, and so have a cache (``cai.model.decoder.Decoder.hidden``)."""
    hidden = getattr(model, "hidden", None)
    return callable(hidden) and hasattr(model, "logits") and "context" in inspect.signature(hidden).parameters


@torch.no_grad()
def kept_by(model: Any) -> list[Kept]:
    """What a cache of ``model`` holds; nothing if it cannot have one."""
    if not takes_context(model):
        return []
    cache = Past()
    model.hidden(torch.zeros(1, 1, dtype=torch.long), Context(cache=cache))
    return cache.kept if any(None in shape for _, shape in cache.kept) else []


def model_of(source: Source, precision: str) -> nn.Module:
    """A copy with weights of ``precision``."""
    return copy.deepcopy(source.trained.model).to(PRECISIONS[precision]).eval()


def plain_program(model: nn.Module, block_size: int) -> Program:
    """``Plain`` for 1 to ``block_size`` tokens. Raises ``ConfigError`` if PyTorch cannot follow the model."""
    dims = [{0: Dim(BATCH, min=1), 1: Dim(LENGTH, min=1, max=block_size)}]
    return Program(_follow(Plain(model), (_ids(block_size),), (dims[0],)), dims)


def cached_program(model: nn.Module, kept: Sequence[Kept], block_size: int) -> Program:
    """``Cached`` for 1 to ``block_size`` tokens behind none or more. Raises ``ConfigError`` like ``plain_program``."""
    batch, length, before = Dim(BATCH, min=1), Dim(LENGTH, min=1, max=block_size), Dim(PAST, min=0, max=block_size)
    kind = next(model.parameters()).dtype
    past = [torch.zeros(2, *(3 if size is None else size for size in shape), dtype=kind) for _, shape in kept]
    ids_dims = {0: batch, 1: length}
    dims = [{0: batch, **{place: before for place, size in enumerate(shape, 1) if size is None}} for _, shape in kept]
    exported = _follow(Cached(model, kept), (_ids(block_size), past), (ids_dims, dims))
    return Program(exported, [ids_dims, *dims])


def _ids(block_size: int) -> Tensor:
    """An example; of sizes other than 1, which would be taken for a constant."""
    return torch.zeros(2, min(5, block_size), dtype=torch.long)


@torch.no_grad()
def _follow(module: nn.Module, example: tuple[Any, ...], dims: tuple[Any, ...]) -> ExportedProgram:
    try:
        with quiet():
            return torch.export.export(module.eval(), example, dynamic_shapes=dims)
    except Exception as error:  # of many kinds: whatever a model does that cannot be done to tensors of unknown size
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            "`model` must be one that torch.export can follow for any number of rows and tokens, but it cannot:"
            f" {reason} Try to=safetensors."
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """PyTorch's exporters without warnings about their own code, and without the path of each line of ours in the file."""
    config = torch.fx.config
    emits = config.do_not_emit_stack_traces
    config.do_not_emit_stack_traces = True  # which also takes a third of the time
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        config.do_not_emit_stack_traces = emits
