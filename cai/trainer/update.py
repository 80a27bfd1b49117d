"""One optimizer step: a batch in, better weights out."""

from __future__ import annotations

import hashlib
import inspect
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.profiler import record_function as span

from cai import interruption
from cai.dropout import keyed
from cai.errors import ConfigError
from cai.interruption import raise_if_overdue
from cai.sharding import exchanging, norms, side_by_side
from cai.trainer.anomaly import origin_of
from cai.trainer.average import WeightAverage
from cai.trainer.memory import MicroBatch, sequences_in_cache, trade_memory
from cai.trainer.nonfinite import FiniteGuard

if TYPE_CHECKING:
    from cai.device import Device
    from cai.schedule.base import Schedule
    from cai.tokens.batches import TokenDataset
    from cai.trainer.trainer import TrainerConfig

log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """What a step learns from, on the device."""

    inputs: tuple[Tensor, ...]
    """What the model is called with, each ``(batch_size, T)``: ids and targets, and segments if documents are isolated."""
    n_valid: int
    """Targets that count."""


class Update(NamedTuple):
    """What is known of a step taken; both are on the device."""

    loss: Tensor
    """Mean over all valid targets, nats; a scalar."""
    grad_norm: Tensor
    """Of the whole gradient, before clipping; a scalar."""


class Updater:
    """Knows how to take step number ``n``; holds no count itself.

    The batch of a step and its dropout are pure functions of (seed, step): whatever is done between two steps, evaluation
    or sampling, changes no loss. Spans name its parts for a profiler; without one they cost microseconds.
    """

    def __init__(
        self,
        config: TrainerConfig,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
        dataset: TokenDataset,
        device: Device,
        seed: int,
    ) -> None:
        trade_memory(model, config)
        if dataset.isolate:
            refuse_unless_isolating(model)
        self.model = model
        self.world = device.world
        forward = cast(nn.Module, torch.compile(model)) if device.compile else model
        self.forward = side_by_side(forward, device)  # weights are always saved from self.model
        self.optimizer = optimizer
        self.schedule = schedule
        self.dataset = dataset
        self.device = device
        self.batch_size = config.batch_size
        self.share = share_of(config, device)
        self.overfit_batches = config.overfit_batches
        self.detects = config.detect_anomaly
        at_most = sequences_in_cache(model, dataset.block_size, device.element_size) if device.type == "cpu" else None
        self.micro_batch = MicroBatch(config.micro_batch_size, len(self.share), at_most, alone=device.world.size == 1)
        self.micro_batch.size = min(self.world.gather(self.micro_batch.size))
        self.grad_clip = config.grad_clip
        self.seed = seed
        self.scaler = device.grad_scaler()
        self.average = WeightAverage(model, config.ema_decay)
        self._ahead: tuple[int, Batch] | None = None
        self.stops = False  # whether any process of the run has been asked to stop, as of the newest update
        self.observe: Callable[[int], None] | None = None  # called in each update while its gradients are there
        if any("param_names" not in group for group in optimizer.param_groups):
            raise ConfigError(
                "an optimizer must be built from model.named_parameters(), as checkpoints go by name, but was built from"
                " parameters without names. Pass (name, parameter) pairs to it."
            )
        # Taken before a checkpoint is loaded, whose groups hold the rate of a step and not the peak.
        self.peak_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        if device.compile_optimizer:
            for group in optimizer.param_groups:
                group["lr"] = torch.tensor(group["lr"])  # a plain number would be compiled in, anew for each step
                group["fused"] = False  # PyTorch's fused kernels are not compiled: it would have no effect
            optimizer.step = torch.compile(optimizer.step)  # type: ignore[assignment, method-assign]
        self.guard = FiniteGuard(
            [name for name, p in model.named_parameters() if p.requires_grad],
            on_nonfinite=config.on_nonfinite,
            max_skipped=config.max_skipped,
            waits=device.queues and not self.detects,
            scaled=self.scaler.is_enabled(),
        )

    def update(self, step: int) -> Update:
        """One optimizer step. Raises ``TrainingError`` for what the guard does not let pass; nothing is changed then."""
        batch = self._ahead[1] if self._ahead and self._ahead[0] == step else self.batch(step)
        n_valid, stops = self.world.totals(batch.n_valid, interruption.requested() is not None)
        self.stops = stops > 0
        batch = batch._replace(n_valid=n_valid)
        loss = self.world.add(self.micro_batch.fit(lambda: self.accumulate(batch, step)))
        self.scaler.unscale_(self.optimizer)
        # One norm for each parameter, then theirs: clip_grad_norm_ in two halves, as the guard wants to see between.
        each = self._gradient_norms()
        grad_norm = torch.linalg.vector_norm(each)
        if self.guard.admits(step, loss, grad_norm, each, self.circumstances):
            if self.observe is not None:
                self.observe(step)
            nn.utils.clip_grads_with_norm_(self.model.parameters(), self.grad_clip or math.inf, grad_norm)
            # By the number of the step alone: a step that loss scaling skips still counts in the schedule.
            for group, lr in zip(self.optimizer.param_groups, self.lrs(step), strict=True):
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(lr)
                else:
                    group["lr"] = lr
            self.scaler.step(self.optimizer)
            self.average.update(step)
        elif self.detects:
            log.warning("%s", origin_of(self, step))
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.queues:  # read and copied while the device still works on this step
            self._ahead = step + 1, self.batch(step + 1)
        return Update(loss, grad_norm)

    @span("batch")
    def batch(self, step: int, size: int | None = None) -> Batch:
        """This process's share of the batch of a step (or a batch of ``size`` sequences), on the device."""
        step = self._source(step)
        if size is not None or self.world.size == 1:
            arrays = self.dataset.batch(step, size or self.batch_size)
        else:
            arrays = self.dataset.batch(step, self.batch_size, self.share)
        n_valid = int((arrays[1] != self.dataset.ignore_index).sum())  # on the CPU: no waiting for the device
        return Batch(tuple(self.device.put(torch.from_numpy(array)) for array in arrays), n_valid)

    def _gradient_norms(self) -> Tensor:
        """``(P,)``, in the order of the parameters that are trained; 0 where a step gave no gradient."""
        gradients = [p.grad for p in self.model.parameters() if p.requires_grad]
        found = iter(norms([gradient for gradient in gradients if gradient is not None]))
        none = torch.zeros((), device=self.device.torch_device, dtype=self.device.parameter_dtype)
        return torch.stack([none if gradient is None else next(found) for gradient in gradients])

    def lrs(self, step: int) -> list[float]:
        """The learning rate of update number ``step`` for each parameter group."""
        return [peak * self.schedule(step) for peak in self.peak_lrs]

    def accumulate(self, batch: Batch, step: int) -> Tensor:
        """Set the gradient of the mean loss over *all* valid targets of ``batch``, however it is cut. Returns that loss; of
        several processes, its own sequences' part of it.

        Each micro-batch's sum is divided by the count of the whole: a mean of means would weigh a target in a short
        sequence more than one in a long sequence. Of a batch in which nothing counts, loss and gradient are 0.
        """
        size = len(batch.inputs[0])
        total = torch.zeros((), device=self.device.torch_device, dtype=self.device.parameter_dtype)
        self.optimizer.zero_grad(set_to_none=True)  # of a try that did not fit
        self.model.train()
        for first in range(0, size, self.micro_batch.size):
            raise_if_overdue()
            chosen = slice(first, min(first + self.micro_batch.size, size))
            sequences = range(self.share.start + chosen.start, self.share.start + chosen.stop)
            torch.manual_seed(fold(self.seed, step, sequences.start))  # for a dropout other than CAI's
            last = chosen.stop == size
            # Keyed also where a backward pass computes forward again. Gradients are exchanged once, in the last pass.
            with keyed(self.model, self.seed, step, sequences), exchanging(self.forward, last):
                with span("forward"), self.device.autocast():
                    loss = self.forward(*(each[chosen] for each in batch.inputs)) / max(1, batch.n_valid)
                with span("backward"):  # the exchange takes the mean over processes, where the sum is meant
                    self.scaler.scale(loss if self.world.size == 1 else loss * self.world.size).backward()
            total = total + loss.detach()
        return total

    def circumstances(self, step: int) -> str:
        """Where in the data and on the schedule update number ``step`` is, as a sentence."""
        where = self.dataset.locate(self._source(step), self.batch_size)
        origin = f" {origin_of(self, step)}" if self.detects else ""
        return f"Its batch: {where}. Learning rate {max(self.lrs(step)):.3g}.{origin}"

    def _source(self, step: int) -> int:
        """The step whose batch is learned from: itself, or with ``overfit_batches`` always one of the first."""
        return step % self.overfit_batches if self.overfit_batches else step


def share_of(config: TrainerConfig, device: Device) -> range:
    """Which sequences of a batch are this process's. Raises ``ConfigError`` if a batch cannot be divided."""
    refuse_undivided(config, device.world.size)
    return device.world.share(config.batch_size)


def refuse_undivided(config: TrainerConfig, processes: int) -> None:
    """Raise ``ConfigError`` if ``processes`` cannot share a batch equally."""
    each = config.batch_size // processes
    if config.batch_size % processes:
        raise ConfigError(
            f"`trainer.batch_size` must be a multiple of the number of processes ({processes}), but is {config.batch_size}."
            f" Try trainer.batch_size={processes * (each + 1)}."
        )
    if config.micro_batch_size != "auto" and each % config.micro_batch_size:
        raise ConfigError(
            f"`trainer.micro_batch_size` must divide a process's share of the batch ({config.batch_size} / {processes} ="
            f" {each}), but is {config.micro_batch_size}. Try trainer.micro_batch_size=auto."
        )


def refuse_unless_isolating(model: nn.Module) -> None:
    """Raise ``ConfigError`` if ``model`` cannot be told which documents of a row to keep apart."""
    needed = {"forward": "segments", "hidden": "context"}
    calls = {name: call for name in needed if inspect.ismethod(call := getattr(model, name, None))}
    if not all(needed[name] in inspect.signature(call).parameters for name, call in calls.items()):
        raise ConfigError(
            f"`data.isolate` needs a model whose forward takes `segments` (and, for a Decoder, hidden `context`), as"
            f" cai.model.base.ModelConfig says, but {type(model).__name__} does not. Use data.isolate=false."
        )


def fold(seed: int, step: int, sequence: int) -> int:
    """A 63-bit seed."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}/{sequence}".encode(), digest_size=8).digest()) >> 1
