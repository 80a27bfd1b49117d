"""What a step owes when it is taken: evaluation, samples, a look inside. None of it has an effect on training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from cai import randomness
from cai.tensorboard import Look
from cai.trainer.evaluation import evaluate
from cai.trainer.progress import Progress, due

if TYPE_CHECKING:
    from cai.trainer.trainer import Trainer


class Found(NamedTuple):
    """What is to be recorded of a step."""

    metrics: dict[str, float]
    improved: bool
    """Whether validation is better than ever."""
    texts: list[tuple[str, str]]
    look: Look | None
    ends: bool
    """Whether training is over."""


def take_stock(trainer: Trainer, progress: Progress, owed: Mapping[str, float]) -> Found:
    """Of the step that ``progress``, which takes in what is found, has come to; ``owed`` are the metrics of its update."""
    config, updater = trainer.config, trainer.updater
    metrics, texts, improved = dict(owed), [], False
    is_last = progress.step == trainer.max_steps
    if is_last or progress.step == 0 or due(progress.step, config.eval_every):
        with aside(trainer):
            evaluation = evaluate(updater, progress.step, config.eval_max_tokens)
        metrics |= {"val/loss": evaluation.loss, "val/bits_per_byte": evaluation.bits_per_byte}
        improved = progress.judge(evaluation.loss)
        if (pruner := trainer.pruner) and not is_last:
            progress.pruned = trainer.world.agree(lambda: pruner.stops(progress.step, evaluation.bits_per_byte))
    ends = progress.step > 0 and progress.is_over(trainer.max_steps, config.patience)
    if (ends and not progress.pruned) or due(progress.step, config.sample_every):
        with aside(trainer):
            texts = trainer.samples()
    return Found(metrics, improved, texts, trainer.inside.look(progress.step), ends)


@contextmanager
def aside(trainer: Trainer) -> Iterator[None]:
    """For what is no training: in no lap, with the averaged weights, and without an effect on what training draws."""
    with trainer.meter.paused(), randomness.preserved(), trainer.updater.average.applied():
        yield
