"""What fits into memory: how many sequences go through the model at once, and what is computed twice rather than kept."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from torch import nn

from cai import randomness
from cai.errors import ConfigError, TrainingError
from cai.symptoms.failures import first_line, memory_of
from cai.symptoms.table import tell

if TYPE_CHECKING:
    from cai.trainer.trainer import TrainerConfig

log = logging.getLogger(__name__)

T = TypeVar("T")

LARGER = 2
"""Times the sequences of a training pass, in passes without gradients."""


CACHE = 2**22
"""Bytes of a layer's widest activations that a CPU still works on quickly (measured; its last cache holds a few of them)."""


def sequences_in_cache(model: nn.Module, block_size: int, element_size: int) -> int:
    """How many sequences a CPU best takes at once, activations having ``element_size`` bytes: more are slower, as what they
    leave behind goes to memory and back."""
    widths = (m.out_features for name, m in model.named_modules() if isinstance(m, nn.Linear) and name != "lm_head")
    return max(1, CACHE // (element_size * max(widths, default=1) * block_size))


class MicroBatch:
    """The size of a forward pass. With ``auto`` it begins with the whole batch, or a part that is ``at_most`` so large, and
    halves whenever memory runs out.
    """

    def __init__(
        self, size: int | Literal["auto"], batch_size: int, at_most: int | None = None, *, alone: bool = True
    ) -> None:
        """``alone``: no other process waits for this one's passes, so it may try them again."""
        self.alone = alone
        self.auto = size == "auto"
        self.batch_size = batch_size
        self.size = self._part(at_most or batch_size) if size == "auto" else size

    def fit(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, called with an ever smaller ``size`` until it fits; each try draws the same numbers.

        ``work`` must be repeatable: nothing it does before it runs out of memory may last. Raises ``TrainingError`` if not
        even one sequence fits, or if ``size`` is the user's own.
        """
        put_back = randomness.remember()
        while True:
            try:
                return work()
            except BaseException as error:  # an abandoned step too has drawn nothing
                put_back()
                if not is_out_of_memory(error):
                    raise
                memory, reason = memory_of(error) or "", first_line(error)
            # Out of the `except` block: the error holds the frames, and they hold the memory.
            self._shrink(memory, reason)

    def fit_forward(self, work: Callable[[int], T]) -> T:
        """``work(size)`` for passes without gradients, which keep nothing for a way back: with more sequences at once than
        training takes, or as many if those do not fit. Beside other processes as many, which then all take."""
        if not self.alone:
            return self.fit(lambda: work(self.size))
        put_back = randomness.remember()
        try:
            return work(LARGER * self.size)
        except BaseException as error:
            put_back()
            if not is_out_of_memory(error):
                raise
        return self.fit(lambda: work(self.size))

    def _part(self, at_most: int) -> int:
        """The largest divisor of the batch that is at most this."""
        return max(n for n in range(1, min(at_most, self.batch_size) + 1) if self.batch_size % n == 0)

    def _shrink(self, memory: str, reason: str) -> None:
        """``memory``: the symptom's row, of the memory that ran out; ``reason``: what PyTorch says."""
        if not (self.auto and self.alone) or self.size == 1:
            what = f"{self.size} sequence{'s' * (self.size > 1)} at once (trainer.micro_batch_size)"
            remedy = "less" if self.auto and self.size == 1 else "fewer_at_once"
            raise TrainingError.of(tell(memory, remedy, what=what, reason=reason))
        before, self.size = self.size, self._part(self.size // 2)
        log.warning("out of memory with trainer.micro_batch_size=%d; going on with %d", before, self.size)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()


def trade_memory(model: nn.Module, config: TrainerConfig) -> None:
    """Set a model's switches that trade time for memory. Raises ``ConfigError`` if it has none and one is asked for."""
    asked = {
        "chunked_loss": None if config.chunked_loss == "auto" else config.chunked_loss,
        "gradient_checkpointing": config.gradient_checkpointing,
    }
    for name, value in asked.items():
        if hasattr(model, name):
            setattr(model, name, value)
        elif value:
            raise ConfigError(
                f"`trainer.{name}` needs a model built on cai.model.decoder.Decoder, but {type(model).__name__} is none."
                f" Leave it out, or lower trainer.micro_batch_size."
            )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` is one of PyTorch's ways to say that no memory is left, or none for one tensor: fewer sequences at
    once may do. Not Python's own, which has no room for anything.
    """
    return memory_of(error) is not None and not isinstance(error, MemoryError)
