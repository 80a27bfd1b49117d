"""Whether the first batches of a text, learned again and again, were learned by heart: the first test of a new model."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import torch

from cai import randomness
from cai.symptoms.table import tell

if TYPE_CHECKING:
    from cai.trainer.trainer import Trainer
    from cai.trainer.update import Updater

log = logging.getLogger(__name__)

NEAR_ZERO = 0.1
"""Nats for a token: it is right with nine tenths of its probability. What follows several beginnings costs a little."""


def tell_whether_learned(trainer: Trainer) -> None:
    """Log a sentence on the loss that is left of what ``overfit_batches`` repeats; if it is much, what to look at."""
    count = min(trainer.config.overfit_batches, trainer.max_steps)
    with randomness.preserved():
        loss = loss_of_batches(trainer.updater, count)
    what = "one batch" if count == 1 else f"{count} batches"
    if loss <= NEAR_ZERO:
        log.info("learned by heart: the loss of %s is %.4f. The model can learn, and its gradients reach it.", what, loss)
        return
    dropout = trainer.built_from.get("dropout", 0)
    remedy = "learn_without_dropout" if dropout else "learn_by_heart"
    lr = trainer.updater.peak_lrs[0]
    told = tell(
        "not_by_heart", remedy, what=what, near=NEAR_ZERO, loss=loss, steps=trainer.max_steps, lr=lr, dropout=dropout
    )
    log.warning("%s", told.sentence)


def loss_of_batches(updater: Updater, count: int) -> float:
    """Mean loss over the targets of the batches of the first ``count`` steps, without dropout; nats."""
    return updater.micro_batch.fit_forward(lambda size: _pass_over(updater, count, size))


@torch.no_grad()
def _pass_over(updater: Updater, count: int, size: int) -> float:
    updater.forward.eval()
    sums, n_valid = [], 0
    for step in range(count):
        batch = updater.batch(step)
        n_valid += batch.n_valid
        for pieces in zip(*(torch.split(each, size) for each in batch.inputs), strict=True):
            with updater.device.autocast():
                sums.append(updater.forward(*pieces))
    found = updater.world.gather((torch.stack(sums).tolist(), n_valid))
    return math.fsum(each for sums, _ in found for each in sums) / max(1, sum(count for _, count in found))
