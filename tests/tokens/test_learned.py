"""The tokenizer of a corpus, learned once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cai.data.base import Corpus
from cai.data.contacts import ContactsConfig
from cai.errors import DataError
from cai.tokenizer.bpe import BPEConfig
from cai.tokenizer.byte import ByteConfig
from cai.tokenizer.char import CharConfig
from cai.tokens.learned import learn_tokenizer
from tests.data.test_split import corpus_of
from tests.data.test_text import text_config, write

BPE = BPEConfig(vocab_size=400, digits=1)


def contacts(**changed: object) -> Corpus:
    options = {"samples": 60, "questions": 3, "seed": 1, "split": "hash", "val_ratio": 0.3}
    return ContactsConfig.model_validate(options | changed).build()


def learned(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "tokenizers").iterdir() if not path.name.startswith("."))


def test_a_tokenizer_is_learned_once_and_found_again(tmp_path: Path) -> None:
    first = learn_tokenizer(BPE, contacts(), tmp_path)
    assert first.fingerprint == BPE.build(contacts().texts("train")).fingerprint

    def unreadable() -> None:
        raise AssertionError("the corpus was read again")

    again = learn_tokenizer(BPE, replace(contacts(), documents=unreadable), tmp_path)  # type: ignore[arg-type]
    assert again.fingerprint == first.fingerprint
    assert len(learned(tmp_path)) == 1


def test_it_learns_from_train_documents_only(tmp_path: Path) -> None:
    corpus = corpus_of(["가나다", "라마바"], "tail", 0.5)
    tokenizer = learn_tokenizer(CharConfig(), corpus, tmp_path)
    assert tokenizer.unknown_id not in tokenizer.encode("가나다")
    assert set(tokenizer.encode("라마바")) == {tokenizer.unknown_id}


def test_every_kind_option_and_corpus_has_a_tokenizer_of_its_own(tmp_path: Path) -> None:
    corpora = [contacts(), contacts(seed=2), contacts(val_ratio=0.5)]
    for config in (
        BPE,
        BPEConfig(vocab_size=400, digits=2),
        BPEConfig(vocab_size=401, digits=1),
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
