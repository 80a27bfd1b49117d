"""Which documents train and which validate."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.data.base import Document
from cai.data.corpus import Corpus
from cai.data.report import Report
from cai.markup import ANSWER, ANSWER_END, QUESTION, Tag, document_parts, plain_text


def corpus_of(
    documents: Iterable[Document | str], split: Literal["hash", "tail"] = "hash", val_ratio: float = 0.25
) -> Corpus:
    """A corpus in memory; a ``str`` is a document without a key."""
    made = [Document((document,)) if isinstance(document, str) else document for document in documents]
    return Corpus(lambda _: iter(made), split, val_ratio, fingerprint="test")


def sides(corpus: Corpus) -> tuple[list[str], list[str]]:
    """The texts of train and of validation."""
    train, val = ([plain_text(document.parts) for document in corpus.select(split)] for split in ("train", "val"))
    return train, val


TEXTS = [f"기관 {number}의 전화는 02-{number:04}입니다." for number in range(3000)]

ratios = st.floats(0.001, 0.999)
texts_to_cut = st.lists(st.text(min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=8)


def test_a_hash_split_takes_about_its_share_and_loses_nothing() -> None:
    train, val = sides(corpus_of(TEXTS, val_ratio=0.1))
    assert 0.08 < len(val) / len(TEXTS) < 0.12
    assert sorted(train + val) == sorted(TEXTS)
    assert train == [text for text in TEXTS if text in set(train)], "in the order of the source"


def test_duplicates_never_straddle_a_hash_split() -> None:
    train, val = sides(corpus_of(TEXTS + TEXTS[::-1] + TEXTS[::7]))
    assert train
    assert val
    assert not set(train) & set(val)


def test_composed_and_decomposed_duplicates_fall_on_the_same_side() -> None:
    train, val = sides(corpus_of([*TEXTS, *(unicodedata.normalize("NFD", text) for text in TEXTS)]))
    assert not set(train) & set(val)
    assert len(train) == 2 * len(set(train))


def test_neither_order_nor_company_changes_the_side_of_a_document() -> None:
    _, val = sides(corpus_of(TEXTS))
    shuffled = random.Random(0).sample(TEXTS, len(TEXTS))
    assert set(sides(corpus_of(shuffled))[1]) == set(val)
    assert set(sides(corpus_of(shuffled[:500]))[1]) == set(val) & set(shuffled[:500])


def test_a_larger_share_keeps_the_validation_documents_of_a_smaller_one() -> None:
    small, large = (set(sides(corpus_of(TEXTS, val_ratio=ratio))[1]) for ratio in (0.05, 0.3))
    assert small < large


def test_documents_of_one_key_stay_together_under_hash_wherever_they_stand() -> None:
    documents = [Document((f"{text}{copy}",), key=text) for copy in range(3) for text in TEXTS[:200]]
    corpus = corpus_of(documents)
    train, val = ({document.key for document in corpus.select(split)} for split in ("train", "val"))
    assert train
    assert val
    assert not train & val


@settings(max_examples=200, deadline=None)
@given(text=st.text(min_size=1).filter(str.strip), ratio=ratios)
def test_a_tail_split_of_one_document_is_the_cut_of_nanogpt(text: str, ratio: float) -> None:
    text = unicodedata.normalize("NFC", text)
    cut = int(len(text) * (1 - ratio))
    train, val = sides(corpus_of([text], "tail", ratio))
    assert ("".join(train), "".join(val)) == (text[:cut], text[cut:])


@settings(max_examples=200, deadline=None)
@given(texts=texts_to_cut, ratio=ratios)
def test_a_tail_split_of_many_documents_cuts_their_characters_at_one_place(texts: list[str], ratio: float) -> None:
    texts = [unicodedata.normalize("NFC", text) for text in texts]
    whole = "".join(texts)
    cut = int(len(whole) * (1 - ratio))
    train, val = sides(corpus_of(texts, "tail", ratio))
    assert ("".join(train), "".join(val)) == (whole[:cut], whole[cut:])
    assert "" not in train + val
    assert len(train) + len(val) - len(texts) in (0, 1), "one document at most is in two pieces"


def test_a_tail_split_counts_composed_characters() -> None:
    train, val = sides(corpus_of([unicodedata.normalize("NFD", "가나다라마바사아자차")], "tail", 0.2))
    assert (train, val) == (["가나다라마바사아"], ["자차"])


def test_a_tail_cut_between_documents_cuts_none() -> None:
    assert sides(corpus_of(["가나", "다라", "마바", "사아"], "tail", 0.5)) == (["가나", "다라"], ["마바", "사아"])


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_tail_split_neither_cuts_a_keyed_document_nor_parts_it_from_its_key(ratio: float) -> None:
    documents = [Document((f"{number} {'가' * (number % 5)}",), key=f"k{number // 3}") for number in range(60)]
    corpus = corpus_of(documents, "tail", ratio)
    train, val = (list(corpus.select(split)) for split in ("train", "val"))
    assert train + val == documents
    assert not {document.key for document in train} & {document.key for document in val}


def test_a_tail_split_keeps_a_key_together_whose_documents_lie_apart() -> None:
    documents = [Document((f"문서 {number}",), key=f"k{number % 7}") for number in range(5)]
    documents += [Document((f"다시 {number}",), key=f"k{number % 7}") for number in range(20)]
    corpus = corpus_of(documents, "tail", 0.5)
    train, val = ({document.key for document in corpus.select(split)} for split in ("train", "val"))
    assert not train & val


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8])
def test_a_document_without_key_that_a_tail_split_cuts_keeps_its_tags(ratio: float) -> None:
    parts = (QUESTION, "가" * 40, ANSWER, "나" * 40, ANSWER_END)
    corpus = corpus_of([Document(parts)], "tail", ratio)
    train, val = (list(corpus.select(split)) for split in ("train", "val"))
    pieces = [part for document in train + val for part in document.parts]
    assert plain_text(pieces) == plain_text(parts)
    assert [part for part in pieces if isinstance(part, Tag)] == [QUESTION, ANSWER, ANSWER_END]


def test_documents_are_composed_and_their_tags_stay_tags() -> None:
    corpus = corpus_of([Document((QUESTION, unicodedata.normalize("NFD", "전화"), ANSWER))])
    ((_, text, last),) = [document.parts for document in (*corpus.select("train"), *corpus.select("val"))]
    assert text == "전화"
    assert isinstance(last, Tag)


def test_what_a_tokenizer_learns_from_has_no_tags_and_no_validation_text() -> None:
    documents = [Document(document_parts(f"질문 {n}", f"문서 {n}", f"요약:\n- 답 {n}"), key=str(n)) for n in range(50)]
    corpus = corpus_of(documents)
    texts = list(corpus.texts("train"))
    train = list(corpus.select("train"))
    assert 0 < len(train) < 50
    assert "".join(texts) == "".join(part for d in train for part in d.parts if not isinstance(part, Tag))
    assert not any(isinstance(text, Tag) for text in texts)


def test_documents_are_taken_from_their_source_one_by_one() -> None:
    def endless(_: Report) -> Iterator[Document]:
        number = 0
        while True:
            yield Document((f"문서 {number}",))
            number += 1

    corpus = Corpus(endless, "hash", 0.5, fingerprint="test")
    assert len([document for document, _ in zip(corpus.select("val"), range(10), strict=False)]) == 10
