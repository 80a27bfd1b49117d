"""Hidden units at work: which of a model's activation functions let something through, watched in a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cai.trainer.state import plain_name

CUTTING = ("relu", "relu_", "relu6", "threshold")
"""Functions that are 0 on one side: a unit is active where its output is not 0."""
SMOOTH = ("gelu", "silu", "silu_", "mish", "elu", "elu_", "leaky_relu", "softplus", "hardswish")
BOUND = 0.01
"""A unit of the smooth ones is active where its output is beyond this: SiLU is within it for inputs below -6.5, GELU below
-2.9."""


class Units(NamedTuple):
    """The outputs of one activation function over a batch."""

    module: str
    """In which it is called."""
    function: str
    size: int
    dead: int
    """Units that were active for no token: nothing reaches what comes before them, and they learn nothing."""
    active: float
    """Share of the tokens for which a unit is active, a mean over the units."""


class _Watched:
    """What is known of the units of one function so far."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.times = torch.zeros(size, dtype=torch.int64, device=device)  # active, by unit
        self.tokens = 0

    def add(self, active: Tensor) -> None:
        """``active (..., U)``."""
        rows = active.flatten(0, -2)
        self.times += rows.sum(0)
        self.tokens += len(rows)


class _Watch(TorchFunctionMode):
    def __init__(self, inside: list[str], found: dict[tuple[str, str], _Watched]) -> None:
        super().__init__()
        self._inside, self._found = inside, found

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "")
        if name in CUTTING + SMOOTH and isinstance(out, Tensor) and out.ndim > 1:
            self._add(name, out.detach())
        return out

    def _add(self, name: str, out: Tensor) -> None:
        key = (self._inside[-1] if self._inside else "", name.rstrip("_"))
        if key not in self._found:
            self._found[key] = _Watched(out.shape[-1], out.device)
        if len(self._found[key].times) == out.shape[-1]:
            self._found[key].add(out != 0 if name in CUTTING else out.abs() > BOUND)


@contextmanager
def watched_units(model: nn.Module) -> Iterator[Callable[[], list[Units]]]:
    """Inside, every activation function that ``model`` calls is watched; the function given tells what was seen.

    ``torch.nn.functional`` and modules alike, in code that is not compiled (``torch.overrides.TorchFunctionMode``).
    """
    inside: list[str] = []
    found: dict[tuple[str, str], _Watched] = {}

    def leave(*_: object) -> None:
        inside.pop()

    with ExitStack() as stack:
        for name, module in model.named_modules():
            path = plain_name(name)
            enter = module.register_forward_pre_hook(lambda *_, path=path: inside.append(path))
            stack.callback(enter.remove)
            stack.callback(module.register_forward_hook(leave, always_call=True).remove)
        stack.enter_context(_Watch(inside, found))
        yield lambda: [_units(*key, watched) for key, watched in found.items()]


def _units(module: str, function: str, watched: _Watched) -> Units:
    dead = int((watched.times == 0).sum())
    active = float((watched.times.double() / max(1, watched.tokens)).mean())
    return Units(module, function, len(watched.times), dead, active)
