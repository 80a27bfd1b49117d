"""How long a run will take, before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cai import randomness
from cai.trainer.meter import Meter
from cai.trainer.progress import Progress

if TYPE_CHECKING:
    from cai.trainer.trainer import Trainer, TrainerConfig


def estimate_seconds(trainer: Trainer) -> float:
    """Expected duration of the updates and evaluations to come, from two trial passes at the end of which weights, buffers
    and randomness are as before. What they find about memory stays: they are the first passes of a run."""
    updater, dataset, config = trainer.updater, trainer.dataset, trainer.config
    meter, progress = Meter(trainer.device), Progress()

    def trial() -> float:
        size = updater.micro_batch.size
        batch = updater.batch(0, size)
        meter.start(progress)
        updater.accumulate(batch, step=0)
        return meter.lap(progress) / size

    buffers = {name: buffer.clone() for name, buffer in updater.model.named_buffers()}
    with randomness.preserved():
        durations = [updater.micro_batch.fit(trial) for _ in range(2)]
    trainer.optimizer.zero_grad(set_to_none=True)
    for name, buffer in updater.model.named_buffers():
        buffer.copy_(buffers[name])
    steps = max(0, trainer.max_steps - trainer.progress.step)
    tokens = steps * config.batch_size * dataset.block_size
    # A forward pass is about a third of forward and backward together.
    limit = config.eval_max_tokens or dataset.shards.val.tokens
    tokens += evaluations(config, steps) * min(limit, dataset.shards.val.tokens) // 3
    return min(durations) * tokens / dataset.block_size


def evaluations(config: TrainerConfig, steps: int) -> int:
    """Passes over the validation text in so many steps: one before, one after, and those between."""
    return 2 + (steps // config.eval_every if config.eval_every else 0)
