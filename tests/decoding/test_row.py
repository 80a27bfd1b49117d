"""What a model sees of a text, and what a reader may see of it."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.decoding.row import Row, Text

SYLLABLES = ["가", "나", "다", "a", "b", "é", "😀"]
BYTES = [bytes([number]) for number in range(256)]

steady = settings(deadline=None, derandomize=True, database=None, max_examples=300)


def text_of(pieces: Sequence[bytes], *stop: str) -> tuple[Text, list[str], str]:
    """What each piece shows, and what is left at the end."""
    text = Text(pieces, stop)
    shown = [text.add(number) for number in range(len(pieces))]
    return text, shown, text.close()


# Row


@pytest.mark.parametrize(("length", "seen"), [(1, 1), (5, 5), (6, 6), (7, 3), (8, 3), (100, 3)])
def test_a_prompt_that_is_too_long_is_seen_from_half_a_block_before_its_end(length: int, seen: int) -> None:
    row = Row((0,), range(length), block_size=6)
    assert row.context == list(range(length))[-seen:]
    assert row.cached == 0


@pytest.mark.parametrize(("block_size", "kept"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3)])
def test_a_context_that_grows_beyond_the_block_is_cut_to_half_of_it(block_size: int, kept: int) -> None:
    row, ids = Row((0,), [0], block_size), [0]
    expected = [0]
    for number in range(1, 30):
        row.write([number])
        ids.append(number)
        expected.append(number)
        if len(expected) > block_size:
            expected = expected[-kept:]
        assert row.context == expected
        assert row.cached == (0 if len(expected) == kept and number >= block_size else len(expected) - 1)
    assert row.written == ids[1:], "the prompt is not among what is written, and nothing of that is cut"


def test_all_but_the_last_of_what_is_written_is_cached() -> None:
    row = Row((0,), [1, 2, 3], block_size=9)
    assert row.cached == 0
    row.write([4])
    assert (row.context, row.cached) == ([1, 2, 3, 4], 3)
    row.write([5, 6, 7])
    assert (row.context, row.cached) == ([1, 2, 3, 4, 5, 6, 7], 6)
    row.write([8, 9])
    assert (row.context, row.cached) == ([1, 2, 3, 4, 5, 6, 7, 8, 9], 8)
    row.write([10])
    assert (row.context, row.cached) == ([7, 8, 9, 10], 0)


def test_what_a_row_is_made_of_and_what_it_is_told_is_left_as_it_was() -> None:
    prompt, new = [1, 2, 3], [4, 5]
    row = Row((0,), prompt, block_size=4)
    row.write(new)
    assert (prompt, new) == ([1, 2, 3], [4, 5])


def test_a_new_row_has_written_nothing_and_has_no_end() -> None:
    row = Row((3, 1), [1], block_size=4)
    assert (row.key, row.written, row.end) == ((3, 1), [], None)


# Text


def test_half_a_character_waits_for_its_other_half() -> None:
    _, shown, rest = text_of([bytes([byte]) for byte in "a가é😀".encode()])
    assert (shown, rest) == (["a", "", "", "가", "", "é", "", "", "", "😀"], "")


def test_half_a_character_at_the_end_is_shown_as_unreadable() -> None:
    _, shown, rest = text_of([b"a", *(bytes([byte]) for byte in "가".encode()[:2])])
    assert (shown, rest) == (["a", "", ""], "\ufffd")


def test_a_token_can_be_several_characters_and_a_half() -> None:
    whole = "가나다".encode()
    _, shown, rest = text_of([whole[:4], b"", whole[4:]])
    assert (shown, rest) == (["가", "", "나다"], "")


def test_bytes_that_are_no_text_do_not_hold_up_what_follows() -> None:
    _, shown, rest = text_of([b"\xea", b"a", b"\xff", "가".encode()])
    assert (shown, rest) == (["", "\ufffda", "\ufffd", "가"], "")


def test_a_stop_within_a_token_shows_what_is_before_it() -> None:
    text, shown, rest = text_of([b"ab", b"cSTOPde", b"f"], "STOP")
    assert (shown, rest, text.stopped) == (["ab", "c", ""], "", True)


def test_a_stop_over_several_tokens_is_held_back_from_its_first_letter() -> None:
    text = Text([b"abS", b"T", b"OP", b"x"], ["STOP"])
    assert [text.add(0), text.add(1)] == ["ab", ""]
    assert not text.stopped
    assert [text.add(2), text.stopped] == ["", True]
    assert [text.add(3), text.close()] == ["", ""], "and nothing after it"


def test_a_stop_can_lie_across_half_characters() -> None:
    text, shown, rest = text_of([bytes([byte]) for byte in "가나다".encode()], "나다")
    assert ("".join(shown), rest, text.stopped) == ("가", "", True)


def test_held_text_that_does_not_become_a_stop_is_shown_as_soon_as_that_is_clear() -> None:
    text, shown, rest = text_of([b"a", b"S", b"T", b"S", b"T", b"X", b"b"], "STOP")
    assert (shown, rest, text.stopped) == (["a", "", "", "ST", "", "STX", "b"], "", False)


def test_held_text_is_shown_at_the_end() -> None:
    text, shown, rest = text_of([b"aS", b"TO"], "STOP")
    assert (shown, rest, text.stopped) == (["a", ""], "STO", False)
    assert text.close() == "", "once"


def test_held_text_and_half_a_character_are_both_shown_at_the_end() -> None:
    _, shown, rest = text_of([b"aST", "가".encode()[:1]], "STOP")
    assert (shown, rest) == (["a", ""], "ST\ufffd")


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("said", "stop", "shown"),
    [
        ("xaab", ["aab"], "x"),  # begins anew within itself
        ("xabcabd", ["abcabd"], "x"),
        ("xabcabcabd", ["abcabd"], "xabc"),
        ("xab", ["b", "abc"], "xa"),  # one within a beginning of the other
        ("xabd", ["bd", "abc"], "xa"),  # the longer one fails, the other goes on
        ("xabcd", ["abcd", "bce"], "x"),
        ("xbcab", ["abc", "cab"], "xb"),
        ("xaaaa", ["aaaa"], "x"),
        ("x", ["x"], ""),
    ],
)
def test_stops_that_overlap_themselves_and_each_other(said: str, stop: list[str], shown: str, order: int) -> None:
    text, pieces, rest = text_of([letter.encode() for letter in said], *stop[::order])
    assert ("".join(pieces), rest, text.stopped) == (shown, "", True)


def test_of_two_stops_in_one_token_the_first_ends_the_text() -> None:
    for stop in (["b", "c"], ["c", "b"]):
        assert text_of([b"abc"], *stop)[1] == ["a"]


@pytest.mark.parametrize("stop", [["bcd", "c"], ["c", "bcd"]])
def test_the_stop_that_is_complete_first_ends_the_text_also_if_another_began_before(stop: list[str]) -> None:
    for said in ([b"abcd"], [b"ab", b"cd"], [b"a", b"b", b"c", b"d"]):
        text, shown, rest = text_of(said, *stop)
        assert ("".join(shown), rest, text.stopped) == ("ab", "", True)


def test_a_stop_in_another_normal_form_is_found() -> None:
    text, shown, _ = text_of(["우리나라".encode()], normalize("NFD", "나라"))
    assert ("".join(shown), text.stopped) == ("우리", True)


pieces = st.lists(st.sampled_from(SYLLABLES).map(str.encode), max_size=12).map(b"".join)
stops = st.lists(st.text("ab가나", min_size=1, max_size=4), max_size=3)


@steady
@given(pieces, stops)
def test_byte_by_byte_a_text_is_what_comes_before_the_stop_that_is_there_first(said: bytes, stop: list[str]) -> None:
    whole = said.decode()
    ends = [end for end in range(len(whole) + 1) if any(whole[:end].endswith(each) for each in stop)]
    read = whole[: ends[0]] if ends else whole  # as far as the first stop that is complete, and of those the longest
    expected = read[: len(read) - max(len(each) for each in stop if read.endswith(each))] if ends else whole
    text, shown, rest = text_of([bytes([byte]) for byte in said], *stop)
    assert ("".join(shown) + rest, text.stopped) == (expected, bool(ends))


@steady
@given(pieces, stops, st.data())
def test_however_it_is_cut_the_same_is_shown_and_no_stop_and_no_broken_character(
    said: bytes, stop: list[str], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=6)))
    parts = [said[a:b] for a, b in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    text, shown, rest = text_of(parts, *stop)
    byte_by_byte = text_of([bytes([byte]) for byte in said], *stop)
    assert ("".join(shown) + rest, text.stopped) == ("".join(byte_by_byte[1]) + byte_by_byte[2], byte_by_byte[0].stopped)
    whole, so_far = said.decode(), ""
    for piece in [*shown, rest]:
        so_far += piece
        assert whole.startswith(so_far)
        assert not any(each in so_far for each in stop)
    assert text.stopped == any(each in whole for each in stop)
    assert text.stopped or so_far == whole


@steady
@given(pieces, stops)
def test_nothing_is_held_back_that_no_stop_can_begin_with(said: bytes, stop: list[str]) -> None:
    text, so_far = Text(BYTES, stop), ""
    for place, byte in enumerate(said):
        so_far += text.add(byte)
        if text.stopped:
            break
        here = said[: place + 1].decode(errors="ignore")
        held = here[len(so_far) :]
        assert not held or any(each.startswith(held) for each in stop)
