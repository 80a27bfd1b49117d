"""What every model is to the rest of CAI."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from cai.config.base import Config

if TYPE_CHECKING:
    from torch import nn

IGNORE_INDEX = -100
"""Targets with this value do not count in the loss."""

Probability = Annotated[float, Field(ge=0, lt=1)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]


class ModelConfig(Config, ABC):
    """Base of all model configs.

    ``build`` returns a module with two calls: ``model(ids)`` gives logits ``(B, T, V)``; ``model(ids, targets)`` gives the
    *sum* of the cross-entropy in nats over all targets that are not ``IGNORE_INDEX``. A sum, because the mean belongs to the
    whole optimizer step, which the trainer may cut into micro-batches.

    If it is to learn from rows of several documents that know nothing of each other (``data.isolate``), it also takes
    ``model(ids, targets, segments)``: where the numbers in ``segments (B, T)`` differ are two documents, and each must be
    computed as if it stood alone in its row, at the positions 0, 1, ...
    """

    block_size: PositiveInt

    @abstractmethod
    def build(self, vocab_size: int) -> nn.Module:
        """A freshly initialised model; the global torch RNG decides the weights."""


def must_be_multiple(name: str, value: int, of: str, unit: int) -> Iterator[str]:
    """A sentence if ``value`` of the option ``name`` is no multiple of ``unit``, which is what ``of`` says."""
    if rest := value % unit:
        ways = " or ".join(str(n) for n in (value - rest, value - rest + unit) if n)
        yield f"@.{name} must be a multiple of {of} ({unit}), but is {value}. Try {ways}."
