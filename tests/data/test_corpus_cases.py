"""The questions that a corpus gives to score answers by."""

from __future__ import annotations

from dataclasses import replace

import cai
from cai.data.base import Document
from cai.data.cases import Case, case_of_document, case_of_example
from cai.data.contacts.unseen.examples import unseen_examples
from cai.data.corpus import Corpus
from cai.data.report import Report
from cai.evaluation.answering import cases_of
from cai.markup import prompt_parts
from tests.data.test_prompts import keyed
from tests.data.test_split import corpus_of


def expected(corpus: Corpus) -> list[Case]:
    """Every case of the validation documents: the first of each key, then the second of each, and so on."""
    rounds: dict[int, list[Case]] = {}
    times: dict[str | None, int] = {}
    for document in corpus.select("val"):
        turn = times.get(document.key, 0)
        times[document.key] = turn + 1
        case = case_of_document(document.parts)
        assert case is not None
        rounds.setdefault(turn, []).append(case)
    return [case for turn in sorted(rounds) for case in rounds[turn]]


def test_cases_are_of_validation_documents_one_of_each_key_first() -> None:
    corpus = corpus_of([keyed(number, number // 3) for number in range(90)])
    every = expected(corpus)
    assert len(every) > 3 * 4
    for count in (0, 1, 4, len(every) - 1, len(every), len(every) + 9):
        assert corpus.cases(count) == every[:count]


def test_keys_that_come_again_later_wait_for_all_others() -> None:
    corpus = corpus_of([keyed(number, number % 7) for number in range(70)], val_ratio=0.6)
    assert corpus.cases(100) == expected(corpus)


def test_no_more_is_read_than_is_needed() -> None:
    read = []
    corpus = corpus_of([keyed(number, number) for number in range(900)], val_ratio=0.5)

    def documents(report: Report) -> object:
        for document in corpus.documents(report):
            read.append(1)
            yield document

    counted = replace(corpus, documents=documents)  # type: ignore[arg-type]
    assert len(counted.cases(3)) == 3
    assert len(read) < 50
    read.clear()
    assert counted.cases(0) == []
    assert not read


def test_a_text_that_comes_twice_without_a_key_is_asked_about_last() -> None:
    twice = [replace(keyed(number % 30, 0), key=None) for number in range(60)]
    corpus = corpus_of(twice, val_ratio=0.5)
    every = corpus.cases(60)
    half = len(every) // 2
    assert every[:half] == every[half:]
    assert len({case.prompt for case in every}) == half


def test_documents_without_a_question_give_none() -> None:
    documents = [keyed(number, number) if number % 2 else Document((f"글 {number}",)) for number in range(60)]
    corpus = corpus_of(documents, val_ratio=0.5)
    assert corpus.cases(60) == [
        case for document in corpus.select("val") if (case := case_of_document(document.parts)) is not None
    ]
    assert corpus_of([f"글 {number}" for number in range(40)]).cases(5) == []


def test_a_question_can_be_read_off_a_case() -> None:
    assert Case(prompt_parts("전화는?", "문서"), "문서", {}, refuses=False).question == "전화는?"
    assert Case(("가",), "", {}, refuses=False).question == ""


def test_unseen_questions_take_the_place_of_the_corpus_own() -> None:
    corpus = cai.compose(["data.samples=60"]).data.build()
    assert corpus.cases(5) == [case_of_example(example) for example in unseen_examples(5)]
    assert corpus.cases(0) == []
    assert corpus.fingerprint == replace(corpus, unseen=None).fingerprint


def test_what_the_questions_are_about_is_said() -> None:
    data = cai.compose(["data.samples=600", "data.val_ratio=0.2"]).data
    corpus = data.build()
    assert cases_of(data, corpus, 2) == (corpus.cases(2), "organisations never seen")
    own = replace(corpus, unseen=None)
    assert cases_of(data, own, 2) == (own.cases(2), "validation documents")
    assert own.cases(2) != corpus.cases(2)


def test_a_text_without_questions_is_not_read_to_its_end_for_them() -> None:
    read = []

    def documents(_: Report) -> object:
        for number in range(1000):
            read.append(1)
            yield Document((f"글 {number}",))

    data = cai.compose(["data=text", "data.path=x"]).data
    corpus = Corpus(documents=documents, split="hash", val_ratio=0.5, fingerprint="x")  # type: ignore[arg-type]
    assert cases_of(data, corpus, 9) == ([], "validation documents")
    assert len(read) < 50
