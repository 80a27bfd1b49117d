"""Text in the columns of a terminal."""

from __future__ import annotations

import pytest

from cai.columns import cut, duration, one_line, pad, width


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain text", "plain text"),
        ("전화번호", "전화번호"),
        ("\u1112\u1161\u11ab", "한"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb\u2028", "a\\u202eb\\u2028"),
        ("\udc80", "\\udc80"),
    ],
)
def test_nothing_reaches_the_terminal_that_would_move_its_cursor(text: str, line: str) -> None:
    assert one_line(text) == line
    assert one_line(text).isprintable()


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0),
        ("abc", 3),
        ("전화번호", 8),
        ("전화 02", 7),
        ("e\u0301", 1),
        ("\u1112\u1161\u11ab", 2),
        ("\u2714\ufe0f", 1),
        ("…", 1),
    ],
)
def test_the_width_is_what_is_seen(text: str, columns: int) -> None:
    assert width(text) == columns


def test_texts_are_padded_to_either_side() -> None:
    assert (pad("가", 4), pad("가", 4, right=True), pad("가나", 3)) == ("가  ", "  가", "가나")


def test_texts_are_cut_at_either_end_and_syllables_stay_whole() -> None:
    assert cut("가나다라", 8) == "가나다라"
    assert cut("가나다라", 5) == cut("가나다라", 6) == "가나…"
    assert cut("가나다라", 5, tail=True) == "…다라"
    assert cut("가나다라", 5, mark="") == "가나"
    assert cut("abc", 1) == "…"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.042, "0.042 s"),
        (9.96, "10 s"),
        (48, "48 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (200_000, "2 d 07 h"),
    ],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text
