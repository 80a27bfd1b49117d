"""PyTorch's compiler: out of the way until it is asked for, as its import takes a second of every start."""

from __future__ import annotations

import sys
from inspect import unwrap
from typing import TypeVar

import torch
from torch.optim import Optimizer

Kind = TypeVar("Kind", bound=Optimizer)

NOT_COMPILED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
"""Methods of ``Optimizer`` that PyTorch excludes from compilation at their first call, importing the compiler for it."""
EXCLUDED = "__dynamo_disable"
"""Where it keeps such a method with its exclusion."""


def set_deterministic(deterministic: bool, compiles: bool) -> None:
    """``torch.use_deterministic_algorithms``, the compiler's own setting included only if something will be compiled."""
    if compiles or "torch._inductor.config" in sys.modules:
        torch.use_deterministic_algorithms(deterministic)
    else:
        torch._C._set_deterministic_algorithms(deterministic, warn_only=False)


def set_aside(compiles: bool) -> None:
    """Have optimizers not import the compiler, unless something will be compiled: then as PyTorch has it."""
    for name in NOT_COMPILED:
        method = unwrap(getattr(Optimizer, name))
        if compiles and getattr(method, EXCLUDED, None) is method:
            delattr(method, EXCLUDED)
        elif not compiles and not hasattr(method, EXCLUDED):
            setattr(method, EXCLUDED, method)  # excluded by itself


def eager(kind: type[Kind]) -> type[Kind]:
    """An optimizer of PyTorch's whose step does not import the compiler to break the graph around itself."""
    return type(kind.__name__, (kind,), {"step": torch.no_grad()(unwrap(kind.step))})
