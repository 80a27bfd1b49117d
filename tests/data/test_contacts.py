"""The embedded corpus as a dataset."""

from __future__ import annotations

import unicodedata
from typing import Literal

import pytest
from pydantic import ValidationError

from cai.data.contacts import ContactsConfig
from cai.data.contacts.tables import NOTICE
from cai.data.report import Report
from cai.markup import ANSWER, ANSWER_END, ANSWER_START, DOC, DOC_END, QUESTION, QUESTION_END, Tag, plain_text
from tests.data.options import ROWS

OPTIONS = ROWS | {"samples": 900, "questions": 3, "seed": 1337, "wild": 0.5, "split": "hash", "val_ratio": 0.2}


def config(**changed: object) -> ContactsConfig:
    return ContactsConfig.model_validate(OPTIONS | changed)


@pytest.mark.parametrize("split", ["hash", "tail"])
@pytest.mark.parametrize("questions", [1, 3, 4])
def test_train_and_validation_share_no_organisation(split: Literal["hash", "tail"], questions: int) -> None:
    corpus = config(split=split, questions=questions).build()
    train, val = (list(corpus.select(side)) for side in ("train", "val"))
    assert len(train) + len(val) == 900
    assert 0.14 < len(val) / 900 < 0.26
    train_keys, val_keys = {document.key for document in train}, {document.key for document in val}
    assert not train_keys & val_keys
    # A name of a few syllables may be part of another word.
    assert not any(len(key) > 5 and key in plain_text(document.parts) for document in train[:100] for key in val_keys)


def test_every_document_is_whole_tagged_composed_and_keyed() -> None:
    for document in config(split="tail").build().documents(Report()):
        tags = [part for part in document.parts if isinstance(part, Tag)]
        assert tags == [QUESTION, QUESTION_END, DOC, DOC_END, ANSWER, ANSWER_END]
        text = plain_text(document.parts)
        assert unicodedata.is_normalized("NFC", text)
        assert f"{ANSWER}{ANSWER_START}" in text
        assert document.key
        assert document.key in text


def test_the_corpus_is_the_same_every_time_it_is_read() -> None:
    corpus = config().build()
    first = list(corpus.documents(Report()))
    assert list(corpus.documents(Report())) == first == list(config().build().documents(Report()))


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 100])
def test_there_are_as_many_samples_as_asked_and_more_samples_only_add(samples: int) -> None:
    documents = list(config(samples=samples).build().documents(Report()))
    assert len(documents) == samples
    assert documents == list(config().build().documents(Report()))[:samples]


def test_another_seed_is_another_world() -> None:
    one, other = ([plain_text(d.parts) for d in config(seed=seed).build().documents(Report())] for seed in (1, 2))
    assert len(set(one) & set(other)) < 10


def test_the_fingerprint_tells_every_option() -> None:
    changes: list[dict[str, object]] = [
        {},
        {"samples": 901},
        {"wild": 0.6},
        {"questions": 2},
        {"seed": 1},
        {"split": "tail"},
        {"val_ratio": 0.21},
    ]
    assert len({config(**changed).build().fingerprint for changed in changes}) == len(changes)
    assert config().build().fingerprint == config().build().fingerprint


def test_nothing_can_be_missing_and_a_reader_is_told_that_the_world_is_made_up() -> None:
    config().check()
    assert config().build().note == NOTICE


@pytest.mark.parametrize(
    "wrong", [{"samples": 0}, {"questions": 0}, {"val_ratio": 0.0}, {"val_ratio": 1.0}, {"split": "none"}]
)
def test_impossible_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        config(**wrong)
