"""Where a model looks: the attention of every layer and head over some tokens, and figures that say what a head does."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cai.errors import RunError

REPEATED = 25
"""Random tokens that stand twice, as many as Olsson et al. repeat."""
SEQUENCES = 32
"""Of them, over which the induction score is a mean."""
INDUCTION = 0.25
"""Score from which on a head is called an induction head: ten times what looking everywhere alike gives (0.026). Heads are
far apart: of a default run's eight one has 0.6 and none of the others 0.04."""
MUCH = 0.4
"""Share of its attention on one place, the token before or the first, from which on a head is named after it."""


class Head(NamedTuple):
    """What one head does, as figures. Shares are of the attention of a token, means over all tokens but the first."""

    layer: int
    """From 0, as in the names of the parameters."""
    head: int
    entropy: float
    """In bits: log2 of how many tokens are looked at, as it were."""
    relative: float
    """The entropy as a share of its most, which it has where all that a token may see gets alike."""
    previous: float
    """Share for the token before."""
    itself: float
    first: float
    """Share for the first token, where a head looks that has nothing to look for (arXiv:2309.17453)."""
    document: float | None
    """Share for the document, of the tokens behind it; ``None`` if there is none."""
    induction: float | None
    """``Induction.scores``; ``None`` if the model sees too few tokens for it."""


class Induction(NamedTuple):
    """Which heads find what came next the last time (arXiv:2209.11895)."""

    length: int
    """Random tokens, each of them twice."""
    scores: list[Tensor]
    """Of each layer ``(H,)``: on a sequence of random tokens that stands twice, the mean attention of each token of the
    second half to the one that followed its earlier occurrence."""
    chance: float
    """The score of a head that looks everywhere alike."""


def refuse_without_attention(model: nn.Module) -> None:
    """Raise ``RunError`` if ``model`` cannot tell its attention."""
    attention, hidden = getattr(model, "attention", None), getattr(model, "hidden", None)
    if not inspect.ismethod(attention) or hidden is None or "context" not in inspect.signature(hidden).parameters:
        raise RunError(
            "run must be of a model that tells its attention, but"
            f" {type(model).__name__} does not. Build it on cai.model.decoder.Decoder, with `hidden(ids, context)`, and give"
            " `context` to cai.model.layers.attend."
        )


@torch.no_grad()
def attention_of(model: nn.Module, ids: Sequence[int]) -> list[Tensor]:
    """Each layer's weights ``(H, T, T)`` over ``ids``, in fp32 on the CPU. Raises ``RunError`` if the model tells none."""
    refuse_without_attention(model)
    device = next(model.parameters()).device
    _, layers = model.attention(torch.tensor([list(ids)], device=device))  # type: ignore[operator]
    if not layers:
        raise RunError(
            f"run must be of a model that tells its attention, but {type(model).__name__} tells none. Give `context` to"
            " cai.model.layers.attend."
        )
    return [layer[0].float().cpu() for layer in layers]


@torch.no_grad()
def induction_of(model: nn.Module, vocabulary: Sequence[int], seed: int) -> Induction | None:
    """Measured on random tokens of ``vocabulary``, which ``seed`` draws; ``None`` if the model sees fewer than 4 at once.

    Olsson et al. repeat more often and leave out the rarest and the most common tokens; no token comes twice here before
    the repetition, so that it is certain which one followed.
    """
    block_size = int(model.block_size)  # type: ignore[arg-type]
    length = min(REPEATED, block_size // 2, len(vocabulary))
    if length < 2:
        return None
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(len(vocabulary), generator=generator)[:length] for _ in range(SEQUENCES)])
    ids = torch.tensor(vocabulary)[orders].repeat(1, 2)  # (SEQUENCES, 2 * length)
    _, layers = model.attention(ids.to(next(model.parameters()).device))  # type: ignore[operator]
    looking = torch.arange(length, 2 * length)
    scores = [layer[:, :, looking, looking - length + 1].float().mean(dim=(0, 2)).cpu() for layer in layers]
    return Induction(length, scores, float((1 / (looking + 1)).mean()))


def heads_of(layers: Sequence[Tensor], induction: Induction | None, document: range | None = None) -> list[Head]:
    """The figures of every head, from weights ``(H, T, T)`` by layer; T is at least 2."""
    found = []
    for number, weights in enumerate(layers):
        entropy = torch.special.entr(weights).sum(-1)[:, 1:]  # (H, T - 1), in nats
        most = torch.arange(2, weights.shape[-1] + 1).log()
        figures = [
            (entropy / math.log(2)).mean(-1),
            (entropy / most).mean(-1),
            weights.diagonal(-1, 1, 2).mean(-1),
            weights.diagonal(0, 1, 2)[:, 1:].mean(-1),
            weights[:, 1:, 0].mean(-1),
        ]
        to_document = None if document is None else _to_document(weights, document)
        for head in range(len(weights)):
            bits, relative, previous, itself, first = (float(figure[head]) for figure in figures)
            found.append(
                Head(
                    layer=number,
                    head=head,
                    entropy=bits,
                    relative=relative,
                    previous=previous,
                    itself=itself,
                    first=first,
                    document=None if to_document is None else float(to_document[head]),
                    induction=None if induction is None else float(induction.scores[number][head]),
                )
            )
    return found


def _to_document(weights: Tensor, document: range) -> Tensor:
    """``(H,)``: how much of the attention of what comes after the document goes to it."""
    return weights[:, document.stop :, document.start : document.stop].sum(-1).mean(-1)


def chance(tokens: int) -> float:
    """Share that any one place gets of a head that looks everywhere alike, a mean over all tokens but the first."""
    return sum(1 / seen for seen in range(2, tokens + 1)) / max(1, tokens - 1)


def chance_of(document: range, tokens: int) -> float:
    """The share that ``document`` gets of a head that looks everywhere alike, of the tokens behind it."""
    behind = range(document.stop, tokens)
    return sum(len(document) / (place + 1) for place in behind) / max(1, len(behind))


def names_of(head: Head, tokens: int) -> list[str]:
    """What a head looks like, over so many ``tokens``."""
    names = ["induction"] * (head.induction is not None and head.induction >= INDUCTION)
    least = max(MUCH, 2 * chance(tokens))  # of two or three tokens each gets much
    return names + ["token before"] * (head.previous >= least) + ["first token"] * (head.first >= least)


def span_between(ids: Sequence[int], opening: int, closing: int) -> range | None:
    """The places between two tags, or from the beginning if the first was cut off; ``None`` unless something follows."""
    if closing not in ids:
        return None
    stop = ids.index(closing)
    start = ids.index(opening) + 1 if opening in ids[:stop] else 0
    return range(start, stop) if start < stop < len(ids) - 1 else None
