"""Cleaning one text: each switch by itself, and all together."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cai.data.cleaning import CleanConfig, Cleaner, nfc, tidy, without_controls
from cai.errors import ConfigError

OFF = {
    "nfc": False,
    "control_characters": False,
    "whitespace": False,
    "contact_labels": False,
    "telephones": "keep",
    "duplicates": "keep",
    "near_threshold": 0.8,
}
ON = OFF | {"nfc": True, "control_characters": True, "whitespace": True, "contact_labels": True}


def cleaner(**options: object) -> Cleaner:
    return Cleaner(CleanConfig.model_validate(OFF | options))


MESSY = (
    unicodedata.normalize("NFD", "한라도서관")
    + "\x00\u00a0 관장:\u3000고길동\r\n전화  (064)7108666 \n\n\n\n\ufeff주소 : 제주시 "
)


def test_every_switch_does_its_part_and_is_named() -> None:
    text, changed = cleaner(**(ON | {"telephones": "format"})).clean(MESSY)
    assert text == "한라도서관 관장: 고길동\nTEL: 064-710-8666\n\nADDR: 제주시"
    assert sorted(changed) == ["contact_labels", "control_characters", "nfc", "telephones", "whitespace"]


def test_all_switches_off_change_nothing() -> None:
    assert cleaner().clean(MESSY) == (MESSY, [])


@pytest.mark.parametrize(
    ("switch", "text", "expected"),
    [
        ("nfc", unicodedata.normalize("NFD", "서울"), "서울"),
        ("control_characters", "서\x07울", "서울"),
        ("whitespace", "서울  부산", "서울 부산"),
        ("contact_labels", "전화: 02-120", "TEL: 02-120"),
    ],
)
def test_a_switch_is_named_if_it_changed_the_text_and_only_then(switch: str, text: str, expected: str) -> None:
    one = cleaner(**{switch: True})
    assert one.clean(text) == (expected, [switch])
    assert one.clean(expected) == (expected, [])
    assert cleaner(**(ON | {switch: False})).clean(text) == (text, [])


def test_checking_telephones_names_texts_with_a_wrong_one_and_changes_none() -> None:
    one = cleaner(telephones="check")
    assert one.clean("전화 010-1234-567") == ("전화 010-1234-567", ["telephones"])
    assert one.clean("전화 0221121234") == ("전화 0221121234", [])
    assert one.clean("전화 없음, 2024-01-05") == ("전화 없음, 2024-01-05", [])


@pytest.mark.parametrize("mode", ["check", "format"])
def test_a_missing_package_is_told_before_any_text_is_read(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(ConfigError, match=rf"data\.clean\.telephones={mode} needs the package phonenumbers"):
        cleaner(telephones=mode)
    cleaner()


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, float("nan"), "0.8"])
def test_a_threshold_is_a_similarity(threshold: object) -> None:
    with pytest.raises(ValueError, match="near_threshold"):
        cleaner(near_threshold=threshold)


@pytest.mark.parametrize("text", ["ㅋㅋㅋ", "①②", "ＡＢＣ", "½", "㈜한빛", "ﬁn", "㎏", "한글\u200d", "가각힣", "é", "日本"])
def test_nfc_is_not_nfkc(text: str) -> None:
    assert nfc(text) == text
    assert nfc(unicodedata.normalize("NFD", text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("가\x00나\x1b[31m다\x7f\x80\x9f", "가나[31m다"),
        ("\ufeff가\ufeff나", "가나"),
        ("가\ufffe\uffff\ufdd0\ufdef\U0001fffe\U0010ffff나", "가나"),
        ("가\r\n나\r다\n라", "가\n나\n다\n라"),
        ("1쪽\x0c2쪽\x0b3쪽\x854쪽\u20285쪽\u20296쪽", "1쪽\n2쪽\n3쪽\n4쪽\n5쪽\n6쪽"),
        ("가\t나\n", "가\t나\n"),
        ("👨\u200d👩\u200d👧 می\u200cخواهم क्\u200dष ❤\ufe0f", "👨\u200d👩\u200d👧 می\u200cخواهم क्\u200dष ❤\ufe0f"),
        ("가\ufffd나\ufffc\u00ad\ue000𠮷", "가\ufffd나\ufffc\u00ad\ue000𠮷"),
    ],
)
def test_controls_go_and_everything_readable_stays(text: str, expected: str) -> None:
    assert without_controls(text) == expected


@given(st.text())
def test_no_control_is_left_and_the_rest_keeps_its_order(text: str) -> None:
    rest = without_controls(text)
    assert not [c for c in rest if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert not [c for c in rest if ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF or c == "\ufeff"]
    kept = [c for c in text if unicodedata.category(c) not in ("Cc", "Zl", "Zp", "Cn") and c != "\ufeff"]
    assert [c for c in rest if unicodedata.category(c) not in ("Cc", "Cn")] == kept


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("서울\u00a0특별시\u3000중구\u2003세종대로\u202f110", "서울 특별시 중구 세종대로 110"),
        ("가  나   다", "가 나 다"),
        ("가 \t나\t\t다", "가\t나\t다"),
        ("가  \n나\t\n\u00a0\n다", "가\n나\n\n다"),
        ("가\n\n\n\n나\n \n\t\n다", "가\n\n나\n\n다"),
        ("\n\n  가나다 \n\n", "가나다"),
        ("def f():\n    if x:\n\t\treturn  1\n", "def f():\n    if x:\n\t\treturn 1"),
        ("- 하나\n  - 둘\n\u3000셋", "- 하나\n  - 둘\n 셋"),
        ("가\u200b나\u200d다\u2060", "가\u200b나\u200d다\u2060"),
        (" \n\t\u3000", ""),
        ("가\n\n나 다", "가\n\n나 다"),
    ],
)
def test_white_space_says_something_once(text: str, expected: str) -> None:
    assert tidy(text) == expected


BLANKS = [" ", "\t", "\n", "\u00a0", "\u3000", "가", "a", "\u0301", "전화", ":"]
blanks = st.lists(st.sampled_from(BLANKS), max_size=24).map("".join)


@given(blanks)
def test_tidy_text_has_no_needless_white_space(text: str) -> None:
    clean = tidy(text)
    assert clean.split() == text.split()
    assert clean == clean.strip()
    assert "\n\n\n" not in clean
    for line in clean.split("\n"):
        assert line == line.rstrip()
        assert "  " not in line.lstrip()
        assert "\t " not in line.lstrip()
        assert " \t" not in line.lstrip()


@pytest.mark.parametrize("unit", [" ", "\t", "\u3000", " \n", "\n", "가 ", "가  ", "  가", "가\t\n\n\n"])
def test_time_grows_with_the_length_of_hostile_white_space_alone(unit: str) -> None:
    def seconds(length: int) -> float:
        text = "가 \n\n\n나  다" + unit * (length // len(unit)) + "라"  # something for every step
        times = []
        for _ in range(5):
            start = time.process_time()
            tidy(text)
            times.append(time.process_time() - start)
        return min(times)

    # 8 times the text: 8 if linear, 64 if quadratic. The constant covers what is too quick to measure.
    assert seconds(40_000) < 24 * seconds(5_000) + 0.002


WORDS = ["전화", "주소", "서울 중구", "02-123-4567", "119", "☎", "Tel", "www.x.kr", "홈페이지"]
SIGNS = [":", "：", ",", "-", "\r", "\u2028", "\x00"]


@given(st.lists(st.one_of(st.sampled_from(WORDS + SIGNS), blanks, st.text(max_size=3)), max_size=12).map("".join))
@example("ᄀ\x00ᅡ")
@example("가\u2028전화: 1")
@example("전화 02  123  4567")
@example("가,\u2003전화: 1")
def test_a_clean_text_stays_as_it_is(text: str) -> None:
    for one in (cleaner(**ON), cleaner(**(ON | {"telephones": "format"}))):
        clean, _ = one.clean(text)
        assert one.clean(clean) == (clean, [])
        assert unicodedata.is_normalized("NFC", clean)


def test_real_prose_passes_untouched() -> None:
    text = (
        "태초에 하나님이 천지를 창조하시니라\n땅이 혼돈하고 공허하며 흑암이 깊음 위에 있고\n\n"
        "전화를 걸어 주소를 물었다. “이메일은요?” 2024년 1월 5일, 3,000원.\n    x = foo(a, b) # 코드"
    )
    assert cleaner(**(ON | {"telephones": "format"})).clean(text) == (text, [])
