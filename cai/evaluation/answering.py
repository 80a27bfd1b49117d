"""From cases to answers and scores: what a trained model says, and how much of it is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cai.data.cases import Case, whole_answer
from cai.evaluation.answers import Judgement, score
from cai.evaluation.scores import Scores

if TYPE_CHECKING:
    from cai.generation import Completion, Generator


@dataclass(frozen=True)
class Answered:
    """A case, the whole answer it got (from ``요약:`` on), and what is right and wrong about it."""

    case: Case
    text: str
    judgement: Judgement


def answer(
    generator: Generator,
    cases: Sequence[Case],
    seed: int,
    batch_size: int = 32,
    progress: Callable[[int], object] | None = None,
) -> list[Completion]:
    """What follows the prompt of each case, in the order of the cases.

    ``progress`` is told of each answer that is there (1). Neither the batch nor the order in which texts end decides one.
    """
    found: dict[int, Completion] = {}
    for completion in generator.complete([case.prompt for case in cases], seed, batch_size=batch_size):
        found[completion.prompt] = completion
        if progress:
            progress(1)
    return [found[number] for number in range(len(cases))]


def evaluate_answers(
    generator: Generator,
    cases: Sequence[Case],
    seed: int,
    batch_size: int = 32,
    progress: Callable[[int], object] | None = None,
) -> tuple[Scores, list[Answered]]:
    """All cases answered and judged, in their order; and the scores of all together."""
    answered = []
    for case, completion in zip(cases, answer(generator, cases, seed, batch_size, progress), strict=True):
        text = whole_answer(case.prompt, completion.text)
        answered.append(Answered(case, text, score(case, text, closed=completion.end == "tag")))
    return Scores.of([each.judgement for each in answered]), answered
