"""One optimizer step: a batch in, better weights out."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cai.dropout import keyed
from cai.errors import ConfigError
from cai.interruption import raise_if_overdue
from cai.trainer.memory import MicroBatch
from cai.trainer.nonfinite import FiniteGuard

if TYPE_CHECKING:
    from cai.device import Device
    from cai.schedule.base import Schedule
    from cai.tokens.batches import TokenDataset


class Update(NamedTuple):
    """What is known of a step taken; both are on the device."""

    loss: Tensor
    """Mean over all valid targets, nats; a scalar."""
    grad_norm: Tensor
    """Of the whole gradient, before clipping; a scalar."""


class Updater:
    """Knows how to take step number ``n``; holds no count itself.

    The batch of a step and its dropout are pure functions of (seed, step): whatever is done between two steps, evaluation
    or sampling, changes no loss.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
        dataset: TokenDataset,
        device: Device,
        *,
        batch_size: int,
        micro_batch_size: int | Literal["auto"],
        grad_clip: float,
        on_nonfinite: Literal["stop", "skip"],
        max_skipped: int,
        seed: int,
    ) -> None:
        self.model = model
        self.forward: nn.Module = (
            cast(nn.Module, torch.compile(model)) if device.compile else model
        )  # weights are always saved from self.model
        self.optimizer = optimizer
        self.schedule = schedule
        self.dataset = dataset
        self.device = device
        self.batch_size = batch_size
        self.micro_batch = MicroBatch(micro_batch_size, batch_size)
        self.grad_clip = grad_clip
        self.seed = seed
        self.scaler = device.grad_scaler()
        if any("param_names" not in group for group in optimizer.param_groups):
            raise ConfigError(
                "an optimizer must be built from model.named_parameters(), as checkpoints go by name, but was built from"
                " parameters without names. Pass (name, parameter) pairs to it."
            )
        # Taken before a checkpoint is loaded, whose groups hold the rate of a step and not the peak.
        self._peak_lrs = [group["lr"] for group in optimizer.param_groups]
        self.guard = FiniteGuard(
            [name for name, p in model.named_parameters() if p.requires_grad],
            on_nonfinite=on_nonfinite,
            max_skipped=max_skipped,
            waits=device.type != "cpu",
            scaled=self.scaler.is_enabled(),
        )

    def update(self, step: int) -> Update:
        """One optimizer step. Raises ``TrainingError`` for what the guard does not let pass; nothing is changed then."""
        x, y = (torch.from_numpy(array) for array in self.dataset.batch(step, self.batch_size))
        loss = self.micro_batch.fit(lambda: self.accumulate(x, y, step))
        self.scaler.unscale_(self.optimizer)
        # One norm for each parameter, then theirs: clip_grad_norm_ in two halves, as the guard wants to see between.
        norms = self._gradient_norms()
        grad_norm = torch.linalg.vector_norm(norms)
        if self.guard.admits(step, loss, grad_norm, norms, self.circumstances):
            nn.utils.clip_grads_with_norm_(self.model.parameters(), self.grad_clip or math.inf, grad_norm)
            # By the number of the step alone: a step that loss scaling skips still counts in the schedule.
            for group, lr in zip(self.optimizer.param_groups, self.lrs(step), strict=True):
                group["lr"] = lr
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return Update(loss, grad_norm)

    def _gradient_norms(self) -> Tensor:
        """``(P,)``, in the order of the parameters that are trained; 0 where a step gave no gradient."""
        gradients = [p.grad for p in self.model.parameters() if p.requires_grad]
        norms = iter(torch._foreach_norm([gradient for gradient in gradients if gradient is not None]))
        none = torch.zeros((), device=self.device.torch_device, dtype=self.device.parameter_dtype)
        return torch.stack([none if gradient is None else next(norms) for gradient in gradients])

    def lrs(self, step: int) -> list[float]:
        """The learning rate of update number ``step`` for each parameter group."""
        return [peak * self.schedule(step) for peak in self._peak_lrs]

    def accumulate(self, x: Tensor, y: Tensor, step: int) -> Tensor:
        """Set the gradient of the mean loss over *all* valid targets of ``x, y (B, T)``, however they are cut.

        Each micro-batch's sum is divided by the count of the whole: a mean of means would weigh a target in a short
        sequence more than one in a long sequence.
        """
        n_valid = int((y != self.dataset.ignore_index).sum())  # y is still on the CPU: no waiting for the device
        total = torch.zeros((), device=self.device.torch_device, dtype=self.device.parameter_dtype)
        self.optimizer.zero_grad(set_to_none=True)  # of a try that did not fit
        self.model.train()
        for first in range(0, len(x), self.micro_batch.size):
            raise_if_overdue()
            sequences = range(first, min(first + self.micro_batch.size, len(x)))
            chosen = slice(sequences.start, sequences.stop)
            torch.manual_seed(fold(self.seed, step, sequences.start))  # for a dropout other than CAI's
            with self.device.autocast(), keyed(self.model, self.seed, step, sequences):
                loss = self.forward(self.device.put(x[chosen]), self.device.put(y[chosen])) / n_valid
            self.scaler.scale(loss).backward()
            total = total + loss.detach()
        return total

    def circumstances(self, step: int) -> str:
        """Where in the data and on the schedule update number ``step`` is, as a sentence."""
        where = self.dataset.locate(step, self.batch_size)
        return f"Its batch: {where}. Learning rate {max(self.lrs(step)):.3g}."


def fold(seed: int, step: int, sequence: int) -> int:
    """A 63-bit seed."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}/{sequence}".encode(), digest_size=8).digest()) >> 1
