"""A tokenizer shown to people."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cai.markup import ANSWER
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.display import aligned, compare, facts, figures, show_tokens
from cai.tokenizer.pretrained import read_tokenizer
from cai.tokenizer.report import describe
from tests.tokenizer.conftest import contact_texts
from tests.tokenizer.layouts import gpt2
from tests.tokenizer.test_round_trip import HOSTILE

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def test_without_colour_tokens_have_a_bar_between_them_and_pieces_of_syllables_are_bytes(byte: Tokenizer) -> None:
    assert show_tokens(byte, byte.encode("a가"), colour=False, with_ids=False) == r"a|\xea|\xb0|\x80"


def test_with_ids_the_number_stands_behind_each(byte: Tokenizer) -> None:
    a, b = byte.encode("ab")
    assert show_tokens(byte, [a, b], colour=False, with_ids=True) == f"a({a})|b({b})"


def test_with_colour_each_token_has_another_ground_than_the_one_before(bpe: Tokenizer) -> None:
    ids = bpe.encode("주소 전화\n주소")
    shown = show_tokens(bpe, ids, colour=True, with_ids=False)
    assert COLOUR.sub("", shown) == "주소 전화↵\n주소"
    grounds = [code for code in COLOUR.findall(shown) if code != "\x1b[0m"]
    assert len(set(grounds)) == 2
    assert all(line.endswith("\x1b[0m") for line in shown.splitlines()), "no ground runs on to the end of a line"


def test_a_special_token_has_a_ground_of_its_own(bpe: Tokenizer) -> None:
    special = show_tokens(bpe, bpe.encode_parts((ANSWER,)), colour=True, with_ids=False)
    ordinary = show_tokens(bpe, bpe.encode("가나"), colour=True, with_ids=False)
    assert special[:12] not in ordinary


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("name", ["control characters", "NUL", "right to left", "CRLF and lone CR", "invisible"])
def test_nothing_in_a_text_reaches_the_terminal_that_it_would_obey(bpe: Tokenizer, name: str, colour: bool) -> None:
    shown = COLOUR.sub("", show_tokens(bpe, bpe.encode(HOSTILE[name]), colour=colour, with_ids=False))
    assert all(char == "\n" or char.isprintable() for char in shown)


def test_facts_name_the_kind_the_special_tokens_and_the_longest(bpe: Tokenizer, byte: Tokenizer, char: Tokenizer) -> None:
    kinds = [dict(facts(tokenizer))["kind"] for tokenizer in (bpe, byte, char)]
    assert kinds == ["byte-level BPE of 436 merges", "one token a byte", "one token a character"]
    page = dict(facts(bpe))
    assert page["vocabulary"] == "700 tokens, 8 of them special"
    assert page["special"].startswith("<eos> 0, <pad> 1, [QUESTION] 2")
    longest = re.findall(r"'[^']*'", page["longest"])
    assert len(longest) == 8
    assert "\ufffd" not in page["longest"]


def test_figures_and_rows_are_lines(bpe: Tokenizer) -> None:
    text = aligned(figures(describe(bpe, contact_texts(), asked=700)))
    assert "round trip  exact for all of" in text
    assert "Hangul" in text
    assert len(text.splitlines()) == 5
    assert "Hangul" not in aligned(figures(describe(bpe, ["plain"])))


def test_a_comparison_has_a_line_for_each_and_columns_that_line_up(bpe: Tokenizer, byte: Tokenizer) -> None:
    texts = contact_texts()
    rows = [
        ("tokenizer.vocab_size=900", describe(bpe, texts, asked=900), 123_456, 7_000),
        ("tokenizer=byte", describe(byte, ["plain"]), 9, None),
    ]
    head, first, second = compare(rows).splitlines()
    assert head.split()[:2] == ["vocabulary", "bytes/token"]
    assert "700 of 900" in first
    assert first.endswith("123,456      7,000  tokenizer.vocab_size=900")
    assert second.split()[2:4] == ["-", "-"]
    assert first.index("tokenizer") == second.index("tokenizer")


def test_of_hundreds_of_special_tokens_the_first_and_our_own_are_named(tmp_path: Path) -> None:
    backend = gpt2()
    backend.add_special_tokens([f"<|reserved_{number}|>" for number in range(200)])
    backend.save(str(tmp_path / "a.json"))
    page = dict(facts(read_tokenizer(tmp_path / "a.json")))
    assert "209 of them special" in page["vocabulary"]
    assert page["special"].startswith("<|endoftext|> 0, <|reserved_0|> 700")
    assert ", ..., <eos> 900, <pad> 901" in page["special"]
    assert page["special"].endswith("[/ANSWER] 907")
