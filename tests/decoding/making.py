"""Rows, options, and a model whose every logit is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cai.decoding.row import Row
from cai.generation import GenerationConfig
from tests.model.making import VOCAB_SIZE

NEUTRAL: dict[str, object] = {
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "no_repeat_ngram": 0,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "max_new_tokens": 20,
    "stop": (),
    "lookup_tokens": 0,
    "show": None,
}
"""Options of which none changes what the model says."""
GREEDY: dict[str, object] = {"temperature": 0.0}
SAMPLED: dict[str, object] = {"temperature": 1.3, "top_k": 30, "top_p": 0.95, "min_p": 0.001}
PENALIZED: dict[str, object] = {
    **SAMPLED,
    "repetition_penalty": 1.2,
    "frequency_penalty": 0.3,
    "presence_penalty": -0.2,
    "no_repeat_ngram": 3,
}
MODES = {"greedy": GREEDY, "sampled": SAMPLED, "penalized": PENALIZED, "greedy, penalized": {**PENALIZED, **GREEDY}}
LETTERS = [bytes([number + 32]) for number in range(VOCAB_SIZE)]
"""The bytes of ids: a printable character each."""


def options(**changes: object) -> GenerationConfig:
    return GenerationConfig.model_validate(NEUTRAL | changes)


def rows_of(*prompts: Sequence[int], block_size: int = 16) -> list[Row]:
    return [Row((number,), prompt, block_size) for number, prompt in enumerate(prompts)]


class Stub(nn.Module):
    """Gives after each id the logits that ``next_logits`` makes of all up to it, and notes what it was given, and how."""

    def __init__(self, next_logits: Callable[[list[int]], Tensor], block_size: int = 16) -> None:
        super().__init__()
        self.next_logits = next_logits
        self.block_size = block_size
        self.dropout = nn.Dropout(0.5)
        self.inputs: list[list[int]] = []
        self.modes: set[tuple[bool, bool, bool, bool]] = set()

    def forward(self, ids: Tensor) -> Tensor:
        assert ids.dtype == torch.int64
        assert 0 < ids.shape[1] <= self.block_size
        (row,) = ids.tolist()
        self.inputs.append(row)
        self.modes.add((self.training, self.dropout.training, torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        return torch.stack([self.next_logits(row[: t + 1]) for t in range(len(row))])[None]


def sure_of(number: int, vocab_size: int = VOCAB_SIZE) -> Tensor:
    """Logits that leave no doubt about the next id."""
    return nn.functional.one_hot(torch.tensor(number), vocab_size) * 100.0


def counting_up(period: int, block_size: int = 16) -> Stub:
    """A model that says after each id the next, round and round: 0, 1, ..., period - 1, 0, 1, ..."""
    return Stub(lambda ids: sure_of((ids[-1] + 1) % period), block_size)
