"""How far training has come, and how it ended."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from cai.symptoms import training
from cai.symptoms.training import RECENT

if TYPE_CHECKING:
    from cai.symptoms.table import Told
    from cai.trainer.trainer import Trainer

log = logging.getLogger(__name__)


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
    worst_loss: float = 0.0
    """Of those that were logged."""
    told: list[str] = field(default_factory=list)
    """The symptoms that are told once, and have been."""

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

    def advise(self, metrics: Mapping[str, float], trainer: Trainer) -> None:
        """Take in what ``trainer`` measured, and say what a person should know of it."""
        for told in self._symptoms(metrics, trainer):
            log.warning("%s", told.sentence)

    def _symptoms(self, metrics: Mapping[str, float], trainer: Trainer) -> Iterator[Told]:
        found: list[Told | None] = []
        if "train/loss" in metrics:
            found += [self.watch(metrics["train/loss"]), self.stuck(trainer)]
        if "perf/tokens_per_sec" in metrics:
            found.append(trainer.meter.pace.look(self.step, metrics["perf/tokens_per_sec"]))
        # Not where it is what is wanted; and what is not learned at all is not learned by heart.
        if not trainer.config.overfit_batches and "stuck" not in self.told:
            found.append(self.overfits(metrics))
        return (told for told in found if told is not None)

    def overfits(self, metrics: Mapping[str, float]) -> Told | None:
        """After an evaluation: whether validation gets worse while the train text gets better. Told ever less often."""
        val, train, best = metrics.get("val/loss"), metrics.get("train/loss"), self.best_val_loss
        evals = self.evals_without_improvement
        if val is None or train is None or best is None or evals & (evals - 1):
            return None
        return training.overfitting(self.step, val, train, best, self.best_step, evals)

    def watch(self, loss: float) -> Told | None:
        """Take in a logged loss: whether it is a spike, far above the ones logged before it."""
        if not math.isfinite(loss):  # an update that was passed over
            return None
        before, self.recent_losses = self.recent_losses, [*self.recent_losses, loss][-RECENT:]
        self.worst_loss = max(self.worst_loss, loss)
        told = training.spike(self.step, loss, before)
        if told is not None:
            self.spikes = [*self.spikes, self.step][-100:]
        return told

    def stuck(self, trainer: Trainer) -> Told | None:
        """Whether the logged losses show that nothing was learned yet, though it is time. Told once."""
        if "stuck" in self.told or not training.is_judged(self.step, trainer.max_steps):
            return None
        # Of updates that were taken: a schedule is not asked for one that may never come.
        before, newest = (trainer.updater.lrs(step)[0] for step in (max(0, self.step - 2), self.step - 1))
        if newest > before:  # still warming up
            return None
        floor, vocab_size = trainer.dataset.loss_without_context, trainer.dataset.shards.vocab_size
        lr = trainer.updater.peak_lrs[0]
        told = training.stuck(self.step, self.recent_losses, self.worst_loss, floor, vocab_size, lr)
        if told is not None:
            self.told = [*self.told, told.name]
        return told

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
