"""The choice of the next id: a pure function of logits, options, and (seed, text, position)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from cai.decoding.processors import (
    Written,
    at_least,
    forbid_repeated_ngrams,
    nucleus,
    penalize_frequency,
    penalize_repetition,
)


class Options(Protocol):
    """What decides a choice, as ``conf/generation/default.yaml`` explains."""

    @property
    def repetition_penalty(self) -> float: ...
    @property
    def frequency_penalty(self) -> float: ...
    @property
    def presence_penalty(self) -> float: ...
    @property
    def no_repeat_ngram(self) -> int: ...
    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...
    @property
    def min_p(self) -> float: ...


class Chooser:
    """Applies the options in this order: repetition penalty, frequency and presence, n-grams; temperature, top-k, top-p,
    min-p; then draws.
    """

    def __init__(self, options: Options, seed: int) -> None:
        self.options = options
        self.seed = seed
        self.looks_back = bool(
            options.repetition_penalty != 1
            or options.frequency_penalty
            or options.presence_penalty
            or options.no_repeat_ngram
        )
        """Whether a choice depends on what is written before."""

    def choose(self, logits: Tensor, written: Written, keys: Sequence[tuple[int, ...]]) -> list[int]:
        """One id for each row of ``logits (B, V)``. On the CPU, where drawing is the same for every device."""
        options = self.options
        if self.looks_back:
            logits = self._penalized(logits.float().cpu(), written)
        if options.temperature == 0:
            chosen: list[int] = logits.argmax(-1).tolist()
            return chosen
        probabilities, candidates = self._candidates(logits.float().cpu())
        places = [(*key, len(ids)) for key, ids in zip(keys, written, strict=True)]
        draws = torch.tensor([[uniform(self.seed, *place)] for place in places], dtype=torch.float64)  # (B, 1)
        sums = probabilities.cumsum(-1)
        index = torch.searchsorted(sums, draws * sums[:, -1:], right=True)  # (B, 1)
        return candidates.gather(1, index.clamp(max=sums.shape[1] - 1))[:, 0].tolist()

    def _penalized(self, logits: Tensor, written: Written) -> Tensor:
        options = self.options
        if options.repetition_penalty != 1:
            logits = penalize_repetition(logits, written, options.repetition_penalty)
        if options.frequency_penalty or options.presence_penalty:
            logits = penalize_frequency(logits, written, options.frequency_penalty, options.presence_penalty)
        if options.no_repeat_ngram:
            logits = forbid_repeated_ngrams(logits, written, options.no_repeat_ngram)
        return logits

    def _candidates(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """What may be drawn: probabilities, which need not add up to 1, and the ids they are of, both ``(B, K)``."""
        options, V = self.options, logits.shape[1]
        if options.top_k:
            values, ids = logits.topk(min(options.top_k, V))  # the largest first
        elif options.top_p < 1:
            values, ids = logits.sort(descending=True)
        else:
            values, ids = logits, torch.arange(V).expand_as(logits)
        steps = (values - values.amax(-1, keepdim=True)).double() / options.temperature  # the largest is 0: always finite
        probabilities = steps.softmax(-1)
        if options.top_p < 1:
            probabilities = nucleus(probabilities, options.top_p)
        if options.min_p:
            probabilities = at_least(probabilities, options.min_p)
        return probabilities, ids


def uniform(*key: int) -> float:
    """A number in [0, 1) that ``key`` decides."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53
