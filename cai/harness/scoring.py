"""How likely a model finds given ids, in windows of what it can see."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cai.device import Device

LOGITS = 2**25
"""Of one pass at most: 128 MiB in fp32."""


class Pair(NamedTuple):
    """Ids to score, and those that come before them: at least one."""

    context: list[int]
    targets: list[int]


class Window(NamedTuple):
    """Ids of which the last ``scored`` are scored; the model reads all but the last."""

    pair: int
    ids: list[int]
    scored: int


class Score(NamedTuple):
    """Of all targets of a pair."""

    log_probability: float
    """Natural logarithm."""
    is_greedy: bool
    """Each of them is the likeliest there."""


def windows(number: int, pair: Pair, block_size: int) -> Iterator[Window]:
    """Every target once; each window as full as it can be, and none longer than ``block_size`` + 1.

    A context that is too long loses its beginning. Targets that do not fit in one window are taken ``block_size`` at a time,
    as ``lm_eval.utils.get_rolling_token_windows`` does with a ``context_len`` of 1.
    """
    ids = [*pair.context, *pair.targets]
    scored = len(pair.context)
    while scored < len(ids):
        end = min(scored + block_size, len(ids))
        yield Window(number, ids[max(0, end - block_size - 1) : end], end - scored)
        scored = end


def score_pairs(
    model: nn.Module,
    pairs: Sequence[Pair],
    device: Device,
    batch_size: int,
    progress: Callable[[int], object] | None = None,
) -> list[Score]:
    """A score of each pair, from the logits as the model gives them. ``progress`` is told the windows of each pass.

    The model must be in evaluation mode. Longest windows come first: if memory does not suffice, it is told at once.
    """
    block_size: int = model.block_size  # type: ignore[assignment]
    every = [window for number, pair in enumerate(pairs) for window in windows(number, pair, block_size)]
    every.sort(key=lambda window: -len(window.ids))
    found: list[list[Score]] = [[] for _ in pairs]
    start = 0
    while start < len(every):
        batch = every[start : start + batch_size]
        batch = batch[: max(1, LOGITS // (len(batch[0].ids) * _vocab_size(model)))]
        for window, score in zip(batch, _score_batch(model, batch, device), strict=True):
            found[window.pair].append(score)
        start += len(batch)
        if progress:
            progress(len(batch))
    return [Score(math.fsum(s.log_probability for s in scores), all(s.is_greedy for s in scores)) for scores in found]


@torch.inference_mode()
def _score_batch(model: nn.Module, batch: Sequence[Window], device: Device) -> Iterator[Score]:
    """Of each window. Shorter ones are filled up behind, where a causal model does not look."""
    longest = max(len(window.ids) for window in batch) - 1
    inputs = [[*window.ids[:-1], *[0] * (longest + 1 - len(window.ids))] for window in batch]
    with device.autocast():
        logits: Tensor = model(device.put(torch.tensor(inputs)))  # (B, T, V)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    scores = []
    for window, row in zip(batch, logits, strict=True):
        last = len(window.ids) - 1
        at = row[last - window.scored : last]  # (scored, V)
        targets = torch.tensor(window.ids[-window.scored :], device=at.device)
        chosen = at.log_softmax(-1).gather(-1, targets[:, None])
        scores.append(Score(math.fsum(chosen[:, 0].tolist()), bool((at.argmax(-1) == targets).all())))
    return iter(scores)


def _vocab_size(model: nn.Module) -> int:
    return getattr(model, "vocab_size", 2**16)
