"""A learning-rate range test (arXiv:1506.01186): the rate rises from update to update, and the loss tells which are useful.

What is measured is not the loss of each training batch, which differs from batch to batch by more than most rates do, but
that of the same validation rows after every update.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from cai.errors import TrainingError
from cai.symptoms.table import Told, tell

if TYPE_CHECKING:
    from cai.trainer.update import Updater

TARGETS, ROWS = 2048, 64
"""Validation targets that the loss is the mean of, about; and rows that they are looked for in at most."""
WINDOW = 5
"""Updates over which the curve is smoothed, by their median."""
RUNAWAY = 1.02
"""Times the loss before any update from which on it has run away."""
LOST = 0.5
"""Share of its fall that the loss has lost again where it diverges."""
LEAST_FALL = 0.02
"""Share of the loss before any update that it must fall by, or no rate is of use."""
BEGINS, REACHED, ENDS = 0.1, 0.9, 0.9
"""Shares of the whole fall: where the useful range begins, where the rate that is advised lies, and what must not be lost
again where the range ends."""


@dataclass(frozen=True)
class Curve:
    """What a range test has seen."""

    start: float
    """The loss before any update, nats."""
    rates: list[float]
    """Of each update, in the units of ``optimizer.lr``: by the same factor higher than the one before."""
    losses: list[float]
    """After each update."""
    ran_away: bool
    """Whether it ended for that, before the highest rate."""

    @property
    def smooth(self) -> list[float]:
        """The losses without what only one update did: the median of each and its neighbours."""
        half = WINDOW // 2
        return [statistics.median(self.losses[max(0, i - half) : i + half + 1]) for i in range(len(self.losses))]


class Suggestion(NamedTuple):
    """What a curve says. Rates in the units of ``optimizer.lr``."""

    rate: float | None
    """The one that is advised; ``None`` if the loss fell nowhere."""
    lowest: float
    """From here on the loss falls."""
    highest: float
    """Up to here it does not rise again."""
    diverges: float | None
    """Where it has lost half of its fall again; ``None`` if it did not come to that."""


def range_test(
    updater: Updater,
    lr: float,
    lowest: float,
    highest: float,
    steps: int,
    progress: Callable[[float, float], object] = lambda rate, loss: None,
) -> Curve:
    """Take ``steps`` updates with rates from ``lowest`` to ``highest``, or until the loss has run away.

    ``lr``: the ``optimizer.lr`` that the optimizer was built with: the rates of all parameter groups keep their ratio to it,
    without a schedule. ``progress`` is told each rate and loss. The weights that are left are of no use. Raises
    ``TrainingError`` if none of the validation targets counts.
    """
    rates = [lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)]
    rows, count = _probe(updater)
    start = _loss(updater, rows, count)
    losses: list[float] = []
    with _without_schedule(updater, lambda step: rates[step] / lr):
        for step, rate in enumerate(rates):
            try:
                updater.update(step)
                loss = _loss(updater, rows, count)
            except TrainingError:  # a loss or gradient that is no number
                loss = math.inf
            if not math.isfinite(loss):
                return Curve(start, rates[: len(losses)], losses, ran_away=True)
            losses.append(loss)
            progress(rate, loss)
            if has_run_away(Curve(start, rates[: len(losses)], losses, ran_away=False)):
                return Curve(start, rates[: len(losses)], losses, ran_away=True)
    return Curve(start, rates, losses, ran_away=False)


def has_run_away(curve: Curve) -> bool:
    """Whether all of the newest losses are above that before any update: no higher rate is worth a try."""
    return len(curve.losses) >= WINDOW and min(curve.losses[-WINDOW:]) > RUNAWAY * curve.start


def suggest(curve: Curve) -> Suggestion:
    """The rate at which the loss has come nearly as far down as it ever does, before it rises again.

    Smith takes the range from where the loss begins to fall to where it no longer does; a rate that is kept for long, as
    here the peak of a schedule, wants to be below its end.
    """
    if len(curve.losses) < 2:
        return Suggestion(None, math.nan, math.nan, None)
    smooth = curve.smooth
    least = min(smooth)
    bottom, fall = smooth.index(least), curve.start - least
    if fall < LEAST_FALL * curve.start:
        return Suggestion(None, math.nan, math.nan, curve.rates[-1] if curve.ran_away else None)

    def first_below(share: float) -> float:
        return next(rate for rate, loss in zip(curve.rates, smooth, strict=True) if loss <= curve.start - share * fall)

    after = list(zip(curve.rates, smooth, strict=True))[bottom:]
    kept = itertools.takewhile(lambda point: point[1] <= least + (1 - ENDS) * fall, after)
    lost = (rate for rate, loss in after if loss > least + LOST * fall)
    diverges = next(lost, curve.rates[-1] if curve.ran_away else None)
    return Suggestion(first_below(REACHED), first_below(BEGINS), max(rate for rate, _ in kept), diverges)


def symptoms(curve: Curve, suggestion: Suggestion, lr: float) -> list[Told]:
    """What is wrong: with ``lr``, with the model or its data, or with the range that was asked for."""
    lowest, highest, least = curve.rates[0], curve.rates[-1], min(curve.losses, default=math.nan)
    if suggestion.rate is None:
        facts: dict[str, object] = {"share": LEAST_FALL, "start": curve.start, "least": least, "more": 10 * highest}
        return [tell("no_rate", "other_rates", lowest=lowest, highest=highest, **facts)]
    if suggestion.diverges is None and curve.losses[-1] <= least + (1 - ENDS) * (curve.start - least):
        return [tell("rate_beyond", highest=highest, more=10 * highest)]
    facts = {"lr": lr, "lowest": suggestion.lowest, "highest": suggestion.highest, "better": suggestion.rate}
    if lr < suggestion.lowest:
        return [tell("rate_too_low", "", **facts)]
    return [tell("rate_too_high", "", **facts)] if lr > (suggestion.diverges or suggestion.highest) else []


@contextmanager
def _without_schedule(updater: Updater, multiplier: Callable[[int], float]) -> Iterator[None]:
    before, updater.schedule = updater.schedule, multiplier
    try:
        yield
    finally:
        updater.schedule = before


def _probe(updater: Updater) -> tuple[list[tuple[Tensor, ...]], int]:
    """The first validation rows, on the device, as many at once as the device takes; and their targets."""
    dataset = updater.dataset
    rows, count = [], 0
    for arrays in dataset.val_batches(updater.micro_batch.size):
        rows.append(tuple(updater.device.put(torch.from_numpy(array)) for array in arrays))
        count += int((arrays[1] != dataset.ignore_index).sum())
        if count >= TARGETS or len(rows) * updater.micro_batch.size >= ROWS:
            break
    if not count:
        raise TrainingError(
            f"the first {ROWS} validation rows must have a target that counts, but have none. Take data.loss=all."
        )
    return rows, count


@torch.no_grad()
def _loss(updater: Updater, rows: list[tuple[Tensor, ...]], count: int) -> float:
    """Mean over the targets of ``rows``, without dropout."""
    updater.forward.eval()
    with updater.device.autocast():
        return math.fsum(float(updater.forward(*row)) for row in rows) / count
