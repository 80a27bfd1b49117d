"""The numerics self-test: does a device compute what float64 on the CPU does, but for rounding.

CUDA and MPS cannot run where CAI is tested; what is tested there is that a device which computes wrongly is told from one
that rounds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch

from cai.device import Device
from cai.diagnosis import numerics_attention as attention
from cai.diagnosis import numerics_layouts as layouts
from cai.diagnosis import numerics_models as models
from cai.diagnosis import numerics_parts as parts
from cai.diagnosis import numerics_update as updates
from cai.diagnosis.numerics_rounding import Wrong, computing_in, precisions
from cai.errors import TrainingError
from cai.interruption import is_interruption
from cai.randomness import preserved

log = logging.getLogger(__name__)


class Check(NamedTuple):
    """One thing that was tried."""

    name: str
    passed: bool
    detail: str
    """How exact it was; or what was wrong."""


Look = Callable[[], str]
"""Tries something, and tells how exact it was. Raises ``Wrong``."""

REFERENCE = "fp64"
"""The precision that others are compared with: a look at it is short."""


def self_test(device: Device, *, short: bool = False) -> list[Check]:
    """Every check of ``device``, in each precision that it offers; ``short``: those that training in its own rests on.

    Nothing is left changed: no global source of random numbers, no setting of the process. Whatever a check raises, an
    operator that is missing for instance, makes it a failed one.
    """
    with preserved(), torch.enable_grad():
        return [_check(name, look) for name, look in (_short(device) if short else _whole(device))]


def refuse_unless_sound(device: Device) -> None:
    """Raise ``TrainingError`` if ``device`` fails the short self-test; it takes about a second."""
    began = time.perf_counter()
    checks = self_test(device, short=True)
    if failed := [check for check in checks if not check.passed]:
        others = "device=cpu" if device.precision == "fp32" else "device.precision=fp32 or device=cpu"
        raise TrainingError(
            f"`device.type` must be a device that computes rightly, but {device.type} in {device.precision} fails"
            f" {len(failed)} of {len(checks)} checks against float64 on the CPU:\n"
            + "".join(f"  {check.name}: {check.detail}\n" for check in failed)
            + f"Try {others}, or another version of PyTorch; device.self_test=false trains nevertheless."
        )
    log.info("self-test of %s: %d checks passed in %.1f s", device.type, len(checks), time.perf_counter() - began)


def _short(device: Device) -> Iterator[tuple[str, Look]]:
    yield from _causal(device, attention.FEW, models.LENGTHS[:1])
    for family in models.FAMILIES:
        yield f"cached decoding, {family}", partial(models.cached, family, device)
    yield "update, muon", partial(updates.update, "muon", device)


def _whole(device: Device) -> Iterator[tuple[str, Look]]:
    for precision in precisions(device):
        there = computing_in(device, precision)
        if precision == REFERENCE:
            yield from _causal(there, attention.FEW, models.LENGTHS[:1])
        else:
            yield from _causal(there, attention.MANY, models.LENGTHS)
        for name, look in (("spelled out", attention.spelled_out), ("with documents apart", attention.documents_apart)):
            yield f"attention {name}, {precision}", partial(attention.causal, look, there, attention.FEW)
        yield f"attention behind a cache, {precision}", partial(attention.behind_a_cache, there)
        yield f"layouts in memory, {precision}", partial(layouts.in_any_layout, there)
        yield f"loss, {precision}", partial(parts.summed_loss, there)
    for family in models.FAMILIES:
        yield f"cached decoding, {family}", partial(models.cached, family, device)
    for name in updates.OPTIMIZERS:
        yield f"update, {name}", partial(updates.update, name, device)
    yield "orthogonalization", partial(updates.orthogonal, device)
    yield "look-ups", partial(parts.look_ups, device)
    yield "dropout bits", partial(parts.dropout_bits, device)


def _causal(device: Device, shapes: Sequence[attention.Shape], lengths: Sequence[int]) -> Iterator[tuple[str, Look]]:
    """Whatever may look ahead."""
    for name, look in (("PyTorch's attention", attention.kernel), ("CAI's attention", attention.attend)):
        yield f"{name}, {device.precision}", partial(attention.causal, look, device, shapes)
    for family in models.FAMILIES:
        yield f"{family}, {device.precision}", partial(models.causal, family, device, lengths)


def _check(name: str, look: Look) -> Check:
    try:
        return Check(name, True, look())
    except Wrong as wrong:
        return Check(name, False, str(wrong))
    except Exception as error:
        if is_interruption(error):
            raise
        lines = str(error).strip().splitlines() or [""]
        return Check(name, False, f"{type(error).__name__}: {lines[0]}")
