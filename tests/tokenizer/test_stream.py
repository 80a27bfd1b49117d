"""Text piece by piece: never half a character, and in the end the same as ``decode``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.markup import EOS
from cai.tokenizer.base import Tokenizer
from tests.tokenizer.test_round_trip import HOSTILE, all_text, nfc


def byte_ids(byte: Tokenizer, raw: bytes) -> list[int]:
    """Ids of any bytes, UTF-8 or not."""
    return [byte.token_bytes.index(bytes([value]), len(byte.tag_ids)) for value in raw]


@settings(max_examples=300, deadline=None)
@given(text=all_text())
def test_the_pieces_of_valid_text_are_whole_and_join_to_it(byte_level: Tokenizer, text: str) -> None:
    pieces = list(byte_level.stream(byte_level.encode(text)))
    assert "".join(pieces) == nfc(text)
    assert all(pieces), "no piece is empty"
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_the_pieces_of_any_ids_join_to_what_decode_gives(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    assert "".join(tokenizer.stream(ids)) == tokenizer.decode(ids)


@pytest.mark.parametrize("text", [HOSTILE["emoji with ZWJ"], HOSTILE["line separators"], "외교부 ☎ 02-2100"])
def test_a_byte_tokenizer_streams_one_character_at_a_time(byte: Tokenizer, text: str) -> None:
    assert list(byte.stream(byte.encode(text))) == list(text)


def test_a_syllable_of_three_tokens_appears_with_its_third_and_does_not_wait_for_a_fourth(byte: Tokenizer) -> None:
    taken: list[int] = []

    def arriving() -> Iterator[int]:
        for number in byte.encode("가나"):
            taken.append(number)
            yield number

    stream = byte.stream(arriving())
    assert taken == []
    assert next(stream) == "가"
    assert len(taken) == 3
    assert next(stream) == "나"
    assert len(taken) == 6


@pytest.mark.parametrize("kept", [1, 2])
def test_a_syllable_cut_short_becomes_one_replacement_character_at_the_end(byte: Tokenizer, kept: int) -> None:
    ids = byte.encode("가나")[: 3 + kept]
    assert list(byte.stream(ids)) == ["가", "\ufffd"]
    assert byte.decode(ids) == "가\ufffd"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xff", "\ufffd"),
        (b"a\x80b", "a\ufffdb"),
        (b"\xea\xb0a", "\ufffda"),
        (b"\xea\xb0\xea\xb0\x80", "\ufffd가"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\xc0\x80", "\ufffd\ufffd"),
        (b"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"),
        ("가".encode("cp949"), "\ufffd\ufffd"),
    ],
)
def test_bytes_that_are_not_utf8_become_replacement_characters(byte: Tokenizer, raw: bytes, text: str) -> None:
    ids = byte_ids(byte, raw)
    assert byte.decode(ids) == text
    assert "".join(byte.stream(ids)) == text


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=24))
def test_no_bytes_make_a_stream_fail(byte: Tokenizer, raw: bytes) -> None:
    ids = byte_ids(byte, raw)
    assert b"".join(byte.token_bytes[number] for number in ids) == raw
    assert "".join(byte.stream(ids)) == byte.decode(ids) == raw.decode("utf-8", errors="replace")


def test_a_tag_in_the_middle_of_a_syllable_is_spelled_out_after_the_broken_half(byte: Tokenizer) -> None:
    ids = [*byte.encode("가")[:2], byte.tag_ids[EOS], *byte.encode("나")]
    assert "".join(byte.stream(ids)) == "\ufffd<eos>나"


def test_nothing_streams_as_nothing(tokenizer: Tokenizer) -> None:
    assert list(tokenizer.stream([])) == []
    assert tokenizer.decode([]) == ""


def test_every_id_has_bytes_and_no_two_ordinary_ids_the_same(tokenizer: Tokenizer) -> None:
    table = tokenizer.token_bytes
    assert len(table) == tokenizer.vocab_size
    assert all(table)
    assert len(set(table)) == len(table)
