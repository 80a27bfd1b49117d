"""The tokenizer of a corpus, learned once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cai.data.base import Document
from cai.data.contacts import ContactsConfig
from cai.data.corpus import Corpus
from cai.data.report import Report
from cai.errors import DataError
from cai.tokenizer.byte import ByteConfig
from cai.tokenizer.char import CharConfig
from cai.tokenizer.pretrained import PretrainedConfig
from cai.tokens.learned import learn_tokenizer, texts_for
from tests.data.options import ROWS
from tests.data.test_split import corpus_of
from tests.data.test_text import text_config, write
from tests.tokenizer.conftest import bpe_config

BPE = bpe_config(400)


def contacts(**changed: object) -> Corpus:
    options = ROWS | {"samples": 60, "questions": 3, "wild": 0.0, "seed": 1, "split": "hash", "val_ratio": 0.3}
    return ContactsConfig.model_validate(options | changed).build()


def learned(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "tokenizers").iterdir() if not path.name.startswith("."))


def test_a_tokenizer_is_learned_once_and_found_again(tmp_path: Path) -> None:
    first = learn_tokenizer(BPE, contacts(), tmp_path)
    assert first.fingerprint == BPE.build(contacts().texts("train")).fingerprint

    def unreadable(_: Report) -> Iterator[Document]:
        raise AssertionError("the corpus was read again")

    again = learn_tokenizer(BPE, replace(contacts(), documents=unreadable), tmp_path)
    assert again.fingerprint == first.fingerprint
    assert len(learned(tmp_path)) == 1


def test_it_learns_from_train_documents_only(tmp_path: Path) -> None:
    corpus = corpus_of(["가나다", "라마바"], "tail", 0.5)
    tokenizer = learn_tokenizer(CharConfig(), corpus, tmp_path)
    assert tokenizer.unknown_id not in tokenizer.encode("가나다")
    assert set(tokenizer.encode("라마바")) == {tokenizer.unknown_id}


def test_a_corpus_that_fits_is_learned_from_whole_so_that_no_sample_changes_the_tokenizer(tmp_path: Path) -> None:
    whole = list(contacts().texts("train"))
    assert list(texts_for(BPE, contacts())) == list(texts_for(bpe_config(400, sample_mb=None), contacts())) == whole
    learn_tokenizer(BPE, contacts(), tmp_path / "cache").save(tmp_path / "a.json")
    BPE.build(whole).save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_larger_corpus_is_learned_from_a_sample_of_its_train_documents_in_any_order(tmp_path: Path) -> None:
    config = bpe_config(400, sample_mb=0.1)
    texts = [f"{number}번째 마을의 이야기: {'가나다라마바사' * (number % 40)}" for number in range(3000)]
    corpora = [corpus_of(texts, "hash", 0.3), corpus_of(texts[::-1], "hash", 0.3)]
    chosen = [list(texts_for(config, corpus)) for corpus in corpora]
    assert chosen[0] == chosen[1]
    assert 90_000 < sum(len(text.encode()) for text in chosen[0]) <= 100_000
    assert set(chosen[0]) < set(corpora[0].texts("train"))
    tokenizers = [learn_tokenizer(config, corpus, tmp_path / str(n)) for n, corpus in enumerate(corpora)]
    assert tokenizers[0].fingerprint == tokenizers[1].fingerprint
    assert list(texts_for(bpe_config(400, sample_mb=0.1, sample_seed=7), corpora[0])) != chosen[0]
    assert list(texts_for(CharConfig(), corpora[0])) == list(corpora[0].texts("train")), "an alphabet is taken whole"


def test_the_parts_that_all_documents_share_are_in_every_sample() -> None:
    sampled = list(texts_for(bpe_config(400, sample_mb=0.1), contacts(samples=1200)))
    assert sum(len(text.encode()) for text in sampled) <= 100_000
    assert sampled.count("\n요약:\n-") == sampled.count("\n\n") / 2 > 50


def test_a_tokenizer_file_of_ones_own_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    config = PretrainedConfig(path=str(path))
    found = []
    for vocab_size in (300, 310, 300):
        bpe_config(vocab_size).build(contacts().texts("train")).save(path)
        found.append(learn_tokenizer(config, contacts(), tmp_path).vocab_size)
    assert found == [300, 310, 300]
    assert len(learned(tmp_path)) == 2


def test_every_kind_option_and_corpus_has_a_tokenizer_of_its_own(tmp_path: Path) -> None:
    corpora = [contacts(), contacts(seed=2), contacts(val_ratio=0.5)]
    for config in (
        BPE,
        bpe_config(400, 2),
        bpe_config(401),
        CharConfig(),
        ByteConfig(),
    ):
        for corpus in corpora:
            learn_tokenizer(config, corpus, tmp_path)
    assert len(learned(tmp_path)) == 15


def test_a_bad_byte_stops_learning_with_the_same_message_and_leaves_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "글\n".encode() * 50 + b"\xff\n")
    for config in (BPE, CharConfig()):
        with pytest.raises(DataError, match="line 51 has the byte 0xff at offset 200"):
            learn_tokenizer(config, text_config(path, val_ratio=0.01).build(), tmp_path)
    assert learned(tmp_path) == []
