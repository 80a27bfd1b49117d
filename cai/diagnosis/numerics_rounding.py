"""How far a right result may be from the exact one: as far as rounding takes it, and no further.

Each operation on numbers of p bits is off by at most the unit roundoff u = 2**-p of its result (Higham, Accuracy and
Stability of Numerical Algorithms, 2002, section 2.2), a sum of n terms by at most nu of the sum of their sizes, and hardly
ever by more than 4u√n (Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, 2019). What is multiplied
in 8 or 11 bits is added up in fp32, on every device.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from cai.device import Device, Precision

DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp64": torch.float64,
}
PRODUCTS = {"highest": 0.0, "high": 2.0**-11, "medium": 2.0**-8}
"""Unit roundoff of what is multiplied in fp32, where ``torch.set_float32_matmul_precision``, or a variable that NVIDIA's
containers have, allows TF32 or bf16 for it."""
MARGIN = 2.0
"""What second-order terms and another order of the same operations may add."""


class Wrong(Exception):
    """A device computes something else than what it should."""


def precisions(device: Device) -> list[Precision]:
    """Those in which ``device`` can train, its own first."""
    offered: dict[str, list[Precision]] = {
        "cpu": ["fp32", "bf16", "fp64"],
        "cuda": ["fp32", "bf16", "fp16", "fp64"],
        "mps": ["fp32", "bf16", "fp16"],
    }
    others = [precision for precision in offered[device.type] if precision != device.precision]
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        others = [precision for precision in others if precision != "bf16"]
    return [device.precision, *others]


def computing_in(device: Device, precision: Precision) -> Device:
    """``device`` in another precision."""
    return dataclasses.replace(device, precision=precision)


def unit(dtype: torch.dtype) -> float:
    """The unit roundoff: by what share of itself a number is off at most when it is stored, or multiplied."""
    u = torch.finfo(dtype).eps / 2
    return max(u, PRODUCTS[torch.get_float32_matmul_precision()]) if dtype == torch.float32 else u


def of_sum(terms: int, dtype: torch.dtype) -> float:
    """By what share of the sum of their sizes a sum of products of ``dtype`` is off, to be as good as certain."""
    return 4 * math.sqrt(terms) * min(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps) / 2


def after(roundings: int, terms: int, dtype: torch.dtype) -> float:
    """By what share of itself a tensor may be off, in norm, behind so many roundings and sums of so many terms in all.

    A rounding is as often up as down: over many numbers they add up as their squares do.
    """
    return MARGIN * (math.sqrt(roundings) * unit(dtype) + of_sum(terms, dtype))


def exact(tensor: Tensor) -> Tensor:
    """The same numbers in float64 on the CPU; in this order, as MPS has no float64."""
    return tensor.detach().cpu().double()


class Errors:
    """Of a device's results: the largest, as a share of what rounding explains."""

    def __init__(self) -> None:
        self.largest = 0.0

    def add(self, found: Tensor, expected: Tensor, allowed: float, where: str) -> None:
        """Compare in norm; ``allowed`` is a share of that of ``expected``. Raises ``Wrong``."""
        off = float(torch.linalg.vector_norm(exact(found) - expected) / torch.linalg.vector_norm(expected))
        self._note(off, allowed, where)

    def add_each(self, found: Tensor, expected: Tensor, allowed: Tensor, where: str) -> None:
        """Compare number by number; ``allowed`` is of the shape of ``expected``. Raises ``Wrong``."""
        shares = (exact(found) - expected).abs() / allowed
        place = int(shares.flatten().argmax())  # of the first NaN, if there is one
        of_place = float(allowed.flatten()[place])
        self._note(float(shares.flatten()[place]) * of_place, of_place, where)

    def _note(self, off: float, allowed: float, where: str) -> None:
        if not off <= allowed:  # NaN is not
            raise Wrong(f"{where}: off by {off:.2g}, of which rounding explains {allowed:.2g}")
        self.largest = max(self.largest, off / allowed)

    def __str__(self) -> str:
        share = f"at most {self.largest:.0%}" if self.largest >= 0.01 else "below 1%"
        return f"errors {share} of what rounding explains"


def unchanged(first: Tensor, again: Tensor, other: Tensor, places: Tensor, where: str) -> None:
    """Raise ``Wrong`` if ``other (B, T, ...)`` is not ``first``, to the bit, before the token ``places (B,)`` of each row,
    the only one that goes into it differently.

    ``again``: what ``first`` was when computed once more. As far as these two differ, which on a CPU is nowhere, a
    difference tells nothing.
    """
    first, again, other = (x.detach().cpu().flatten(2) for x in (first, again, other))
    if not first.isfinite().all():
        raise Wrong(f"{where}: numbers that are not finite")
    noise = (again - first).abs().nan_to_num().max()
    changes = (other - first).abs().amax(-1)  # (B, T)
    leaks = ~(changes <= noise) & (torch.arange(first.shape[1]) < places[:, None])  # NaN is one
    if leaks.any():
        row, token = (int(n) for n in leaks.nonzero()[0])
        by = float(changes[row, token])
        raise Wrong(f"{where}: token {token} changes by {by:.3g} with token {int(places[row])}, which comes after it")
