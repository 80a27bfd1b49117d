"""From cases to scores, with a generator whose every text is known, and once with a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from cai.data.cases import Case, case_of_example
from cai.data.contacts.examples import Example, make_examples
from cai.data.contacts.organisations import make_organisation
from cai.data.contacts.unseen.tables import EVALUATION_TABLES
from cai.decoding.row import End
from cai.evaluation.answering import answer, evaluate_answers
from cai.evaluation.scores import Count
from cai.generation import Completion, GenerationConfig, Generator
from cai.markup import ANSWER, ANSWER_END, ANSWER_START, Part, document_parts, prompt_parts
from cai.tokenizer.byte import ByteConfig

BYTE = ByteConfig().build([])


class Known:
    """Gives the text known for each prompt, the last first, as texts may end in any order."""

    def __init__(self, texts: dict[tuple[Part, ...], str], end: End = "tag") -> None:
        self.texts = texts
        self.end: End = end
        self.calls: list[tuple[int, int]] = []

    def complete(self, prompts: Iterable[Sequence[Part]], seed: int, *, batch_size: int) -> Iterator[Completion]:
        self.calls.append((seed, batch_size))
        for number, prompt in reversed(list(enumerate(prompts))):
            yield Completion(number, 0, self.texts[tuple(prompt)], (), self.end)


class Reciting(nn.Module):
    """Goes on with the text that it knows by heart: the ids after the beginning it is given."""

    block_size = 4000

    def __init__(self, texts: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.known = [list(ids) for ids in texts]

    def forward(self, ids: Tensor) -> Tensor:
        logits = torch.zeros(*ids.shape, BYTE.vocab_size)
        for row, given in enumerate(ids.tolist()):
            (whole,) = [known for known in self.known if known[: len(given)] == given]
            logits[row, -1, whole[len(given)]] = 100.0
        return logits


def examples(count: int) -> list[Example]:
    return [make_examples(make_organisation(i, 5, EVALUATION_TABLES), 1, 5, EVALUATION_TABLES)[0] for i in range(count)]


def generator(known: Known) -> Generator:
    return cast("Generator", known)


def texts_of(made: list[Example]) -> dict[tuple[Part, ...], str]:
    """What a perfect model writes after each prompt."""
    starts = len(ANSWER_START) - 1
    return {case_of_example(each).prompt: f"{each.answer[starts:]}\n" for each in made}


def test_answers_come_in_the_order_of_the_cases() -> None:
    made = examples(5)
    cases = [case_of_example(each) for each in made]
    known, told = Known(texts_of(made)), list[int]()
    found = answer(generator(known), cases, 7, batch_size=3, progress=told.append)
    assert [completion.text for completion in found] == list(texts_of(made).values())
    assert told == [1] * 5
    assert known.calls == [(7, 3)]


def test_a_perfect_model_has_perfect_scores() -> None:
    made = examples(60)
    cases = [case_of_example(each) for each in made]
    scores, answered = evaluate_answers(generator(Known(texts_of(made))), cases, 1)
    assert [each.text for each in answered] == [each.answer for each in made]
    assert [each.case for each in answered] == cases
    assert scores.all_three == scores.well_formed == scores.closed == Count(60, 60)
    assert scores.fields.share == 1
    refusals = sum(case.refuses for case in cases)
    assert scores.refusals == Count(refusals, refusals)
    assert refusals
    assert scores.false_refusals == Count(0, 60 - refusals)
    assert scores.invented == Count(0, 60)
    assert scores.answers == Count(0, 0)


@pytest.mark.parametrize("end", ["length", "stop"])
def test_what_ends_otherwise_is_not_closed(end: End) -> None:
    made = examples(2)
    scores, _ = evaluate_answers(generator(Known(texts_of(made), end)), [case_of_example(each) for each in made], 1)
    assert scores.closed == Count(0, 2)


def test_a_prompt_without_the_fixed_beginning_leaves_it_to_the_model() -> None:
    own, given = (ANSWER,), (ANSWER, ANSWER_START)
    cases = [Case(prompt, "", {}, refuses=False, answers=("가온",)) for prompt in (own, given)]
    scores, answered = evaluate_answers(generator(Known({own: "\n답: 가온\n", given: " 가온"})), cases, 1)
    assert [each.text for each in answered] == ["답: 가온", "요약:\n- 가온"]
    assert scores.answers == Count(2, 2)


def test_no_case_is_no_answer() -> None:
    scores, answered = evaluate_answers(generator(Known({})), [], 1)
    assert (scores.figures(), answered) == ({}, [])


def test_a_model_that_knows_the_answers_by_heart_is_told_so() -> None:
    made = examples(3)
    ids = [BYTE.encode_parts(document_parts(each.question, each.document, each.answer)) for each in made]
    cases = [case_of_example(each) for each in made]
    own = Case(prompt_parts("누구?", "가온"), "가온", {}, refuses=True)
    ids.append(BYTE.encode_parts((*own.prompt, " 문서에 없습니다.\n", ANSWER_END)))
    scores, answered = evaluate_answers(_generator(Reciting(ids)), [*cases, own], 1, batch_size=2)
    assert [each.text for each in answered] == [*(each.answer for each in made), "요약:\n- 문서에 없습니다."]
    assert scores.closed == Count(4, 4)
    assert scores.all_three == Count(3, 3)
    assert answered[-1].judgement.refusal is True


def _generator(model: nn.Module) -> Generator:
    options: dict[str, Any] = {
        "repetition_penalty": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "no_repeat_ngram": 0,
        "temperature": 0.0,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "max_new_tokens": 2000,
        "stop": (),
        "lookup_tokens": 0,
        "show": None,
    }
    return GenerationConfig.model_validate(options).build(model, BYTE)
