"""The training loop."""

from __future__ import annotations

import copy
import logging
import math
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Unpack

from pydantic import Field
from tqdm import tqdm

from cai import randomness
from cai.config.base import Config
from cai.interruption import Interrupted, deferred, requested
from cai.trainer.by_heart import tell_whether_learned
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.folder import CheckpointFolder
from cai.trainer.histograms import Inside
from cai.trainer.meter import Meter
from cai.trainer.parts import TrainerParts
from cai.trainer.profiling import Profile
from cai.trainer.progress import FitResult, Progress, due
from cai.trainer.pruning import Pruner
from cai.trainer.settling import take_stock
from cai.trainer.snapshot import restore_snapshot, take_snapshot, take_weights_alone
from cai.trainer.update import Update, Updater

log = logging.getLogger(__name__)

PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class TrainerConfig(Config):
    """How long, in what batches, and what is done once in a while."""

    max_steps: PositiveInt | None
    max_epochs: Annotated[float, Field(gt=0)] | None
    batch_size: PositiveInt
    micro_batch_size: PositiveInt | Literal["auto"]
    chunked_loss: bool | Literal["auto"]
    gradient_checkpointing: bool
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    grad_clip: Annotated[float, Field(ge=0)]
    on_nonfinite: Literal["stop", "skip"]
    max_skipped: PositiveInt
    log_every: PositiveInt
    eval_every: Count
    eval_max_tokens: PositiveInt | None
    patience: Count
    prune: Literal["median", "asha"] | None
    prune_warmup: Count
    sample_every: Count
    samples: Count
    answers: Count
    histogram_every: Count
    save_every: Count
    keep: Count
    init_from: Annotated[str, Field(min_length=1)] | None
    overfit_batches: Count
    profile: bool
    detect_anomaly: bool
    async_save: bool

    def problems(self) -> Iterator[str]:
        if (self.max_steps is None) == (self.max_epochs is None):
            state = "both are null" if self.max_steps is None else f"are {self.max_steps} and {self.max_epochs}"
            yield (
                f"exactly one of @.max_steps and @.max_epochs must be given, but {state}."
                " Set the other to null, for instance: @.max_steps=null @.max_epochs=3"
            )
        if self.micro_batch_size != "auto" and self.batch_size % self.micro_batch_size:
            lower = max(n for n in range(1, self.micro_batch_size) if self.batch_size % n == 0)
            yield (
                f"@.micro_batch_size must divide @.batch_size ({self.batch_size}), but is {self.micro_batch_size}."
                f" Try {lower}."
            )
        for option in ("patience", "prune"):
            if (value := getattr(self, option)) and not self.eval_every:
                yield f"@.{option} looks at evaluations and is {value}, but @.eval_every is 0 (never). Try @.eval_every=100."

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
        self.built_from = dict(parts.get("built_from", {}))
        self.max_steps = config.steps(self.dataset.n_windows)
        self.updater = Updater(
            config, self.model, self.optimizer, parts["schedule"], self.dataset, self.device, seed=parts["seed"]
        )
        if config.micro_batch_size == "auto" and (size := parts.get("micro_batch_size")):
            self.updater.micro_batch.size = size
        self.world = self.device.world
        saves = {"writes": self.world.is_first, "background": config.async_save}
        self.checkpoints = CheckpointFolder(self.recorder.directory / "checkpoints", config.keep, **saves)
        self.pruner = Pruner(self.recorder.directory.resolve(), config.prune, config.prune_warmup) if config.prune else None
        self.progress = Progress()
        self.newest: dict[str, float] = {}
        self._random: randomness.RandomState | None = None  # of the checkpoint to go on from, put back when `fit` begins
        self._as_owed: Callable[[], None] | None = None  # puts randomness back to where it was before the settling
        self.meter = Meter(self.device, parts.get("flops_per_token"))
        self.inside = Inside(config.histogram_every, self.updater, self.meter, parts.get("prompt"))
        self._saved: tuple[int, bool] | None = None

    def restore(self, source: Path) -> dict[str, Any]:
        """Make ``fit`` go on from the checkpoint at ``source``. Returns its state.

        Raises ``RunError`` if it is missing, damaged, or does not fit the model.
        """
        checkpoint = load_checkpoint(source)
        restore_snapshot(self, checkpoint, source)
        self.progress.pruned &= self.pruner is not None
        self._random, self._saved = checkpoint.random, self._place()
        return checkpoint.state

    def fit(self) -> FitResult:
        """Train to the last step, or until validation has not improved for ``patience`` evaluations.

        Raises ``TrainingError`` if a number is not finite any more, ``Interrupted`` (after a save) if asked to stop.
        """
        randomness.restore(self._random or {})
        self._random = None
        self.meter.start(self.progress)
        shown = None if self.world.is_first else True
        bar = tqdm(total=self.max_steps, initial=self.progress.step, unit="step", disable=shown, dynamic_ncols=True)
        with self._saved_if_interrupted(), bar, self.world.stopping_together(), Profile(self) as profile:
            while True:
                if self.progress.owed is not None:
                    self._settle(self.progress.owed)
                if self.progress.is_over(self.max_steps, self.config.patience):
                    break
                with deferred(), profile.step():
                    self._take_step(bar)
                if self.updater.stops and self.world.size > 1:
                    raise Interrupted(requested() or signal.SIGTERM)
        if self.config.overfit_batches and not self.progress.pruned:
            tell_whether_learned(self)
        return self.progress.result(self.max_steps, self.newest)

    def _take_step(self, bar: tqdm[Any]) -> None:
        """One update, and note what is owed for it. Most steps owe nothing and do not wait for the device."""
        config, progress = self.config, self.progress
        update = self.updater.update(progress.step)
        progress.step += 1
        progress.tokens += config.batch_size * self.dataset.block_size
        bar.update()
        cadences = (config.eval_every, config.sample_every, config.save_every, config.histogram_every)
        if progress.step == self.max_steps or due(progress.step, config.log_every):
            progress.owed = self._measure(update)
            bar.set_postfix_str("loss {train/loss:.3f}, {perf/tokens_per_sec:,.0f} tokens/s".format_map(progress.owed))
        elif any(due(progress.step, every) for every in cadences):
            progress.owed = {}
        if progress.owed is not None:
            self.updater.guard.check(self.updater.circumstances)

    def _settle(self, owed: Mapping[str, float]) -> None:
        """Do what ``owed``, the metrics of the newest step, is still to come with: evaluation, samples, records, a save.

        All is recorded at once at the end: whoever stops this before, finds nothing done, and it is done anew on resuming.
        """
        self._as_owed = randomness.remember()
        progress = copy.copy(self.progress)
        found = take_stock(self, progress, owed)
        with deferred(), self.meter.paused():
            if found.metrics:
                self.recorder.metrics(progress.step, found.metrics)
            for title, text in found.texts:
                self.recorder.sample(progress.step, title, text)
            self.recorder.look(progress.step, found.look)
            progress.advise(found.metrics, self)
            self.newest |= found.metrics
            progress.owed = None
            self.progress, self._as_owed = progress, None
            if found.improved:
                self.recorder.sync()
                with self.updater.average.applied():
                    self.checkpoints.save_best(take_weights_alone(self))
            if found.ends or due(progress.step, self.config.save_every):
                self._save_last()

    def reached(self) -> dict[str, Any]:
        """How far it has come, for ``run.json``; right at any moment."""
        return self.progress.reached() | {
            "saved_step": self._saved[0] if self._saved else 0,
            "micro_batch_size": self.updater.micro_batch.size,
            "skipped_updates": self.updater.guard.skipped,
            "metrics": dict(self.newest),
        }

    def _measure(self, update: Update) -> dict[str, float]:
        """The metrics of a step just taken. Waits for the device."""
        return {
            "train/loss": float(update.loss),
            "train/lr": self.updater.lrs(self.progress.step - 1)[0],
            "train/grad_norm": float(update.grad_norm),
            **self.meter.measure(self.progress),
        }

    @contextmanager
    def _saved_if_interrupted(self) -> Iterator[None]:
        """Save where training stands, should someone ask to stop."""
        try:
            yield
        except Interrupted:
            with deferred(then_raise=False):
                self.updater.average.put_back()
                if self._as_owed is not None:
                    self._as_owed()
                self._save_last()
            raise
        finally:
            self.checkpoints.wait()

    def _save_last(self) -> None:
        if self._place() == self._saved or self.progress.step == 0:  # a run at its first step begins anew as well
            return
        self.updater.guard.check(self.updater.circumstances)
        self.meter.lap(self.progress)
        self.recorder.sync()  # a checkpoint never knows of a step whose metrics could still be lost
        self.checkpoints.save_last(take_snapshot(self))
        self._saved = self._place()

    def _place(self) -> tuple[int, bool]:
        return self.progress.step, self.progress.owed is None
