"""Is an export the model it was made of? The same tokens, the same logits, the same greedy continuation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cai.exchange.base import Reopened, Source
from cai.markup import prompt_parts
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.pretrained import PROBES

TOLERANCE = 1e-4
"""The largest difference of two logits, in fp32."""

LENGTH, CONTINUATION = 64, 100
"""Tokens of the longest prompt, and of a greedy continuation; fewer if a small window has no room for them."""

QUESTIONS = (
    ("가온솔병원 전화번호 알려줘", "가온솔병원\n대표전화: 02-2345-6789\n주소: 서울특별시 중구 세종대로 110\n누리집: https://gaonsol.kr"),
    ("Where is the town hall?", "Town Hall, 1 Main Street. Tel. 031-555-0199"),
)


class Difference(NamedTuple):
    """How an export differs from the original."""

    by: str
    """What it was opened with."""
    texts: int
    """Texts whose tokens were compared, and are the same; 0: the export has no tokenizer."""
    logits: float
    """The largest difference of two logits."""
    same: int
    """Tokens of the greedy continuations that are the same up to the first that is not ..."""
    written: int
    """... of so many."""

    def within(self, precision: str) -> bool:
        """Whether it is the same model. Weights of fewer bits are another one, a little."""
        return precision != "float32" or (self.logits <= TOLERANCE and self.same == self.written)

    def __str__(self) -> str:
        tokens = f"tokens of {self.texts} texts equal, " if self.texts else ""
        return f"{tokens}largest logit difference {self.logits:.1e}, greedy {self.same} of {self.written} tokens equal, by {self.by}"


@dataclass(frozen=True)
class Probe:
    """A prompt, and what the original makes of it."""

    ids: list[int]
    logits: Tensor
    """``(T, V)``"""
    written: list[int]
    gaps: list[float]
    """How far each written token's logit is above the second."""


def probes_of(source: Source) -> list[Probe]:
    """Of questions as in training, with tags, and of ordinary text."""
    tokenizer, model = source.trained.tokenizer, source.trained.model
    prompts = [tokenizer.encode_parts(prompt_parts(*question)) for question in QUESTIONS]
    prompts += [tokenizer.encode(PROBES[7]), [tokenizer.eos_id]]
    length = min(LENGTH, source.block_size // 2)
    return [_probe(model, ids[:length] or [tokenizer.eos_id], source.block_size) for ids in prompts]


@torch.no_grad()
def _probe(model: torch.nn.Module, ids: list[int], block_size: int) -> Probe:
    written: list[int] = []
    gaps = []
    for _ in range(min(CONTINUATION, block_size - len(ids))):
        top = model(torch.tensor([[*ids, *written]]))[0, -1].float().topk(2)
        written.append(int(top.indices[0]))
        gaps.append(float(top.values[0] - top.values[1]))
    return Probe(ids, model(torch.tensor([ids]))[0].float(), written, gaps)


def difference(source: Source, reopened: Reopened) -> Difference:
    """Compare. Raises ``ValueError`` if the tokens of a text are others."""
    texts = same_tokens(source.trained.tokenizer, reopened)
    largest, same, written = 0.0, 0, 0
    for probe in probes_of(source):
        logits = reopened.logits(probe.ids)
        if logits.shape != probe.logits.shape:
            raise ValueError(f"logits have the shape {tuple(logits.shape)} instead of {tuple(probe.logits.shape)}")
        apart = float((logits - probe.logits).abs().max())
        if not apart < float("inf"):
            raise ValueError("a logit is not a finite number")
        largest = max(largest, apart)
        same += _same(probe, reopened.greedy(probe.ids, len(probe.written)), apart)
        written += len(probe.written)
    return Difference(reopened.by, texts, largest, same, written)


def _same(probe: Probe, found: Sequence[int], apart: float) -> int:
    """How many are the same. Where the two best are as near as the logits differ, either is right, and the rest follows."""
    for place, (one, other, gap) in enumerate(zip(probe.written, found, probe.gaps, strict=True)):
        if one != other:
            return len(found) if gap <= min(2 * apart, TOLERANCE) else place
    return len(found)


def same_tokens(tokenizer: Tokenizer, reopened: Reopened) -> int:
    """How many texts were compared. Raises ``ValueError`` if one has other tokens."""
    texts = [*PROBES, *(text for question in QUESTIONS for text in question)]
    for text in texts:
        ids = reopened.encode(text)
        if ids is None:
            return 0
        if ids != tokenizer.encode(text):
            raise ValueError(f"the text {text[:40]!r} has the tokens {ids[:8]}... instead of {tokenizer.encode(text)[:8]}...")
    return len(texts)
