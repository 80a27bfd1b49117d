"""The exponential moving average of the weights: a smoother model than the one that learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cai.interruption import deferred
from cai.sharding import collected, divided_as, is_divided, local
from cai.trainer.state import plain_name


class WeightAverage:
    """Follows a model's parameters (Polyak and Juditsky 1992); evaluated, sampled from and used in their place.

    With ``decay`` 0 there is none, and nothing here does anything.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        named = model.named_parameters() if decay else ()
        self._parameters = {plain_name(name): p for name, p in named if p.requires_grad}
        self._average = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._applied = False

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update number ``step``. At first it follows faster, so as to forget the initial ones."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        averages = [local(average) for average in self._average.values()]
        torch._foreach_lerp_(averages, [local(p) for p in self._parameters.values()], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model's parameters are the average."""
        try:
            self._exchange(applied=True)
            yield
        finally:
            self.put_back()

    def put_back(self) -> None:
        """Make the model's parameters its own again, should they be the average."""
        self._exchange(applied=False)

    def state(self) -> dict[str, Tensor]:
        """The average by parameter name; for a checkpoint."""
        return {name: collected(average) for name, average in self._average.items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put back what ``state`` returned."""
        for name, average in self._average.items():
            average.copy_(divided_as(state[name], average))

    def _exchange(self, *, applied: bool) -> None:
        with deferred(then_raise=False):  # never half of them
            if applied != self._applied:
                for name, p in self._parameters.items():
                    if is_divided(p):  # what is gathered for a pass is taken from where the part lies
                        part, other = local(p.data), local(self._average[name])
                        kept = part.clone()
                        part.copy_(other)
                        other.copy_(kept)
                    else:
                        p.data, self._average[name] = self._average[name], p.data
                self._applied = applied
