"""Shapes and floating-point operations, module by module, seen as a pass over one sequence goes through a model.

Matrix products are counted as PyTorch's ``torch.utils.flop_counter`` counts them, two operations for each multiply-add,
and so are two kernels of the CPU that it does not know. Everything else (norms, activations, softmax) is not counted.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from cai.inspection.stand_in import NEEDS_CONTENT, Shapes, stand_in


@dataclass(frozen=True)
class Trace:
    """What was seen of a pass over ``ids (1, T)``, T being ``length``. Modules go by their dotted names, the model's own
    being empty."""

    length: int
    outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Module → the shape of the first tensor that it returns. A module that was not called is not in it."""
    own: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Module → operations in its ``forward``, those of modules that it calls left out."""
    backward: int = 0
    """Operations of the whole way back."""

    @property
    def forward(self) -> int:
        """Operations of the whole way forward."""
        return sum(self.own.values())


def trace(model: nn.Module, length: int) -> Trace:
    """A pass forward and back over ``length`` tokens, without dropout and without a loss.

    Nothing is computed, unless the model's own code looks at the numbers.
    """
    try:
        return _traced(model, length, Shapes(length))
    except NEEDS_CONTENT:
        return _traced(model, length, contextlib.nullcontext())


def _traced(model: nn.Module, length: int, context: contextlib.AbstractContextManager[object]) -> Trace:
    with context:
        model = stand_in(model, torch.float32).eval()
        ids = torch.zeros(1, length, dtype=torch.int64)
        counter = _Counter()
        names = {module: name for name, module in model.named_modules()}
        for module, name in names.items():
            module.register_forward_pre_hook(partial(counter.enter, name))
            module.register_forward_hook(partial(counter.leave, name), always_call=True)
        with counter:
            logits = model(ids)
            backward = sum(counter.operations.values())
            logits.sum().backward()
        backward = counter.operations.pop(_OUTSIDE, 0)
    return Trace(length, counter.outputs, dict(counter.operations), backward)


_OUTSIDE = "<outside>"


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what operations come to, by the module whose ``forward`` calls them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.outputs: dict[str, tuple[int, ...]] = {}
        self.operations: dict[str, int] = defaultdict(int)
        self._inside = [_OUTSIDE]

    def enter(self, name: str, module: nn.Module, inputs: object) -> None:
        self._inside.append(name)

    def leave(self, name: str, module: nn.Module, inputs: object, output: object) -> None:
        self._inside.pop()
        first = next(iter(output), None) if isinstance(output, tuple | list) else output
        if isinstance(first, Tensor):
            self.outputs[name] = tuple(first.shape)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if count := _COUNTS.get(func._overloadpacket):
            self.operations[self._inside[-1]] += count(*args, **(kwargs or {}), out_val=out)
        return out


def _linear(x: Tensor, weight: Tensor, *rest: object, out_val: Tensor) -> int:
    """``x (..., I) @ weight (O, I).T``."""
    return 2 * x.numel() * weight.shape[0]


def _attention(q: Tensor, k: Tensor, *rest: object, out_val: object, **options: object) -> int:
    """Scores and their sums of values, ``q (B, H, T, D)`` and ``k (B, K, S, D)``; all T x S pairs, causal or not."""
    return 4 * q.numel() * k.shape[-2]


def _attention_backward(gradient: Tensor, q: Tensor, k: Tensor, *rest: object, out_val: object, **options: object) -> int:
    """Twice as many as forward. That the kernel computes the scores once more is not counted, as no model asks for it."""
    return 2 * _attention(q, k, out_val=None)


def _counts() -> dict[Any, Callable[..., int]]:
    """By operation; those of the CPU where PyTorch was built with them."""
    aten, mkldnn = torch.ops.aten, torch.ops.mkldnn
    counts: dict[Any, Callable[..., int]] = dict(flop_registry)
    counts[aten._scaled_dot_product_flash_attention_for_cpu] = _attention
    counts[aten._scaled_dot_product_flash_attention_for_cpu_backward] = _attention_backward
    if hasattr(mkldnn, "_linear_pointwise"):
        counts[mkldnn._linear_pointwise] = _linear
    return counts


_COUNTS = _counts()
