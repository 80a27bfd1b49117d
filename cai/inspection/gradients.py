"""The next update of a run, taken in memory and looked at: gradients, how far weights move, units that do nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cai import randomness
from cai.errors import RunError
from cai.inspection.attention import Head, attention_of, heads_of
from cai.inspection.units import Units, watched_units
from cai.trainer.state import plain_name
from cai.trainer.update import Updater

LARGE, SMALL = 1e-1, 1e-5
"""Update-to-weight ratios that stand out: ten times outside of 1e-4 to 1e-2, in which most healthy ones lie."""
ALIKE, ONE = 0.97, 0.05
"""Relative entropy from which on a head looks everywhere alike, and up to which at one token alone."""
ROW = 256
"""Tokens of the batch over which attention is looked at."""


class Parameter(NamedTuple):
    """One of the model's, at this update."""

    name: str
    shape: tuple[int, ...]
    mean: float | None
    """Of its gradient, before clipping, as the next two; ``None`` if it has none."""
    std: float | None
    norm: float | None
    weight: float
    """The norm of the parameter."""
    ratio: float | None
    """Norm of the real update over that of the parameter; ``None`` if no update could be taken, or all of it is 0."""
    flags: tuple[str, ...]


class Gradients(NamedTuple):
    """Everything that was seen of an update."""

    loss: float
    """Mean over the targets of the batch, nats: ``train/loss`` of this step."""
    norm: float
    """Of the whole gradient, before clipping: ``train/grad_norm`` of this step."""
    share: float
    """The learning rate as a share of its peak."""
    parameters: list[Parameter]
    units: list[Units]
    heads: list[Head]
    """Over the beginning of the batch's first row; none for a model that does not tell its attention."""


def gradients_of(updater: Updater, step: int) -> Gradients:
    """Update number ``step`` as training would take it. ``updater`` and its model have taken it afterwards.

    The gradient is computed twice, with the same result: once to be looked at, once by the whole of an update.
    """
    with randomness.preserved():
        batch = updater.batch(step)
        with watched_units(updater.model) as units:
            loss = float(updater.micro_batch.fit(lambda: updater.accumulate(batch, step)))
        updater.scaler.unscale_(updater.optimizer)
        named = {plain_name(name): p for name, p in updater.model.named_parameters() if p.requires_grad}
        gradients = {name: None if p.grad is None else p.grad.clone() for name, p in named.items()}
        updater.scaler.update()
        heads = _heads(updater.model, batch.inputs[0])
        before = {name: p.detach().clone() for name, p in named.items()}
        finite = math.isfinite(loss) and all(g is None or bool(g.isfinite().all()) for g in gradients.values())
        norm = float(updater.update(step).grad_norm) if finite else math.nan
    share = updater.schedule(step)
    parameters = [_parameter(name, p, gradients[name], before[name], share, finite) for name, p in named.items()]
    return Gradients(loss, norm, share, parameters, units(), heads)


@torch.no_grad()
def _parameter(name: str, p: Tensor, gradient: Tensor | None, before: Tensor, share: float, finite: bool) -> Parameter:
    weight = _norm(before)
    ratio = _norm(p - before) / weight if finite and weight else None
    mean = std = norm = None
    if gradient is not None:
        values = gradient.double() if gradient.device.type != "mps" else gradient.float()
        mean, std, norm = float(values.mean()), float(values.std(correction=0)), _norm(gradient)
    flags = tuple(_flags(norm, weight, ratio, share))
    return Parameter(name, tuple(p.shape), mean, std, norm, weight, ratio, flags)


def _flags(norm: float | None, weight: float, ratio: float | None, share: float) -> Iterator[str]:
    """What stands out. A ratio is too small if it would be so at the peak of the learning rate too."""
    if norm is None:
        yield "no gradient"
    elif norm == 0:
        yield "zero gradient"
    elif not math.isfinite(norm):
        yield "not finite"
    if weight == 0:
        yield "all zero"
    if ratio is not None and ratio > LARGE:
        yield "large update"
    if ratio is not None and norm and share and ratio / share < SMALL:
        yield "small update"


def _norm(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values.float() if values.dtype != torch.float64 else values))


def _heads(model: nn.Module, ids: Tensor) -> list[Head]:
    row = ids[0, :ROW].tolist()
    if len(row) < 2:
        return []
    model.eval()  # an update puts it back into training
    try:
        return heads_of(attention_of(model, row), None)
    except RunError:  # a model that does not tell
        return []


def stiff_heads(heads: list[Head]) -> Iterator[tuple[str, list[Head]]]:
    """Heads whose attention says nothing of the text, by what they do instead."""
    if alike := [head for head in heads if head.relative >= ALIKE]:
        yield f"look everywhere alike ({ALIKE:.0%} of the most entropy or more), as before anything is learned", alike
    if one := [head for head in heads if head.relative <= ONE]:
        yield f"look at one token each time ({ONE:.0%} of the most entropy or less)", one
