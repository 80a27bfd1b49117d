"""The space of a search: for each option the values it may take. They are drawn by Optuna and written as they are typed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

DIGITS = 4
"""Significant digits of a drawn number, so that the name of a folder says exactly what was trained."""


class Dimension(Protocol):
    """What one option may be."""

    def draw(self, trial: BaseTrial, key: str) -> str:
        """The value of ``key`` in a trial, as text for a command line; the same text whenever it is asked for."""

    def probes(self) -> tuple[str, ...]:
        """Values to see whether the option takes such: all of a choice, else both ends."""

    @property
    def size(self) -> float:
        """How many values there are; infinite for an interval of real numbers."""


Space = Mapping[str, Dimension]
"""Dotted path of an option, or name of a group, → its dimension."""


@dataclass(frozen=True)
class Choice:
    """Values without order, as they are typed."""

    values: tuple[str, ...]

    def draw(self, trial: BaseTrial, key: str) -> str:
        return str(trial.suggest_categorical(key, self.values))

    def probes(self) -> tuple[str, ...]:
        return self.values

    @property
    def size(self) -> float:
        return len(self.values)


@dataclass(frozen=True)
class Whole:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def draw(self, trial: BaseTrial, key: str) -> str:
        return str(trial.suggest_int(key, self.low, self.high, step=self.step, log=self.log))

    def probes(self) -> tuple[str, ...]:
        return str(self.low), str(self.high)

    @property
    def size(self) -> float:
        return (self.high - self.low) // self.step + 1


@dataclass(frozen=True)
class Real:
    """Real numbers from ``low`` to ``high``."""

    low: float
    high: float
    log: bool = False

    def draw(self, trial: BaseTrial, key: str) -> str:
        return repr(rounded(trial.suggest_float(key, self.low, self.high, log=self.log), self.low, self.high))

    def probes(self) -> tuple[str, ...]:
        return repr(self.low), repr(self.high)

    @property
    def size(self) -> float:
        return math.inf


@dataclass(frozen=True)
class Steps:
    """Real numbers at equal distances: ``count`` of them from ``low`` on, exact in decimals."""

    low: Decimal
    step: Decimal
    count: int

    def draw(self, trial: BaseTrial, key: str) -> str:
        low, high, step = float(self.low), float(self._at(self.count - 1)), float(self.step)
        return repr(float(self._at(round((trial.suggest_float(key, low, high, step=step) - low) / step))))

    def probes(self) -> tuple[str, ...]:
        return repr(float(self.low)), repr(float(self._at(self.count - 1)))

    @property
    def size(self) -> float:
        return self.count

    def _at(self, number: int) -> Decimal:
        return self.low + number * self.step


def interval(low: float, high: float, *, log: bool, takes_whole: Callable[[str], bool]) -> Whole | Real:
    """Numbers from ``low`` to ``high``: whole ones if both ends are ``int``, or both are whole and the option
    ``takes_whole`` numbers alone, asked with the lower one. Raises ``ValueError`` with the rule that is broken.
    """
    if not -math.inf < low < high < math.inf:
        raise ValueError("must have two ends, the lower one first")
    if log and low <= 0:
        raise ValueError("must begin above 0 where it is tagged log")
    are_int = isinstance(low, int) and isinstance(high, int)
    if are_int or (low == int(low) and high == int(high) and takes_whole(str(int(low)))):
        return Whole(int(low), int(high), log=log)
    return Real(float(low), float(high), log=log)


def steps(start: float, stop: float, step: float) -> Whole | Steps:
    """The numbers of ``range(start,stop,step)``: from ``start`` on, without ``stop``. Raises ``ValueError``."""
    if not all(map(math.isfinite, (start, stop, step))) or step == 0:
        raise ValueError("must be range(start,stop,step) with a step other than 0")
    first, distance = Decimal(str(start)), Decimal(str(step))
    count = math.ceil((Decimal(str(stop)) - first) / distance)
    if count < 1:
        raise ValueError("must hold a number (the last one is before the stop)")
    low, distance = min(first, first + (count - 1) * distance), abs(distance)
    if all(isinstance(number, int) for number in (start, stop, step)):
        return Whole(int(low), int(low + (count - 1) * distance), int(distance))
    return Steps(low, distance, count)


def rounded(value: float, low: float, high: float) -> float:
    """``value`` with ``DIGITS`` significant digits, with more where the interval is narrow; never outside of it."""
    scale = min(abs(value), high - low)
    if scale == 0:
        return value
    return min(max(round(value, DIGITS - 1 - math.floor(math.log10(scale))), low), high)


def points_of(space: Space) -> float:
    """How many points a space has."""
    return math.prod(dimension.size for dimension in space.values())
