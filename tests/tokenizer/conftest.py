"""Tokenizers of every kind, learned once for all tests."""

from __future__ import annotations

import pytest

from cai.data.contacts import ContactsConfig
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.bpe import BPEConfig
from cai.tokenizer.byte import ByteConfig
from cai.tokenizer.char import CharConfig
from tests.data.options import ROWS

CONTACTS = ContactsConfig.model_validate(
    ROWS | {"samples": 60, "questions": 3, "wild": 0.0, "seed": 1337, "split": "hash", "val_ratio": 0.2}
)


def bpe_config(vocab_size: int = 700, digits: int = 1, **options: object) -> BPEConfig:
    """A BPE of few tokens; everything else as in its YAML."""
    chosen = {"vocab_size": vocab_size, "digits": digits, "merge_within": "word", "sample_mb": 100, "sample_seed": 1337}
    return BPEConfig.model_validate(chosen | options)


def contact_texts() -> list[str]:
    """A little Korean to learn from."""
    return list(CONTACTS.build().texts("train"))


@pytest.fixture(scope="session")
def byte() -> Tokenizer:
    return ByteConfig().build([])


@pytest.fixture(scope="session")
def bpe() -> Tokenizer:
    return bpe_config().build(contact_texts())


@pytest.fixture(scope="session")
def char() -> Tokenizer:
    return CharConfig().build(contact_texts())


@pytest.fixture(scope="session", params=["byte", "bpe"])
def byte_level(request: pytest.FixtureRequest) -> Tokenizer:
    """The kinds that can spell any text."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session", params=["byte", "bpe", "char"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return request.getfixturevalue(request.param)
