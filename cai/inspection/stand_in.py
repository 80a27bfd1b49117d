"""Models without numbers: what has a shape and no content takes neither memory nor time."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)

from cai.model.base import ModelConfig

M = TypeVar("M", bound=nn.Module)

NEEDS_CONTENT = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException)
"""What a model that looks at numbers raises where there are none."""


class Shapes(FakeTensorMode):  # type: ignore[no-untyped-call]
    """Inside, tensors have a shape, a type and a device, but no content; of a batch's ``targets`` all count."""

    def __init__(self, targets: int) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self._targets = targets

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As ``FakeTensorMode``, but for how many targets count, which a decoder asks on a CPU."""
        if func is torch.ops.aten._local_scalar_dense.default and args[0].dtype == torch.int64:
            return self._targets
        return super().__torch_dispatch__(func, types, args, kwargs)


def without_numbers(config: ModelConfig, vocab_size: int) -> nn.Module:
    """The model of ``config`` on the device ``meta``; on the CPU if it cannot be built otherwise."""
    try:
        with torch.device("meta"):
            return config.build(vocab_size=vocab_size)
    except RuntimeError:  # of an initialisation that reads its own numbers
        return config.build(vocab_size=vocab_size)


def stand_in(model: M, dtype: torch.dtype, device: str = "cpu") -> M:
    """A copy of ``model``, which is on any device, with zeros for its weights."""
    copies: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        zeros = torch.zeros(tensor.shape, dtype=dtype if tensor.is_floating_point() else tensor.dtype, device=device)
        is_parameter = isinstance(tensor, nn.Parameter)
        copies[id(tensor)] = nn.Parameter(zeros, requires_grad=tensor.requires_grad) if is_parameter else zeros
    return copy.deepcopy(model, copies)
