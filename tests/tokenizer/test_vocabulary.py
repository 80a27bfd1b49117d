"""How many tokens, and what digits become."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from cai.errors import DataError
from cai.markup import TAGS
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.bpe import BPEConfig
from cai.tokenizer.char import CharConfig
from tests.tokenizer.conftest import bpe_config, contact_texts

TELEPHONE = "02-1234-5678, +82 10 9876 5432 12345678"
MANY_NUMBERS = [f"전화: {n:03}-{n * 7919 % 10**4:04}-{n * 104729 % 10**8:08}" for n in range(600)]


def pieces_of(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.decode([number]) for number in tokenizer.encode(text)]


def test_with_digits_1_every_digit_is_a_token_of_its_own() -> None:
    tokenizer = bpe_config(vocab_size=1000, digits=1).build(MANY_NUMBERS)
    pieces = pieces_of(tokenizer, TELEPHONE)
    assert [piece for piece in pieces if re.search(r"\d", piece)] == re.findall(r"\d", TELEPHONE)


@pytest.mark.parametrize("digits", [2, 3])
def test_with_digits_2_or_3_that_many_digits_at_most_share_a_token(digits: int) -> None:
    tokenizer = bpe_config(vocab_size=2000, digits=digits).build(MANY_NUMBERS)
    groups = [piece for piece in pieces_of(tokenizer, TELEPHONE) if re.search(r"\d", piece)]
    assert max(map(len, groups)) == digits
    assert all(group.isdigit() for group in groups), "digits share no token with other characters"
    assert "".join(groups) == re.sub(r"\D", "", TELEPHONE)
    longest = max(len(piece) for piece in (tokenizer.decode([n]) for n in range(tokenizer.vocab_size)) if piece.isdigit())
    assert longest == digits


def test_merges_within_characters_join_no_two_of_them_and_spell_a_word_the_same_everywhere() -> None:
    tokenizer = bpe_config(vocab_size=700, merge_within="character").build(contact_texts())
    pieces = [tokenizer.decode([number]) for number in range(tokenizer.vocab_size)]
    assert all(len(piece) <= 1 or piece in TAGS or "\ufffd" in piece for piece in pieces), "parts of characters aside"
    assert {"병", "가", "h", " ", "0"} <= set(pieces), "what is frequent is one token"
    text = "가온솔병원 http://www.gaonsol.kr"
    alone = tokenizer.encode(text)
    for before, after in [("", "\n"), ("(", ")"), (" ", "입니다."), ("전화번호", "가"), ("x", "x"), ("1", "2")]:
        whole = tokenizer.encode(before + text + after)
        start = len(tokenizer.encode(before))
        assert whole[start : start + len(alone)] == alone
    rare = "뷁쀓 é 😀\u0301"
    assert tokenizer.decode(tokenizer.encode(rare)) == unicodedata.normalize("NFC", rare)


@pytest.mark.parametrize("vocab_size", [263, 1, 0, -5])
def test_a_vocabulary_without_room_for_bytes_and_tags_is_refused(vocab_size: int) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 264"):
        bpe_config(vocab_size=vocab_size, digits=1)


@pytest.mark.parametrize("options", [{"digits": 0}, {"digits": 4}, {"digits": "1"}, {"vocab_size": 300.0}, {"merges": 3}])
def test_other_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        bpe_config(**{"vocab_size": 300, **options})


def test_the_smallest_vocabulary_is_the_bytes_and_the_tags() -> None:
    tokenizer = bpe_config(vocab_size=264, digits=1).build(contact_texts())
    assert tokenizer.vocab_size == 264 == 256 + len(TAGS)
    assert len(tokenizer.encode("가")) == 3


def test_the_vocabulary_reached_is_the_one_asked_for_where_the_text_allows(bpe: Tokenizer) -> None:
    assert bpe.vocab_size == 700


def test_the_vocabulary_is_smaller_than_asked_where_the_text_has_no_more_pairs() -> None:
    tokenizer = bpe_config(vocab_size=5000, digits=1).build(["가나다 가나다"])
    assert 264 < tokenizer.vocab_size < 290
    assert tokenizer.decode(tokenizer.encode("전혀 다른 글 🙂")) == "전혀 다른 글 🙂"


def test_a_tokenizer_can_be_learned_from_no_text() -> None:
    assert bpe_config(vocab_size=500, digits=1).build([]).vocab_size == 264


def test_decomposed_text_teaches_the_same_as_composed_text() -> None:
    texts = contact_texts()
    decomposed = [unicodedata.normalize("NFD", text) for text in texts]
    for config in (bpe_config(vocab_size=400, digits=1), CharConfig()):
        assert config.build(decomposed).fingerprint == config.build(texts).fingerprint


def test_a_character_vocabulary_does_not_depend_on_the_order_of_the_texts() -> None:
    texts = contact_texts()
    assert CharConfig().build(texts[::-1]).fingerprint == CharConfig().build(texts).fingerprint


@pytest.mark.parametrize("config", [bpe_config(vocab_size=300, digits=1), CharConfig()], ids=type)
def test_an_error_of_the_data_passes_through_learning_unchanged(config: BPEConfig | CharConfig) -> None:
    def broken() -> Iterator[str]:
        yield "가"
        raise DataError("bad byte")

    with pytest.raises(DataError, match=r"^bad byte$"):
        config.build(broken())
