"""How far training has come, and how it ended."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

log = logging.getLogger(__name__)

RECENT = 20
"""Logged losses that a new one is judged against."""
SPIKE = 6.0
"""Standard deviations above their mean that make a spike."""

WORSE_EVALS, WORSE, WORSE_TRAIN = 2, 1.01, 1.05
"""Evaluations without a better one, and how much worse than the best and than training validation must be to speak of it."""


def due(step: int, every: int) -> bool:
    """Whether what is done every so many steps (0: never) is done after this one."""
    return every > 0 and step > 0 and step % every == 0


@dataclass
class Progress:
    """All that changes during training beside tensors: saved with each checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """Spent in updates, without evaluation, sampling and saving."""
    best_val_loss: float | None = None
    best_step: int = 0
    evals_without_improvement: int = 0
    owed: dict[str, float] | None = field(default_factory=dict)
    """The metrics of ``step`` whose evaluation, samples or line in the record are still to come; ``None``: nothing is."""
    pruned: bool = False
    """Whether siblings in a sweep have done so much better that it stops here."""
    recent_losses: list[float] = field(default_factory=list)
    spikes: list[int] = field(default_factory=list)
    """The newest hundred steps whose logged loss stood out of those before."""

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """From the state of a checkpoint."""
        return cls(**{one.name: state[one.name] for one in fields(cls) if one.name in state})

    def judge(self, val_loss: float) -> bool:
        """Take in an evaluation. Whether it is the best so far; the best only ever falls."""
        if self.best_val_loss is None or val_loss < self.best_val_loss:
            self.best_val_loss, self.best_step, self.evals_without_improvement = val_loss, self.step, 0
            return True
        self.evals_without_improvement += 1
        return False

    def is_over(self, max_steps: int, patience: int) -> bool:
        """Whether no step is to come: all are taken, validation improves no more, or siblings do better."""
        return self.step >= max_steps or self.pruned or 0 < patience <= self.evals_without_improvement

    def advise(self, metrics: Mapping[str, float]) -> None:
        """Take in what was measured, and say what a person should know of it."""
        spike = self.watch(metrics["train/loss"]) if "train/loss" in metrics else None
        for sentence in (spike, self.overfits(metrics)):
            if sentence:
                log.warning("%s", sentence)

    def overfits(self, metrics: Mapping[str, float]) -> str | None:
        """After an evaluation; a sentence if validation gets worse while the train text gets better: ever less often."""
        val, train, best = metrics.get("val/loss"), metrics.get("train/loss"), self.best_val_loss
        evals = self.evals_without_improvement
        if val is None or train is None or best is None or evals < WORSE_EVALS or evals & (evals - 1):
            return None
        if val < WORSE * best or train > val / WORSE_TRAIN:
            return None
        return (
            f"step {self.step}: val/loss has risen to {val:.4f} from {best:.4f} (step {self.best_step}), while train/loss is"
            f" {train:.4f}: the text is being learned by heart. Try model.dropout=0.1, a larger optimizer.weight_decay, more"
            " text, or a smaller model; trainer.patience=3 stops in time. The best weights are kept as `best`."
        )

    def watch(self, loss: float) -> str | None:
        """Take in a logged loss; a sentence if it is a spike, far above the ones logged before it."""
        if not math.isfinite(loss):  # an update that was passed over
            return None
        before, self.recent_losses = self.recent_losses, [*self.recent_losses, loss][-RECENT:]
        if len(before) < RECENT:
            return None
        mean, deviation = statistics.fmean(before), statistics.pstdev(before)
        if loss <= max(mean + SPIKE * deviation, 1.1 * mean):
            return None
        self.spikes = [*self.spikes, self.step][-100:]
        return (
            f"step {self.step}: train/loss {loss:.4f} is a spike: the last {RECENT} were {mean:.4f} ± {deviation:.4f}."
            " If spikes come often, lower optimizer.lr or trainer.grad_clip."
        )

    def result(self, max_steps: int, metrics: Mapping[str, float]) -> FitResult:
        """At the end of training; ``metrics`` are the newest."""
        early = self.step < max_steps and not self.pruned
        return FitResult(self.step, early, self.best_val_loss, self.best_step, dict(metrics), self.pruned)

    def reached(self) -> dict[str, Any]:
        """For ``run.json``."""
        best = {"best_val_loss": self.best_val_loss, "best_step": self.best_step}
        return {
            "steps": self.step,
            "pruned": self.pruned,
            **best,
            "seconds": round(self.seconds, 3),
            "loss_spikes": self.spikes,
        }


@dataclass(frozen=True)
class FitResult:
    """How training ended."""

    step: int
    stopped_early: bool
    best_val_loss: float | None
    best_step: int
    metrics: dict[str, float]
    """The newest value of each metric."""
    pruned: bool = False
    """Whether it stopped because siblings in its sweep did better."""
