"""How far training has come, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass


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

    def judge(self, val_loss: float) -> bool:
        """Take in an evaluation. Whether it is the best so far; the best only ever falls."""
        if self.best_val_loss is None or val_loss < self.best_val_loss:
            self.best_val_loss, self.best_step, self.evals_without_improvement = val_loss, self.step, 0
            return True
        self.evals_without_improvement += 1
        return False


@dataclass(frozen=True)
class FitResult:
    """How training ended."""

    step: int
    stopped_early: bool
    best_val_loss: float | None
    best_step: int
    metrics: dict[str, float]
    """The newest value of each metric."""
