"""Text for a terminal: rows in columns, and a curve in a few lines of block characters."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence

from cai.columns import pad, width


def aligned(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """A line for each row; the columns of these numbers begin where they begin, the others end where they end.

    A column without a text is left out.
    """
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    columns = [index for index, size in enumerate(widths) if size]
    return ["  ".join(pad(row[i], widths[i], right=i not in left) for i in columns).rstrip() for row in rows]


NAMES = 15
"""Columns for the names of ``named``, blanks before and behind them included."""


def named(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Names and what there is to say of each, in two columns; sentences folded, but never a word of them."""
    lines = []
    for name, text in rows:
        beginning, behind = f"  {name:<{NAMES - 2}}", " " * NAMES
        room = 120 if text.isascii() else 80  # a Hangul syllable takes two columns
        lines += textwrap.wrap(
            f"{beginning}{text}", room, subsequent_indent=behind, break_long_words=False, break_on_hyphens=False
        ) or [""]
    return lines


BLOCKS = " ▁▂▃▄▅▆▇█"
LEAST = 1e-3
"""Below it a curve is drawn at it: its axis is a logarithm."""
STEEP = 0.1
"""The part of the steps at the beginning that the axis does not reach up to: there a loss falls most, and tells least."""
ENOUGH = 5
"""Values after it without which it does."""

Series = tuple[Sequence[int], Sequence[float]]
"""Steps, ascending, and values."""


def curves(series: Mapping[str, Series], columns: int = 60, rows: int = 4) -> list[str]:
    """Each curve as an area of block characters ``rows`` lines high under its name, all on one axis of steps and one of
    logarithms; nothing of one that has no values.
    """
    there = {name: pair for name, pair in series.items() if pair[0]}
    if not there:
        return []
    first, last = min(steps[0] for steps, _ in there.values()), max(steps[-1] for steps, _ in there.values())
    late = first + STEEP * (last - first)
    everything = [value for _, values in there.values() for value in values]
    settled = [value for steps, values in there.values() for step, value in zip(steps, values, strict=True) if step >= late]
    settled = settled if len(settled) >= ENOUGH else everything
    low, high = (math.log(max(value, LEAST)) for value in (min(everything), max(settled)))
    top, bottom = f"{'≥' * (max(everything) > max(settled))}{math.exp(high):.4g}", f"{math.exp(low):.4g}"
    lines = []
    for name, (steps, values) in there.items():
        logs = [math.log(max(value, LEAST)) for value in values]
        drawn = _resampled(steps, logs, first, last, columns)
        heights = [None if one is None else min(1.0, (one - low) / ((high - low) or 1.0)) for one in drawn]
        lines.append(f"{name}: {values[0]:.4g} at step {steps[0]:,}, {values[-1]:.4g} at step {steps[-1]:,}")
        lines += _area(heights, rows, top, bottom)
    return lines


def _resampled(steps: Sequence[int], values: Sequence[float], first: int, last: int, columns: int) -> list[float | None]:
    """A value for each of as many equal parts of the steps: the mean of those in it, or else what lies on the line between
    its neighbours. ``None`` beyond the ends."""
    width = max(last - first, 1) / columns
    places = [min(columns - 1, int((step - first) / width)) for step in steps]
    means = {place: statistics.fmean(v for p, v in zip(places, values, strict=True) if p == place) for place in set(places)}
    known = sorted(means)
    filled: list[float | None] = []
    for place in range(columns):
        before = max((one for one in known if one <= place), default=None)
        behind = min((one for one in known if one >= place), default=None)
        if before is None or behind is None:
            filled.append(None)
        else:
            share = (place - before) / (behind - before) if behind > before else 0.0
            filled.append(means[before] + share * (means[behind] - means[before]))
    return filled


def _area(heights: Sequence[float | None], rows: int, top: str, bottom: str) -> list[str]:
    """``heights`` in [0, 1] as lines; even the lowest is to be seen."""
    eighths = [0 if height is None else 1 + round(height * (8 * rows - 1)) for height in heights]
    margin = max(len(top), len(bottom))
    lines = []
    for row in range(rows - 1, -1, -1):
        label = top if row == rows - 1 else bottom if row == 0 else ""
        cells = "".join(BLOCKS[min(8, max(0, height - 8 * row))] for height in eighths)
        lines.append(f"{label:>{margin}} {cells}".rstrip())
    return lines
