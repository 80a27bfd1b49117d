"""Whatever goes in comes out: ``decode(encode(s)) == NFC(s)``."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.markup import TAGS
from cai.tokenizer.base import UNKNOWN, Tokenizer
from cai.tokenizer.char import CharConfig
from tests.tokenizer.conftest import contact_texts

HOSTILE = {
    "empty": "",
    "one blank": " ",
    "blanks at both ends": "  가운데  ",
    "blanks before newlines": "a  \n\n \n   b\n",
    "tabs": "\ta\t\tb\t",
    "NFD Hangul": unicodedata.normalize("NFD", "대한민국 외교부 관악구청 값"),
    "half-composed Hangul": "\uac00\u11a8\u1112\u1161\u11ab",
    "lone jamo": "\u1100\u1100\u1161\u11a8\u11a8\u1161",
    "compatibility jamo": "ㅋㅋㅋ ㅠㅠ ㄱㅏ",
    "halfwidth jamo": "\uffa1\uffc2",
    "compatibility ideograph": "\uf900\U0002f800",
    "what NFKC would rewrite": "①½ﬁ㎏＋８２ ²",
    "emoji with ZWJ": "👩‍👩‍👧‍👦 🧑🏽‍💻 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ☎️",
    "combining marks out of order": "q\u0307\u0323 a\u0301\u0328 \u0344",
    "NUL": "a\0b\0\0",
    "control characters": "".join(map(chr, [*range(32), *range(127, 160)])),
    "line separators": "a\u2028b\u2029c\u0085d\x0be\x0cf",
    "CRLF and lone CR": "a\r\nb\rc\n\rd\r\r\n",
    "right to left": "שלום \u202eabc\u202c مرحبا",
    "invisible": "\ufeffa\u200b\u200d\u2060b\u00ad\ufeff",
    "noncharacters": "\ufdd0\ufffe\uffff\U0001ffff\U0010ffff",
    "private use": "\ue000\uf8ff\U000f0000\U0010fffd",
    "replacement character": "a\ufffdb",
    "tags": "".join(TAGS) + "<unk><s></s><|endoftext|>",
    "tags in pieces": "[QUES" + "TION] [/ANSWER\n] <eos",
    "stand-ins of byte-level tokenizers": "ĠĊĉÂł Ä ▁a ##b </w>",
    "telephone": "☎ 02-2100-2114 / +82 (0)10 1234 5678\n- 웹: https://www.a.go.kr/?q=가&b=%20",
    "long run of a syllable": "ㅋ" * 20_000,
    "long run of a letter": "a" * 20_000,
    "long run of blanks": " " * 20_000,
    "long run of newlines": "\n" * 20_000,
    "long run of digits": "0" * 20_000,
    "long run of marks": "e" + "\u0301" * 5_000,
}

ALPHABET = sorted(set("".join(contact_texts())))
"""What the ``char`` fixture knows."""


def all_text() -> st.SearchStrategy[str]:
    """Every string that UTF-8 can hold, with a liking for Hangul, jamo and combining marks."""
    pieces = st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        st.text(st.characters(min_codepoint=0x1100, max_codepoint=0x11FF), max_size=6),
        st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), max_size=6),
        st.text(st.characters(min_codepoint=0x300, max_codepoint=0x36F), max_size=4),
        st.sampled_from([" ", "  ", "\n", "\r\n", "\0", *TAGS]),
    )
    return st.lists(pieces, max_size=8).map("".join)


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_comes_back(byte_level: Tokenizer, text: str) -> None:
    assert byte_level.decode(byte_level.encode(text)) == nfc(text)


@settings(max_examples=300, deadline=None)
@given(text=all_text())
def test_any_text_comes_back(byte_level: Tokenizer, text: str) -> None:
    ids = byte_level.encode(text)
    assert byte_level.decode(ids) == nfc(text)
    assert byte_level.encode(nfc(text)) == ids


def test_every_character_comes_back(bpe: Tokenizer) -> None:
    numbers = [*range(0xD800), *range(0xE000, 0x10000), *range(0x10000, sys.maxunicode + 1, 97)]
    texts = [" ".join(map(chr, numbers[start : start + 2048])) for start in range(0, len(numbers), 2048)]
    assert [ascii(text[:3]) for text in texts if bpe.decode(bpe.encode(text)) != nfc(text)] == []


def test_every_decomposed_character_and_every_combining_mark_comes_back_composed_and_in_order(byte: Tokenizer) -> None:
    characters = [chr(number) for number in range(sys.maxunicode + 1)]
    marks = [mark for mark in characters if unicodedata.combining(mark)]
    texts = [unicodedata.normalize("NFD", c) for c in characters if unicodedata.decomposition(c)[:1] not in ("", "<")]
    texts += [f"q\u0301{mark}\u0316" for mark in marks] + [f"a{mark}\u0300" for mark in marks]
    wrong = {ascii(text) for text in texts if byte.decode(byte.encode(text)) != nfc(text)}
    assert not wrong, f"{len(wrong)} of {len(texts)}, such as {min(wrong)}"


def test_encode_adds_no_ids(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("") == []
    assert tokenizer.encode_parts(()) == []
    assert tokenizer.encode_parts(("", "")) == []
    assert len(tokenizer.encode("\n")) == 1
    assert tokenizer.encode("전화\n") == tokenizer.encode("전화") + tokenizer.encode("\n")


def test_the_byte_tokenizer_takes_one_token_for_each_utf8_byte(byte: Tokenizer) -> None:
    assert byte.vocab_size == 256 + len(TAGS)
    for text in HOSTILE.values():
        assert len(byte.encode(text)) == len(nfc(text).encode())


def test_decomposed_text_costs_no_more_tokens_than_composed_text(tokenizer: Tokenizer) -> None:
    text = contact_texts()[0]
    assert unicodedata.normalize("NFD", text) != text
    assert tokenizer.encode(unicodedata.normalize("NFD", text)) == tokenizer.encode(text)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_character_tokenizer_gives_back_any_text_of_its_alphabet(char: Tokenizer, data: st.DataObject) -> None:
    text = data.draw(st.text(st.sampled_from(ALPHABET), max_size=60))
    ids = char.encode(text)
    assert char.decode(ids) == text
    assert len(ids) == len(text)
    assert char.unknown_id not in ids


def test_a_character_tokenizer_marks_what_lies_outside_its_alphabet() -> None:
    char = CharConfig().build(["가나\n", unicodedata.normalize("NFD", "각")])
    assert char.decode(char.encode("가다\n🙂각ㅋ")) == "가<unk>\n<unk>각<unk>"
    assert char.encode("다").count(char.tag_ids[UNKNOWN]) == 1
    assert char.encode(unicodedata.normalize("NFD", "각")) == char.encode("각") != [char.unknown_id]
    assert char.encode("\u1100") == [char.unknown_id], "a jamo is not in the alphabet of a syllable"


def test_a_character_tokenizer_keeps_line_ends_and_control_characters() -> None:
    text = "a\r\nb\rc\u2028d\x0be\x0c\0\x85 \t"
    char = CharConfig().build([text])
    assert char.decode(char.encode(text)) == text
    assert char.vocab_size == len(TAGS) + 1 + len(set(text))


def test_a_character_tokenizer_of_nothing_knows_no_character() -> None:
    char = CharConfig().build([])
    assert char.encode("가 ") == [char.unknown_id] * 2
