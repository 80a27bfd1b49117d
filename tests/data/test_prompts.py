"""What samples start from."""

from __future__ import annotations

from dataclasses import replace

from cai.data.base import Document
from cai.data.cases import Case
from cai.data.corpus import Prompt
from cai.markup import ANSWER, ANSWER_START, QUESTION, QUESTION_END, document_parts, prompt_parts
from tests.data.test_split import corpus_of


def keyed(number: int, key: int) -> Document:
    return Document(document_parts(f"질문 {number}?", f"문서 {number}", f"요약:\n- 답 {number}"), key=f"기관 {key}")


def test_prompts_are_questions_of_different_validation_keys() -> None:
    corpus = corpus_of([keyed(number, number // 3) for number in range(90)])
    prompts = corpus.prompts(4)
    firsts: dict[str | None, Document] = {}
    for document in corpus.select("val"):
        firsts.setdefault(document.key, document)
    assert [prompt.parts for prompt in prompts] == [
        (*document.parts[: document.parts.index(ANSWER)], ANSWER, ANSWER_START) for document in list(firsts.values())[:4]
    ]
    assert all(prompt.title.startswith("질문 ") for prompt in prompts)


def test_a_prompt_is_spelled_like_that_of_a_question_asked_by_hand() -> None:
    corpus = corpus_of([keyed(number, number) for number in range(40)])
    prompt = corpus.prompts(1)[0]
    number = prompt.title.removeprefix("질문 ").removesuffix("?")
    assert prompt.parts == prompt_parts(prompt.title, f"문서 {number}")


def test_a_corpus_with_fewer_validation_keys_gives_fewer_prompts() -> None:
    corpus = corpus_of([keyed(number, number % 5) for number in range(100)], val_ratio=0.5)
    keys = {document.key for document in corpus.select("val")}
    assert len(corpus.prompts(50)) == len(keys) < 5


def test_plain_text_is_sampled_from_the_start_of_a_document() -> None:
    corpus = corpus_of([f"글 {number}" for number in range(40)])
    assert corpus.prompts(3) == [Prompt("(start of a document)", ())]


def test_no_prompts_are_given_when_none_are_asked_for() -> None:
    assert corpus_of([keyed(number, number) for number in range(40)]).prompts(0) == []
    assert corpus_of([f"글 {number}" for number in range(40)]).prompts(0) == []


def test_a_line_of_text_that_spells_a_tag_is_no_question() -> None:
    documents = [Document((text,)) for text in (str(ANSWER), str(QUESTION))]
    corpus = corpus_of(documents, val_ratio=0.999)
    assert [document.parts[0] for document in corpus.select("val")] == ["[ANSWER]", "[QUESTION]"]
    assert corpus.prompts(2) == [Prompt("(start of a document)", ())]


def test_of_a_corpus_with_unseen_questions_these_are_the_prompts() -> None:
    case = Case((QUESTION, "\n몇 번?\n", QUESTION_END), "", {}, False)
    corpus = replace(corpus_of([keyed(number, number) for number in range(40)]), unseen=lambda count: [case] * count)
    assert corpus.prompts(2) == [Prompt("몇 번?", case.prompt)] * 2
