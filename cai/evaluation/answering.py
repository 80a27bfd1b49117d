"""From cases to answers and scores: what a trained model says, and how much of it is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cai.data.cases import Case, whole_answer
from cai.evaluation.answers import Judgement, score
from cai.evaluation.scores import Scores

if TYPE_CHECKING:
    from cai.data.base import DataConfig
    from cai.data.corpus import Corpus
    from cai.generation import Completion, Generator


@dataclass(frozen=True)
class Answered:
    """A case, the whole answer it got (from ``요약:`` on), and what is right and wrong about it."""

    case: Case
    text: str
    judgement: Judgement

    def record(self) -> dict[str, Any]:
        """For a file: what was asked, of which document, what was answered, what should have been, and the judgement."""
        case = self.case
        expected = {"fields": dict(case.fields), "refuses": case.refuses, "answers": list(case.answers)}
        asked = {"question": case.question, "document": case.document, "answer": self.text}
        return {**asked, "expected": expected, **asdict(self.judgement)}


def cases_of(data: DataConfig, corpus: Corpus, count: int) -> tuple[list[Case], str]:
    """Up to ``count`` questions to a model that was trained on ``corpus``, and what they are about; none if it has none."""
    # A text without questions is not read to its end for them: samples start from its first validation document.
    asks = corpus.unseen is not None or data.asks or any(prompt.parts for prompt in corpus.prompts(1))
    about = "validation documents" if corpus.unseen is None else "organisations never seen"
    return corpus.cases(count) if asks else [], about


def longer_than_window(generator: Generator, cases: Sequence[Case]) -> int:
    """How many of the prompts lose their beginning."""
    block_size: int = generator.model.block_size  # type: ignore[assignment]
    return sum(len(generator.tokenizer.encode_parts(case.prompt)) > block_size for case in cases)


def told_of_window(count: int) -> str:
    """That so many prompts lost their beginning; nothing for none."""
    if not count:
        return ""
    some = "1 prompt was" if count == 1 else f"{count:,} prompts were"
    return f"{some} longer than the model's window and lost {'its' if count == 1 else 'their'} beginning"


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
