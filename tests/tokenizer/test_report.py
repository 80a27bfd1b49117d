"""The gate before training: figures that mean what they say, and text that would be lost stops the run."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.errors import DataError
from cai.markup import Part
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.byte import ByteConfig
from cai.tokenizer.char import CharConfig
from cai.tokenizer.report import MAX_SPLIT, SAMPLE_BYTES, TokenizerReport, describe, inspect_tokenizer
from tests.tokenizer.conftest import bpe_config, contact_texts
from tests.tokenizer.test_round_trip import all_text


class Forgetful(Tokenizer):
    """Loses what ``lost`` says, as a lowercasing or stripping tokenizer would."""

    lost = str.lower

    def encode_batch(self, documents: Sequence[Sequence[Part]]) -> list[list[int]]:
        return super().encode_batch([[type(self).lost(part) for part in parts] for parts in documents])


def is_hangul(char: str) -> bool:
    return "가" <= char <= "힣"


def by_hand(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[int, int, int]:
    """Syllables, split ones, and tokens that hold any of one: byte by byte."""
    syllables = split = tokens = 0
    for text in texts:
        owners = [n for n, number in enumerate(tokenizer.encode(text)) for _ in tokenizer.token_bytes[number]]
        position, holding = 0, set[int]()
        for char in text:
            own = owners[position : position + len(char.encode())]
            position += len(own)
            if is_hangul(char):
                syllables += 1
                split += len(set(own)) > 1
                holding |= set(own)
        tokens += len(holding)
    return syllables, split, tokens


def figures(report: TokenizerReport) -> tuple[int, int, int]:
    return report.syllables, report.split, report.syllable_tokens


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(all_text().map(lambda text: unicodedata.normalize("NFC", text)), max_size=5))
def test_the_hangul_figures_are_what_counting_byte_by_byte_gives(byte_level: Tokenizer, texts: list[str]) -> None:
    report = describe(byte_level, texts)
    assert figures(report) == by_hand(byte_level, texts)
    assert (report.changed, report.unknown) == (0, 0)
    assert report.bytes == sum(len(text.encode()) for text in texts)
    assert report.tokens == sum(len(byte_level.encode(text)) for text in texts)


def test_of_the_contacts_too(bpe: Tokenizer) -> None:
    texts = contact_texts()
    report = describe(bpe, texts, asked=700)
    assert figures(report) == by_hand(bpe, texts)
    assert report.split > 0


def test_whole_and_split_syllables_are_told_apart(byte: Tokenizer) -> None:
    tokenizer = bpe_config(300).build(["가나다 가나다 가나다"] * 10)
    report = describe(tokenizer, ["가나다 a", "힣"], asked=300)
    assert (report.syllables, report.split) == (4, 1)
    assert report.split_share == 0.25
    assert report.hangul_per_token == pytest.approx(4 / (1 + 3))
    bytes_alone = describe(byte, ["가나 a"])
    assert (bytes_alone.split_share, bytes_alone.hangul_per_token) == (1.0, pytest.approx(1 / 3))


def test_a_character_tokenizer_splits_nothing_and_counts_what_it_does_not_know() -> None:
    tokenizer = CharConfig().build(["가나다 \n"])
    report = inspect_tokenizer(tokenizer, ["가나 다\n라🙂", "가"])
    assert (report.syllables, report.split, report.hangul_per_token) == (5, 0, 1.0)
    assert (report.unknown, report.characters) == (2, 8)
    assert report.changed == 0, "what is unknown is counted, not lost"
    assert "25.00% of the characters are outside" in report.warnings()[0]


def test_text_without_hangul_has_no_figures_of_it(bpe: Tokenizer) -> None:
    report = inspect_tokenizer(bpe, ["plain text", "ㅋㅋ 漢字"])
    assert (report.split_share, report.hangul_per_token) == (None, None)
    assert "Hangul" not in report.summary()
    assert report.warnings() == []
    assert report.figures()["hangul_split"] is None


def test_no_text_at_all_is_no_problem(tokenizer: Tokenizer) -> None:
    report = inspect_tokenizer(tokenizer, [])
    assert (report.bytes_per_token, report.unknown_share, report.problems(), report.warnings()) == (0.0, 0.0, [], [])


@pytest.mark.parametrize("lost", [str.lower, str.strip, lambda text: text.replace("나", "")])
def test_a_tokenizer_that_loses_text_stops_the_run(bpe: Tokenizer, lost: object) -> None:
    tokenizer = type("Loses", (Forgetful,), {"lost": staticmethod(lost)})(bpe.backend)
    good = inspect_tokenizer(tokenizer, ["가다"] * 3)
    assert good.changed == 0
    with pytest.raises(DataError, match=r"of 4 texts it changes 2; it turns ' Ab나 ' into .*tokenizer=bpe") as caught:
        inspect_tokenizer(tokenizer, ["가다", " Ab나 ", "가", "나A "])
    assert caught.value.exit_code == 2
    report = describe(tokenizer, ["가다", " Ab나 "])
    assert "1 texts changed" in report.summary()
    assert report.syllables == 2, "figures are of what comes back"


def test_the_example_is_the_place_and_not_the_whole_text(bpe: Tokenizer) -> None:
    report = describe(Forgetful(bpe.backend), ["가" * 5000 + "Q" + "나" * 5000])
    assert report.example == f"turns {'가' * 10 + 'Q' + '나' * 9!r} into {'가' * 10 + 'q' + '나' * 9!r}"


def test_a_character_tokenizer_that_loses_what_it_knows_is_caught_beside_what_it_does_not() -> None:
    tokenizer = CharConfig().build(["가나다A"])
    forgetful = type("Loses", (Forgetful,), {"lost": staticmethod(lambda text: text.replace("나", "다"))})(tokenizer.backend)
    assert describe(forgetful, ["가나🙂"]).changed == 1
    assert describe(tokenizer, ["가나🙂"]).changed == 0


def test_too_small_a_vocabulary_is_warned_of_with_the_remedy() -> None:
    texts = contact_texts()
    report = inspect_tokenizer(bpe_config(300).build(texts), texts, asked=300)
    assert report.split_share is not None
    assert report.split_share > MAX_SPLIT
    (warning,) = report.warnings()
    assert "of the Hangul syllables are split into bytes" in warning
    assert "larger tokenizer.vocab_size (600), or more Korean text" in warning


def test_where_the_text_gave_no_more_a_larger_vocabulary_is_not_the_remedy() -> None:
    tokenizer = bpe_config(5000).build(["abc abc"] * 20)
    report = inspect_tokenizer(tokenizer, ["가나다라"], asked=5000)
    (warning,) = report.warnings()
    assert f"gave {tokenizer.vocab_size:,} of the 5,000 tokens asked for: use more Korean text" in warning
    assert f"{tokenizer.vocab_size:,} of the 5,000 tokens" in report.summary()


def test_bytes_are_split_by_design_and_of_a_foreign_file_another_is_advised(byte: Tokenizer) -> None:
    report = inspect_tokenizer(byte, ["가나다"])
    assert report.warnings() == []
    assert "a syllable is three by design" in report.summary()
    english = bpe_config(300).build(["the cat sat on the mat"] * 10)
    assert "tokenizer=bpe tokenizer.vocab_size" in inspect_tokenizer(english, ["가나다"]).warnings()[0]


def test_a_bounded_piece_of_the_text_is_looked_at_and_a_long_text_is_cut() -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "가나다라 마바사\n"

    tokenizer = ByteConfig().build([])
    assert SAMPLE_BYTES - 3 < describe(tokenizer, endless()).bytes <= SAMPLE_BYTES
    long = describe(tokenizer, ["가" * SAMPLE_BYTES, "나"])
    assert SAMPLE_BYTES - 3 < long.bytes <= SAMPLE_BYTES
    assert (long.texts, long.changed) == (1, 0)


def test_decomposed_text_is_measured_as_it_is_trained_on(bpe: Tokenizer) -> None:
    texts = contact_texts()[:20]
    assert describe(bpe, [unicodedata.normalize("NFD", text) for text in texts]) == describe(bpe, texts)


def test_it_costs_little(bpe: Tokenizer) -> None:
    texts = contact_texts() * 50
    before = time.process_time()
    describe(bpe, texts)
    assert time.process_time() - before < 2  # a tenth of a second; the bound is for a busy machine


def test_the_figures_are_plain_numbers(bpe: Tokenizer) -> None:
    values = inspect_tokenizer(bpe, contact_texts(), asked=700).figures()
    assert values["vocab_size"] == values["vocab_size_asked"] == 700
    assert all(value is None or type(value) in (int, float) for value in values.values())
