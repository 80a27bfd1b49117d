"""What is compared tells another model from the same one, written by arithmetic of another kind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cai.exchange.base import Reopened, Source
from cai.exchange.check import BOUNDS, QUESTIONS, TOLERANCE, difference
from cai.model.llama import Llama
from cai.tokenizer.pretrained import PROBES
from tests.exchange.making import make_source

SHORT = ("model.block_size=32", "model.tie_weights=false")
WRITTEN = 3 * 16 + 31
"""Of three prompts of half a window, and of one token."""


class Program(Reopened):
    """The original, changed on the way."""

    by = "a test"

    def __init__(self, source: Source, change: Callable[[Tensor], Tensor] = lambda logits: logits) -> None:
        self.source, self.change = source, change

    def encode(self, text: str) -> list[int]:
        return self.source.trained.tokenizer.encode(text)

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        return self.change(self.source.trained.model(torch.tensor([list(ids)]))[0])


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return make_source(tmp_path, *SHORT)


def head(source: Source) -> nn.Linear:
    assert isinstance(source.trained.model, Llama)
    assert source.trained.model.lm_head is not None
    return source.trained.model.lm_head


def test_the_same_is_the_same(source: Source) -> None:
    found = difference(source, Program(source))
    assert (found.logits, found.same, found.written) == (0.0, WRITTEN, WRITTEN)
    assert found.texts == len(PROBES) + 2 * len(QUESTIONS)
    assert found.within("float32")
    assert "largest logit difference 0.0e+00, greedy 79 of 79 tokens equal, by a test" in str(found)


def test_a_logit_that_is_not_is_told(source: Source) -> None:
    assert difference(source, Program(source, lambda logits: logits + TOLERANCE / 2)).within("float32")
    found = difference(source, Program(source, lambda logits: logits + 2 * TOLERANCE))
    assert found.logits == pytest.approx(2 * TOLERANCE, rel=0.05)
    assert not found.within("float32")
    with pytest.raises(ValueError, match="not a finite number"):
        difference(source, Program(source, lambda logits: logits * float("nan")))
    with pytest.raises(ValueError, match="have the shape"):
        difference(source, Program(source, lambda logits: logits[:, 1:]))


class Slips(Program):
    """Writes another token at one place, and goes on from there as it should."""

    place = 5

    def greedy(self, ids: Sequence[int], count: int) -> list[int]:
        written = super().greedy(ids, min(self.place, count))
        if count > self.place:
            written.append(int(self.logits([*ids, *written])[-1].argmin()))
        return written + super().greedy([*ids, *written], count - len(written))


def test_a_written_token_that_is_another_ends_what_is_the_same(source: Source) -> None:
    found = difference(source, Slips(source))
    assert (found.logits, found.same, found.written) == (0.0, 4 * Slips.place, WRITTEN)
    assert not found.within("float32")


def test_written_tokens_that_are_missing_are_told(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Program, "greedy", lambda self, ids, count: [9] * (count - 1))
    with pytest.raises(ValueError, match="15 tokens are written instead of 16"):
        difference(source, Program(source))


class Last(Program):
    """Of tokens that are equally probable it takes the last, where PyTorch takes the first."""

    def greedy(self, ids: Sequence[int], count: int) -> list[int]:
        written: list[int] = []
        for _ in range(count):
            logits = self.logits([*ids, *written])[-1]
            written.append(int((logits >= logits.max() - TOLERANCE / 2).nonzero()[-1]))
        return written


def test_either_of_two_that_are_as_probable_is_right_and_the_rest_is_still_compared(source: Source) -> None:
    weight = head(source).weight.data
    weight[200:300] = weight[100:200]
    weight[300:] = weight[100 : 100 + len(weight) - 300]
    first, last = Program(source), Last(source)
    assert first.greedy([9], 8) != last.greedy([9], 8)
    assert difference(source, last).within("float32")

    class SlipsLater(Last, Slips):
        def greedy(self, ids: Sequence[int], count: int) -> list[int]:
            written = Last.greedy(self, ids, min(self.place, count))
            return written + [0] * (count - len(written))

    assert difference(source, SlipsLater(source)).same < WRITTEN


class Probabilities(Program):
    log_probabilities = True

    def logits(self, ids: Sequence[int]) -> Tensor:
        found = super().logits(ids).log_softmax(-1)
        return torch.where(found < -85, -1e38, found)  # of which fp32 has no probabilities


def test_log_probabilities_are_compared_as_such(source: Source) -> None:
    nn.init.normal_(head(source).weight, std=20.0)
    assert Probabilities(source).logits([9]).min() == -1e38
    found = difference(source, Probabilities(source))
    assert found.logits <= 1e-5
    assert "largest log-probability difference" in str(found)
    assert found.within("float32")
    nn.init.normal_(head(source).weight, std=0.2)
    assert not difference(source, Probabilities(source, lambda logits: 1.01 * logits)).within("float32")


class Coarse(Program):
    def coarseness(self, model: nn.Module, ids: Sequence[int]) -> float:
        return 0.01


def test_what_the_arithmetic_of_a_program_explains_is_allowed_for_and_said(source: Source) -> None:
    found = difference(source, Coarse(source, lambda logits: logits + 0.009))
    assert found.within("float32")
    assert "largest logit difference 9.0e-03 (its own arithmetic explains 1.0e-02)" in str(found)
    assert not difference(source, Coarse(source, lambda logits: logits + 0.02)).within("float32")


class CoarseOnce(Program):
    """Coarse where it reads one token; another where it reads more."""

    def coarseness(self, model: nn.Module, ids: Sequence[int]) -> float:
        return 0.01 if len(ids) == 1 else 0.0

    def logits(self, ids: Sequence[int]) -> Tensor:
        return super().logits(ids) + 0.009 * (len(ids) == self.shifted)

    shifted = 1


def test_what_is_coarse_at_one_prompt_explains_nothing_at_another(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoarseOnce, "greedy", Program(source).greedy)
    assert difference(source, CoarseOnce(source)).within("float32")
    monkeypatch.setattr(CoarseOnce, "shifted", 16)
    found = difference(source, CoarseOnce(source))
    assert found.logits < found.coarseness
    assert not found.within("float32")


def rounded(source: Source, kind: torch.dtype) -> Source:
    model = copy.deepcopy(source.trained.model).to(kind).float()
    return replace(source, trained=replace(source.trained, model=model))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e2])
@pytest.mark.parametrize("precision", BOUNDS)
def test_weights_of_fewer_bits_are_told_from_those_of_another_model(
    source: Source, tmp_path: Path, precision: str, scale: float
) -> None:
    """However large the logits are."""
    other = make_source(tmp_path, *SHORT, seed=1)
    for each in (source, other):
        head(each).weight.data.mul_(scale)
    kind = torch.float16 if precision == "float16" else torch.bfloat16
    found = difference(source, Program(rounded(source, kind)))
    assert 0 < found.share < BOUNDS[precision] / 2
    assert found.within(precision)
    assert found.within("float32") == (scale < 1)
    found = difference(source, Program(other))
    assert found.share > 3 * max(BOUNDS.values())
    assert not found.within(precision)


def test_what_is_written_is_compared_with_weights_of_fewer_bits_too(source: Source) -> None:
    found = difference(source, Slips(source))
    assert found.logits == 0.0
    assert not any(found.within(precision) for precision in BOUNDS)
