"""The training loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, Unpack

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from cai.config.base import Config
from cai.errors import TrainingError
from cai.trainer.evaluation import evaluate
from cai.trainer.folder import CheckpointFolder
from cai.trainer.progress import FitResult, Progress
from cai.trainer.stopwatch import Stopwatch
from cai.trainer.update import Updater

if TYPE_CHECKING:
    from cai.device import Device
    from cai.recorder import Recorder
    from cai.schedule.base import Schedule
    from cai.tokens.batches import TokenDataset

log = logging.getLogger(__name__)

PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Samples = Callable[[], list[tuple[str, str]]]
"""Generates texts from the model as it is: (title, text) pairs."""


class TrainerParts(TypedDict):
    """What a trainer is put together from; ``samples`` may be a function that returns an empty list."""

    model: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    dataset: TokenDataset
    device: Device
    recorder: Recorder
    samples: Samples
    seed: int


class TrainerConfig(Config):
    """How long, in what batches, and what is done once in a while."""

    max_steps: PositiveInt | None
    max_epochs: Annotated[float, Field(gt=0)] | None
    batch_size: PositiveInt
    micro_batch_size: PositiveInt | None
    grad_clip: Annotated[float, Field(ge=0)]
    log_every: PositiveInt
    eval_every: Count
    eval_max_tokens: PositiveInt | None
    patience: Count
    sample_every: Count
    samples: Count
    save_every: Count
    keep: Count

    def problems(self) -> Iterator[str]:
        if (self.max_steps is None) == (self.max_epochs is None):
            state = "both are null" if self.max_steps is None else f"are {self.max_steps} and {self.max_epochs}"
            yield (
                f"exactly one of @.max_steps and @.max_epochs must be given, but {state}."
                " Set the other to null, for instance: @.max_steps=null @.max_epochs=3"
            )
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            lower = max(n for n in range(1, self.micro_batch_size) if self.batch_size % n == 0)
            yield (
                f"@.micro_batch_size must divide @.batch_size ({self.batch_size}), but is {self.micro_batch_size}."
                f" Try {lower}."
            )
        if self.patience and not self.eval_every:
            yield (
                f"@.patience counts evaluations and is {self.patience}, but @.eval_every is 0 (never). Try @.eval_every=100."
            )

    def build(self, **parts: Unpack[TrainerParts]) -> Trainer:
        return Trainer(self, **parts)

    def steps(self, n_windows: int) -> int:
        """Optimizer steps of the run, given the windows of an epoch."""
        if self.max_steps is not None:
            return self.max_steps
        assert self.max_epochs is not None
        return max(1, math.ceil(self.max_epochs * n_windows / self.batch_size))


class Trainer:
    """Updates the model step by step and, once in a while, logs, evaluates, samples and saves."""

    def __init__(self, config: TrainerConfig, **parts: Unpack[TrainerParts]) -> None:
        self.config = config
        self.model = parts["model"]
        self.optimizer = parts["optimizer"]
        self.dataset = parts["dataset"]
        self.device = parts["device"]
        self.recorder = parts["recorder"]
        self.samples = parts["samples"]
        self.max_steps = config.steps(self.dataset.n_windows)
        self.updater = Updater(
            self.model,
            self.optimizer,
            parts["schedule"],
            self.dataset,
            self.device,
            batch_size=config.batch_size,
            micro_batch_size=config.micro_batch_size or config.batch_size,
            grad_clip=config.grad_clip,
            seed=parts["seed"],
        )
        self.checkpoints = CheckpointFolder(self.recorder.directory / "checkpoints", config.keep)
        self.progress = Progress()
        self.newest: dict[str, float] = {}
        self._stopwatch = Stopwatch(self.device.synchronize)
        self._tokens_at_lap = 0

    def fit(self) -> FitResult:
        """Train to the last step, or until validation has not improved for ``patience`` evaluations.

        Raises ``TrainingError`` if the loss is not a number any more.
        """
        config, progress = self.config, self.progress
        stopped_early = False
        self.recorder.metrics(progress.step, self._evaluate())
        self._stopwatch.lap()
        with tqdm(total=self.max_steps, initial=progress.step, unit="step", disable=None, dynamic_ncols=True) as bar:
            while progress.step < self.max_steps and not stopped_early:
                loss, grad_norm = self.updater.update(progress.step)
                progress.step += 1
                progress.tokens += config.batch_size * self.dataset.block_size
                bar.update()

                # Once in a while. Other steps do not wait for the device.
                is_last = progress.step == self.max_steps
                saves = is_last or _due(progress.step, config.save_every)
                metrics: dict[str, float] = {}
                if saves or _due(progress.step, config.log_every):
                    metrics |= self._measure(loss, grad_norm)
                    bar.set_postfix_str(f"loss {metrics['train/loss']:.3f}, {metrics['perf/tokens_per_sec']:,.0f} tokens/s")
                if is_last or _due(progress.step, config.eval_every):
                    with self._stopwatch.paused():
                        metrics |= self._evaluate()
                    stopped_early = 0 < config.patience <= progress.evals_without_improvement
                if metrics:
                    self.recorder.metrics(progress.step, metrics)
                if is_last or stopped_early or _due(progress.step, config.sample_every):
                    with self._stopwatch.paused():
                        self._sample()
                if saves or stopped_early:
                    with self._stopwatch.paused():
                        self._save_last()
        return FitResult(
            step=progress.step,
            stopped_early=stopped_early,
            best_val_loss=progress.best_val_loss,
            best_step=progress.best_step,
            metrics=dict(self.newest),
        )

    def reached(self) -> dict[str, Any]:
        """How far it has come, for ``run.json``; right at any moment."""
        best = {"best_val_loss": self.progress.best_val_loss, "best_step": self.progress.best_step}
        return {"steps": self.progress.step, **best, "metrics": dict(self.newest)}

    def estimate_seconds(self) -> float:
        """Expected duration of updates and evaluations, from two trial passes; weights and randomness stay as they are."""
        micro_batch_size = self.updater.micro_batch_size
        x, y = (torch.from_numpy(array) for array in self.dataset.batch(0, micro_batch_size))
        stopwatch = Stopwatch(self.device.synchronize)
        durations = []
        for _ in range(2):
            self.updater.accumulate(x, y, step=0)
            durations.append(stopwatch.lap())
        self.optimizer.zero_grad(set_to_none=True)
        tokens = self.max_steps * self.config.batch_size * self.dataset.block_size
        # A forward pass is about a third of forward and backward together.
        limit = self.config.eval_max_tokens or self.dataset.shards.val.tokens
        evaluations = 2 + (self.max_steps // self.config.eval_every if self.config.eval_every else 0)
        tokens += evaluations * min(limit, self.dataset.shards.val.tokens) // 3
        return min(durations) * tokens / (micro_batch_size * self.dataset.block_size)

    def _measure(self, loss: Tensor, grad_norm: Tensor) -> dict[str, float]:
        """The metrics of a step just taken. Waits for the device."""
        progress = self.progress
        elapsed = self._stopwatch.lap()
        progress.seconds += elapsed
        metrics = {
            "train/loss": float(loss),
            "train/lr": float(self.optimizer.param_groups[0]["lr"]),
            "train/grad_norm": float(grad_norm),
            "perf/tokens_per_sec": (progress.tokens - self._tokens_at_lap) / elapsed,
            "perf/memory_gib": self.device.peak_memory() / 2**30,
        }
        self._tokens_at_lap = progress.tokens
        self.newest |= metrics
        # An infinite gradient is normal under loss scaling, which then skips the step; a loss never is.
        watched = ["train/loss"] if self.updater.scaler.is_enabled() else ["train/loss", "train/grad_norm"]
        for tag in watched:
            if not math.isfinite(metrics[tag]):
                raise TrainingError(
                    f"{tag} must be a finite number, but is {metrics[tag]} at step {progress.step}. Lower optimizer.lr"
                    f" ({metrics['train/lr']:.2g} there) by 3 to 10 times, raise schedule.warmup_steps, or set"
                    " trainer.grad_clip=1.0. Checkpoints saved before are intact."
                )
        return metrics

    def _evaluate(self) -> dict[str, float]:
        """Validation metrics; keeps the best weights and counts evaluations without improvement."""
        progress = self.progress
        result = evaluate(
            self.updater.forward,
            self.dataset,
            self.device,
            batch_size=self.updater.micro_batch_size,
            max_tokens=self.config.eval_max_tokens,
        )
        metrics = {"val/loss": result.loss, "val/bits_per_byte": result.bits_per_byte}
        self.newest |= metrics
        log.info("step %d: val loss %.4f, %.4f bits per byte", progress.step, *metrics.values())
        if not math.isfinite(result.loss):
            raise TrainingError(
                f"val/loss must be a finite number, but is {result.loss} after step {progress.step}. Lower optimizer.lr by 3"
                " to 10 times, or raise schedule.warmup_steps. Checkpoints saved before are intact."
            )
        if progress.judge(result.loss):
            self.checkpoints.save_best(self.model, asdict(progress))
        return metrics

    def _sample(self) -> None:
        for title, text in self.samples():
            self.recorder.sample(self.progress.step, title, text)

    def _save_last(self) -> None:
        self.recorder.flush()  # a checkpoint never knows of a step whose metrics could still be lost
        state = asdict(self.progress) | {"scaler": self.updater.scaler.state_dict()}
        self.checkpoints.save_last(self.model, self.optimizer, state)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
