"""A bounded sample of documents: bounded, decided by the seed and the texts alone, and fair."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.tokens.sample import PIECE, Sketch, sample_texts

Documents = Sequence[tuple[str, ...]]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
corpora = st.lists(st.lists(texts, max_size=3).map(tuple), max_size=40)

PRINT_SAMPLE = """
from cai.tokens.sample import sample_texts
print(*map(ascii, sample_texts([(f"문서 {n}", "끝") for n in range(500)], 600, 3)))
"""


def sample(documents: Documents, limit: int, seed: int = 1337) -> list[str]:
    return list(sample_texts(documents, limit, seed))


def size(chosen: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in chosen)


def numbered(count: int) -> list[tuple[str, ...]]:
    return [(f"문서 {number}", f"내용 {number * 7919 % 1009}") for number in range(count)]


@settings(max_examples=200, deadline=None)
@given(documents=corpora, limit=st.integers(0, 300), seed=st.integers(0, 2**63 - 1))
def test_what_fits_is_taken_whole_in_its_order_and_of_more_no_more_than_fits(
    documents: Documents, limit: int, seed: int
) -> None:
    whole = [text for document in documents for text in document]
    chosen = sample(documents, limit, seed)
    if size(whole) <= limit:
        assert chosen == whole
    else:
        assert size(chosen) <= limit
        assert set(chosen) <= set(whole)


@settings(max_examples=200, deadline=None)
@given(documents=corpora, limit=st.integers(0, 100), data=st.data())
def test_the_order_of_the_documents_does_not_matter_once_they_are_too_many(
    documents: Documents, limit: int, data: st.DataObject
) -> None:
    if size([text for document in documents for text in document]) > limit:
        shuffled = data.draw(st.permutations(documents))
        assert sample(shuffled, limit) == sample(documents, limit)


def test_repeats_of_a_document_change_nothing_once_they_are_too_many() -> None:
    documents = numbered(300)
    assert sample(documents * 3, 1000) == sample(documents, 1000)
    assert len(sample([*documents, *[("흔한 말",)] * 5000], 1000)) > 40


def test_a_document_comes_with_all_its_texts() -> None:
    chosen = sample(numbered(1000), 5000)
    assert set(zip(chosen[::2], chosen[1::2], strict=True)) <= set(numbered(1000))


def test_the_sample_is_as_large_as_allowed_but_for_a_document() -> None:
    documents = numbered(5000)
    largest = max(size(document) for document in documents)
    for limit in (500, 5000, 50_000):
        assert limit - largest < size(sample(documents, limit)) <= limit


def test_another_seed_is_another_sample_and_a_larger_one_holds_the_smaller() -> None:
    documents = numbered(2000)
    small, large = sample(documents, 2000), sample(documents, 6000)
    assert large[: len(small)] == small
    assert sample(documents, 2000, seed=1) != small


def test_every_document_has_the_same_chance() -> None:
    counts = dict.fromkeys((document[0] for document in numbered(50)), 0)
    for seed in range(400):
        for text in sample([(document[0],) for document in numbered(50)], 25 * 8, seed):
            counts[text] += 1
    assert 140 < min(counts.values()) <= max(counts.values()) < 220


@pytest.mark.parametrize("length", [PIECE + 1, 10 * PIECE, 100 * PIECE])
def test_a_long_document_cannot_be_the_whole_sample(length: int) -> None:
    long = "".join(chr(0xAC00 + number % 11_000) for number in range(length))
    limit = 30 * PIECE
    chosen = sample([(long,), *numbered(60_000)], limit)
    assert limit / 2 < size(chosen) <= limit
    assert all(text in long for text in chosen if len(text) > 100)
    assert sum(len(text) < 100 for text in chosen) > 100


def test_a_document_below_the_limit_is_not_cut() -> None:
    long = "가" * (3 * PIECE)
    assert sample([(long, "나")], 10 * PIECE) == [long, "나"]


def test_every_process_chooses_the_same() -> None:
    root = Path(__file__).parents[2]

    def printed(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", PRINT_SAMPLE]
        return subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, text=True).stdout

    assert printed("1") == printed("2") != "\n"


def test_memory_does_not_grow_with_the_corpus() -> None:
    def peak(count: int) -> int:
        draw = random.Random(1)
        documents: Iterator[tuple[str, ...]] = ((f"{draw.random()} 가나다라마바사 " * 8,) for _ in range(count))
        tracemalloc.start()
        chosen = size(list(sample_texts(documents, 1_000_000, 1)))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert 990_000 < chosen <= 1_000_000
        return used

    small, large = peak(4_000), peak(40_000)
    assert large < 1.3 * small < 5_000_000


def test_a_sketch_can_be_filled_by_hand() -> None:
    sketch = Sketch(100, 1)
    for document in [("가", ""), (), ("", "나")]:
        sketch.add(document)
    assert list(sketch.texts()) == ["가", "", "", "나"]
