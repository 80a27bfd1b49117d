"""A loss or gradient that is no number: noticed before it can do harm, told with all that helps to find the cause."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from cai.errors import TrainingError
from cai.symptoms.table import tell

log = logging.getLogger(__name__)

LARGEST = 5
"""How many parameters are named with their gradient."""


class FiniteGuard:
    """Looks at the loss and the gradient of each update before it is applied.

    On a CPU a look is free and the update is held back at once. On an accelerator a look waits for all queued work, so the
    first bad update is only noted there, and told by the next ``check`` (before anything is logged or saved); unless
    ``skip`` asks for a decision at every step.
    """

    def __init__(
        self, names: list[str], *, on_nonfinite: Literal["stop", "skip"], max_skipped: int, waits: bool, scaled: bool
    ) -> None:
        """``names`` of the parameters. ``waits``: a look waits for the device. ``scaled``: under loss scaling, where an
        infinite gradient is normal and the scaler itself passes over the update."""
        self.names = names
        self.skips = on_nonfinite == "skip"
        self.max_skipped = max_skipped
        self.at_once = self.skips or not waits
        self.scaled = scaled
        self.skipped = 0
        self._first: dict[str, Tensor] = {}

    def admits(self, step: int, loss: Tensor, grad_norm: Tensor, norms: Tensor, circumstances: Callable[[int], str]) -> bool:
        """Whether update number ``step`` may be applied. ``norms (P,)`` are those of each parameter's gradient.

        ``circumstances`` describes a step's batch and learning rate. Raises ``TrainingError`` if training cannot go on.
        """
        bad = ~torch.isfinite(loss) if self.scaled else ~(torch.isfinite(loss) & torch.isfinite(grad_norm))
        if not self.at_once:
            self._note(step, bad, loss, norms)
            return True
        if not bad:
            return True
        if not self.skips or self.skipped == self.max_skipped:
            self._refuse(step, float(loss), norms, circumstances)
        self.skipped += 1
        log.warning(
            "step %d: update passed over, as %s is not finite (%d of at most %d, trainer.max_skipped)",
            step + 1,
            self._which(float(loss)),
            self.skipped,
            self.max_skipped,
        )
        return False

    def check(self, circumstances: Callable[[int], str]) -> None:
        """Raise ``TrainingError`` if an update since the last look was bad. Waits for the device."""
        if self._first and (step := int(self._first["step"])) >= 0:
            self._refuse(step, float(self._first["loss"]), self._first["norms"], circumstances)

    def _note(self, step: int, bad: Tensor, loss: Tensor, norms: Tensor) -> None:
        """Keep the first bad update, all on the device."""
        now = {"step": torch.full_like(loss, step, dtype=torch.int64), "loss": loss, "norms": norms}
        if not self._first:
            self._first = {**now, "step": torch.full_like(now["step"], -1)}
        is_first = bad & (self._first["step"] < 0)
        self._first = {key: torch.where(is_first, value, self._first[key]) for key, value in now.items()}

    def _refuse(self, step: int, loss: float, norms: Tensor, circumstances: Callable[[int], str]) -> None:
        by_size = sorted(zip(norms.tolist(), self.names, strict=True), key=lambda pair: -_rank(pair[0]))
        largest = ", ".join(f"{name} {norm:.3g}" for norm, name in by_size[:LARGEST])
        value = loss if not math.isfinite(loss) else max(norms.tolist(), key=_rank)
        skipped = f" {self.skipped} such updates were passed over before (trainer.max_skipped)." if self.skips else ""
        more = f"{skipped} {circumstances(step)} Largest gradients: {largest}."
        remedy = "calmer" if self.skips else "calmer_or_skip"
        which = self._which(loss)
        raise TrainingError.of(tell("nonfinite", remedy, which=which, value=value, when=f"at step {step + 1}", more=more))

    def _which(self, loss: float) -> str:
        return "train/grad_norm" if math.isfinite(loss) else "train/loss"


def _rank(norm: float) -> float:
    """NaN above infinity above numbers."""
    return math.inf if math.isnan(norm) else min(norm, 1e300)
