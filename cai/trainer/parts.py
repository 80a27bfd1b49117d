"""What a trainer is put together from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from cai.device import Device
    from cai.recorder import Recorder
    from cai.schedule.base import Schedule
    from cai.tokens.batches import TokenDataset


class TrainerParts(TypedDict):
    """Everything of a run that is not the trainer's own config."""

    model: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    dataset: TokenDataset
    device: Device
    recorder: Recorder
    samples: Callable[[], list[tuple[str, str]]]
    """Generates texts from the model as it is: (title, text) pairs; there may be none."""
    seed: int
    micro_batch_size: NotRequired[int | None]
    """What an earlier part of the run, or the run that is repeated, found to fit; where ``auto`` begins."""
    flops_per_token: NotRequired[float]
    """Floating-point operations of forward and backward for one token; for ``perf/mfu``."""
    prompt: NotRequired[Sequence[int] | None]
    """Ids whose attention is drawn, with ``histogram_every``; ``None``: those of the first validation row."""
    built_from: NotRequired[Mapping[str, Any]]
    """Options of the model, kept with each checkpoint: one that does not fit can then say which option differs."""
