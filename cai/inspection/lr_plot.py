"""The curve of a range test in the columns of a terminal, and the rates on it that matter."""

from __future__ import annotations

import bisect
import math
from typing import NamedTuple

from cai.inspection.lr_range import Curve, Suggestion

WIDTH, HEIGHT = 66, 11
"""Columns and lines that the curve is drawn in."""
ABOVE = 0.15
"""Of the fall, above the loss at the beginning: what is higher is drawn there."""
DOT, ADVISED, PRESENT = "•", "▲", "△"


class Mark(NamedTuple):
    """A rate that matters, and why."""

    rate: float
    loss: float
    what: str
    sign: str
    """Below the axis of the plot; none for most."""


def marks(curve: Curve, suggestion: Suggestion, lr: float) -> list[Mark]:
    """In the order of the rates."""
    smooth = curve.smooth
    lowest = curve.rates[smooth.index(min(smooth))]
    found = [(lowest, "lowest loss of the test", ""), (lr, "optimizer.lr as it is", PRESENT)]
    if suggestion.rate is not None:
        found.append((suggestion.lowest, "the loss begins to fall", ""))
        found.append((suggestion.rate, "advised: nearly as low, and well before it rises", ADVISED))
    if suggestion.diverges is not None:
        found.append((suggestion.diverges, "it diverges: half of the fall is lost again", ""))
    inside = sorted(one for one in found if curve.rates[0] <= one[0] <= curve.rates[-1])
    return [Mark(rate, smooth[_place(curve, rate)], what, sign) for rate, what, sign in inside]


def _place(curve: Curve, rate: float) -> int:
    """The update that had this rate, or the next higher one."""
    return min(bisect.bisect_left(curve.rates, rate * (1 - 1e-9)), len(curve.rates) - 1)


def ceiling(curve: Curve) -> float:
    """The highest loss that is drawn as it is."""
    return curve.start + ABOVE * (curve.start - min(curve.smooth)) + 1e-9


def decades(lowest: float, highest: float) -> list[float]:
    """Powers of ten between two rates, both included."""
    first, last = math.ceil(math.log10(lowest) - 1e-9), math.floor(math.log10(highest) + 1e-9)
    return [10.0**power for power in range(first, last + 1)]


def text_plot(curve: Curve, found: list[Mark]) -> str:
    """Loss over rate, both axes labelled, a sign below each rate that has one."""
    smooth, top = curve.smooth, ceiling(curve)
    low, high = math.log(curve.rates[0]), math.log(curve.rates[-1])
    least = min(smooth)

    def column(rate: float) -> int:
        return round((math.log(rate) - low) / (high - low) * (WIDTH - 1))

    grid = [[" "] * WIDTH for _ in range(HEIGHT)]
    for place in range(WIDTH):
        loss = smooth[_place(curve, math.exp(low + place / (WIDTH - 1) * (high - low)))]
        grid[round((top - min(loss, top)) / (top - least) * (HEIGHT - 1))][place] = DOT
    lines = []
    for number, row in enumerate(grid):
        value = top - number / (HEIGHT - 1) * (top - least)
        label = f"{value:8.3f} ┤" if number % 2 == 0 else f"{'':8} │"
        lines.append(label + "".join(row).rstrip())
    axis, names = ["─"] * WIDTH, [" "] * (WIDTH + 8)
    for rate in decades(curve.rates[0], curve.rates[-1]):
        axis[column(rate)] = "┬"
        names[column(rate) : column(rate) + 5] = f"{rate:.0e}"
    signs = [" "] * WIDTH
    for mark in found:
        if mark.sign:
            signs[column(mark.rate)] = mark.sign
    lines += [f"{'':8} └{''.join(axis)}", *(f"{'':10}{''.join(line).rstrip()}" for line in (signs, names))]
    return "\n".join(lines)


def table(found: list[Mark]) -> str:
    """A line for each mark."""
    lines = [("rate", "loss", "", "")]
    lines += [(f"{mark.rate:.2g}", f"{mark.loss:.3f}", mark.sign, mark.what) for mark in found]
    wide, high = (max(len(line[column]) for line in lines) for column in (0, 1))
    return "\n".join(f"  {rate:>{wide}}  {loss:>{high}}  {sign:1} {what}".rstrip() for rate, loss, sign, what in lines)
