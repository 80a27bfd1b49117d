"""What can be seen to be wrong with a training: with its plan, and with its curve as it comes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from cai.symptoms.table import Told, tell

SMALL_TEXT, SMALL_MODEL = 1e6, 2e6
"""Training tokens below which, and parameters beside the embeddings above which, a model is large for its text."""

USUAL_EPOCHS = ((3e6, 5, 10), (3e7, 2, 3), (float("inf"), 1, 1))
"""Up to how many training tokens, and how many epochs are usual: the founding advice, at 1, 10 and 100 million."""

RECENT = 20
"""Logged losses that a new one is judged against."""
SPIKE = 6.0
"""Standard deviations above their mean that make a spike."""

WORSE_EVALS, WORSE, WORSE_TRAIN = 2, 1.01, 1.05
"""Evaluations without a better one, and how much worse than the best and than training validation must be to speak of it."""

JUDGED_SHARE, JUDGED_STEPS, JUDGED_LATEST, JUDGED_RUN = 0.25, 300, 3000, 100
"""A loss is judged after this share of the steps, but not before so many nor later than so many; a shorter run at its end,
and one of fewer than 100 steps never."""
NEWEST = 10
"""Logged losses whose mean is judged."""
HARDLY = 0.985
"""Of the loss without context: nothing is learned above it.

Measured on 58 runs of 200 or 300 steps, of three models and optimizers on three texts, at rates from a thousandth to a
thousand times the default: told of none within 3 times the best rate; where it says too low or too high, it is.
"""
LOW = 0.1
"""Nats: with less nothing is left to be learned, as of a text that is one letter again and again."""
THROWN = 1.05
"""Of the loss of equal tokens: no model begins above it."""
NEAR = 0.1
"""Of the way from the loss without context to that of all tokens being equal: further up a rate is too low."""

SPEEDS = 5
"""Logged speeds whose median is one."""
SLOWED = 3.0
"""Times the speed was higher at its best."""


def unusual_epochs(tokens: int, epochs: float) -> Iterator[Told]:
    """By the founding advice: whether a text of so many ``tokens`` is read more or less often than is usual."""
    _, least, most = next(row for row in USUAL_EPOCHS if tokens < row[0])
    usual = f"{least} to {most} epochs are" if most > least else "1 epoch is"
    if round(epochs) < least:
        yield tell("few_epochs", usual=usual, tokens=tokens / 1e6, least=least)
    elif round(epochs) > most:
        yield tell("many_epochs", usual=usual, tokens=tokens / 1e6)


def large_model(tokens: int, parameters: int) -> Iterator[Told]:
    """By the founding advice: whether a model with so many ``parameters`` beside its embeddings is large for a text."""
    if tokens < SMALL_TEXT and parameters > SMALL_MODEL:
        yield tell("large_model", parameters=parameters / 1e6, tokens=tokens / 1e6)


def spike(step: int, loss: float, before: Sequence[float]) -> Told | None:
    """Whether a logged ``loss`` is far above the newest ones ``before`` it."""
    if len(before) < RECENT:
        return None
    mean, deviation = statistics.fmean(before), statistics.pstdev(before)
    if loss <= max(mean + SPIKE * deviation, 1.1 * mean):
        return None
    return tell("spike", step=step, loss=loss, recent=RECENT, mean=mean, deviation=deviation)


def overfitting(step: int, val: float, train: float, best: float, best_step: int, evals: int) -> Told | None:
    """Whether validation gets worse while the train text gets better, ``evals`` evaluations after the best."""
    if evals < WORSE_EVALS or val < WORSE * best or train > val / WORSE_TRAIN:
        return None
    return tell("overfitting", step=step, val=val, best=best, best_step=best_step, train=train)


def is_judged(step: int, max_steps: int) -> bool:
    """Whether a training has come far enough for its loss to tell whether it falls."""
    enough = max(JUDGED_STEPS, min(JUDGED_LATEST, JUDGED_SHARE * max_steps))
    return max_steps >= JUDGED_RUN and step >= min(max_steps, enough)


def stuck(step: int, losses: Sequence[float], worst: float, floor: float, vocab_size: int, lr: float) -> Told | None:
    """Whether the newest of the logged ``losses`` are no better than ``floor``, what a model without context reaches.

    Each begins at the loss of equal tokens. One that was far above it (``worst``) was thrown there by too high a rate; one
    that has never been and is still far from the floor falls too slowly.
    """
    if len(losses) < NEWEST or (loss := statistics.fmean(losses[-NEWEST:])) < max(HARDLY * floor, LOW):
        return None
    start = math.log(vocab_size)
    is_far = loss > floor + NEAR * (start - floor)
    remedy = "slower" if worst > THROWN * start else "faster" if is_far else "another_rate"
    return tell("stuck", remedy, step=step, loss=loss, floor=floor, lr=lr)


class Pace:
    """The speed of a training as it comes."""

    def __init__(self) -> None:
        self._recent: list[float] = []
        self._best = 0.0
        self._is_told = False

    def look(self, step: int, speed: float) -> Told | None:
        """Take in a logged ``speed`` (tokens/s): whether the newest are far below the best before. Told once."""
        self._recent = [*self._recent, speed][-SPEEDS:]
        now = statistics.median(self._recent)
        if len(self._recent) < SPEEDS:
            return None
        self._best = max(self._best, now)
        if self._is_told or now * SLOWED > self._best:
            return None
        self._is_told = True
        return tell("slowed", step=step, now=now, before=self._best)
