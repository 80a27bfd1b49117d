"""Is an export the model it was made of? The same tokens, the same logits, the same greedy continuation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cai.exchange.base import Reopened, Source
from cai.markup import prompt_parts
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.pretrained import PROBES

TOLERANCE = 1e-4
"""The largest difference of two logits, in fp32."""

BOUNDS = {"float16": 0.1, "bfloat16": 0.8, "q8_0": 1.0}
"""The same for weights of fewer bits, as a share of the standard deviation of the original's logits.

Some programs compute in that type too, and what they lose grows with the logits. Each is about three times the most that
was measured, with drawn weights (float16 0.024, bfloat16 0.20, q8_0 0.35; trained ones lose a tenth of it), so that a deep
model has room. The logits of another model's weights are apart by three times their standard deviation, or more.
"""

LOW = 1e-9
"""Logits that vary less are all the same."""

LEAST = -80.0
"""Log-probabilities below this count as this: of a smaller probability nothing is left in fp32."""

LENGTH, CONTINUATION = 64, 100
"""Tokens of the longest prompt, and of a greedy continuation; fewer if a small window has no room for them."""

QUESTIONS = (
    (
        "가온솔병원 전화번호 알려줘",
        "가온솔병원\n대표전화: 02-2345-6789\n주소: 서울특별시 중구 세종대로 110\n누리집: https://gaonsol.kr",
    ),
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
    """Tokens of the greedy continuations that are the original's own, up to the first that is not ..."""
    written: int
    """... of so many."""
    coarseness: float = 0.0
    """How much of ``logits`` may be the program's own arithmetic, where that is coarser than fp32."""
    of: str = "logit"
    """What ``logits`` is the difference of: ``logit`` or ``log-probability``."""
    beyond: float = 0.0
    """The largest difference of two logits of a prompt, less what is explained by the coarseness there."""
    share: float = 0.0
    """``beyond``, or half of how far a written token is from the best, per standard deviation of the prompt's logits."""

    def within(self, precision: str) -> bool:
        """Whether it is the same model. Weights of fewer bits are another one, a little (``BOUNDS``)."""
        if precision == "float32":
            return self.beyond <= TOLERANCE and self.same == self.written
        return self.share <= BOUNDS[precision]

    def __str__(self) -> str:
        tokens = f"tokens of {self.texts} texts equal, " if self.texts else ""
        coarse = f" (its own arithmetic explains {self.coarseness:.1e})" if self.coarseness else ""
        return (
            f"{tokens}largest {self.of} difference {self.logits:.1e}{coarse}, greedy {self.same} of {self.written} tokens"
            f" equal, by {self.by}"
        )


@dataclass(frozen=True)
class Probe:
    """A prompt, and what the original makes of it."""

    ids: list[int]
    logits: Tensor
    """``(T, V)``"""
    room: int
    """How many tokens are to be written after it."""


def probes_of(source: Source) -> list[Probe]:
    """Of questions as in training, with tags, and of ordinary text."""
    tokenizer, model = source.trained.tokenizer, source.trained.model
    prompts = [tokenizer.encode_parts(prompt_parts(*question)) for question in QUESTIONS]
    prompts += [tokenizer.encode(PROBES[7]), [tokenizer.eos_id]]
    length = min(LENGTH, source.block_size // 2)
    cut = [ids[:length] or [tokenizer.eos_id] for ids in prompts]
    return [Probe(ids, _logits(model, ids), min(CONTINUATION, source.block_size - len(ids))) for ids in cut]


@torch.no_grad()
def _logits(model: nn.Module, ids: Sequence[int]) -> Tensor:
    """``(T, V)``"""
    logits: Tensor = model(torch.tensor([list(ids)]))[0].float()
    return logits


def allowed(precision: str, logits: Tensor) -> float:
    """How far a logit may be from that of ``logits`` ``(T, V)`` if weights are of ``precision``."""
    return TOLERANCE if precision == "float32" else BOUNDS[precision] * float(logits.std())


def difference(source: Source, reopened: Reopened) -> Difference:
    """Compare. Raises ``ValueError`` if the tokens of a text are others."""
    texts = same_tokens(source.trained.tokenizer, reopened)
    parts = [_of_probe(source.trained.model, reopened, probe) for probe in probes_of(source)]
    of = "log-probability" if reopened.log_probabilities else "logit"
    largest = {name: max(getattr(part, name) for part in parts) for name in ("logits", "coarseness", "beyond", "share")}
    same, written = sum(part.same for part in parts), sum(part.written for part in parts)
    return Difference(reopened.by, texts, same=same, written=written, of=of, **largest)


def _of_probe(model: nn.Module, reopened: Reopened, probe: Probe) -> Difference:
    """Of one prompt and its continuation: where one is coarse another need not be."""
    logits, expected = reopened.logits(probe.ids), probe.logits
    if logits.shape != expected.shape:
        raise ValueError(f"logits have the shape {tuple(logits.shape)} instead of {tuple(expected.shape)}")
    if reopened.log_probabilities:
        logits, expected = logits.clamp(min=LEAST), expected.log_softmax(-1).clamp(min=LEAST)
    apart = float((logits - expected).abs().max())
    if not apart < float("inf"):
        raise ValueError("a logit is not a finite number")
    coarse = reopened.coarseness(model, probe.ids)
    found = reopened.greedy(probe.ids, probe.room)
    if len(found) != probe.room:
        raise ValueError(f"{len(found)} tokens are written instead of {probe.room}")
    behind = _behind(model, probe.ids, found)
    others = (behind > TOLERANCE + coarse).nonzero()
    same = int(others[0]) if len(others) else probe.room
    beyond = max(apart - coarse, 0.0)
    # The best and the token written may each be off.
    share = max(beyond, (float(behind.max()) - coarse) / 2) / max(float(expected.std()), LOW)
    return Difference(reopened.by, 0, apart, same, probe.room, coarse, beyond=beyond, share=share)


def _behind(model: nn.Module, ids: Sequence[int], found: Sequence[int]) -> Tensor:
    """``(N,)``: how far, at each place after ``ids``, the token ``found`` is from the most probable one of the ``model``.

    All in one pass: each is judged after the tokens that were found before it. Where it is not behind, the ``model`` would
    have written it itself, or could have: of two that are as probable either is right.
    """
    chosen = torch.tensor(list(found), dtype=torch.long)
    logits = _logits(model, [*ids, *found])[len(ids) - 1 : -1]  # (N, V)
    return logits.max(dim=-1).values - logits.gather(1, chosen[:, None])[:, 0]


def same_tokens(tokenizer: Tokenizer, reopened: Reopened) -> int:
    """How many texts were compared. Raises ``ValueError`` if one has other tokens."""
    texts = [*PROBES, *(text for question in QUESTIONS for text in question)]
    for text in texts:
        ids = reopened.encode(text)
        if ids is None:
            return 0
        if ids != tokenizer.encode(text):
            raise ValueError(
                f"the text {text[:40]!r} has the tokens {ids[:8]}... instead of {tokenizer.encode(text)[:8]}..."
            )
    return len(texts)
