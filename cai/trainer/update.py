"""One optimizer step: a batch in, better weights out."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cai.errors import ConfigError

if TYPE_CHECKING:
    from cai.device import Device
    from cai.schedule.base import Schedule
    from cai.tokens.batches import TokenDataset


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
        micro_batch_size: int,
        grad_clip: float,
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
        self.micro_batch_size = micro_batch_size
        self.grad_clip = grad_clip
        self.seed = seed
        self.scaler = device.grad_scaler()
        if any("param_names" not in group for group in optimizer.param_groups):
            raise ConfigError(
                "an optimizer must be built from model.named_parameters(), as checkpoints go by name, but was built from"
                " parameters without names. Pass (name, parameter) pairs to it."
            )
        self._peak_lrs = [group["lr"] for group in optimizer.param_groups]

    def update(self, step: int) -> tuple[Tensor, Tensor]:
        """One optimizer step. Returns its loss (mean over all valid targets, nats) and gradient norm, both on the device."""
        x, y = self.dataset.batch(step, self.batch_size)
        loss = self.accumulate(torch.from_numpy(x), torch.from_numpy(y), step)
        self.scaler.unscale_(self.optimizer)
        grad_norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.grad_clip or math.inf)
        # By the number of the step alone: a step that loss scaling skips still counts in the schedule.
        for group, peak_lr in zip(self.optimizer.param_groups, self._peak_lrs, strict=True):
            group["lr"] = peak_lr * self.schedule(step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return loss, grad_norm

    def accumulate(self, x: Tensor, y: Tensor, step: int) -> Tensor:
        """Add the gradient of the mean loss over *all* valid targets of ``x, y (B, T)``, however they are cut.

        Each micro-batch's sum is divided by the count of the whole: a mean of means would weigh a target in a short
        sequence more than one in a long sequence.
        """
        n_valid = int((y != self.dataset.ignore_index).sum())  # y is still on the CPU: no waiting for the device
        total = torch.zeros((), device=self.device.torch_device)
        self.model.train()
        for index, first in enumerate(range(0, len(x), self.micro_batch_size)):
            chosen = slice(first, first + self.micro_batch_size)
            torch.manual_seed(_fold(self.seed, step, index))
            with self.device.autocast():
                loss = self.forward(self.device.put(x[chosen]), self.device.put(y[chosen])) / n_valid
            self.scaler.scale(loss).backward()
            total = total + loss.detach()
        return total


def _fold(seed: int, step: int, index: int) -> int:
    """A 63-bit seed for the dropout of one micro-batch."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}/{index}".encode(), digest_size=8).digest()) >> 1
