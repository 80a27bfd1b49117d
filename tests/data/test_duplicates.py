"""Repeated documents: the same ones, and those that are nearly the same."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from cai.data.cleaning import CleanConfig
from cai.data.duplicates import SHINGLE, Duplicates, bands
from cai.errors import ConfigError

ROOT = Path(__file__).parents[2]

NOTICE = (
    "제주시 한라도서관은 매주 금요일에 쉽니다. 자료실은 오전 아홉 시부터 밤 열 시까지 열고, "
    "어린이실은 오후 여섯 시에 닫습니다. 대출은 한 사람에 다섯 권, 기간은 두 주입니다. "
    "예약한 책은 사흘 안에 찾아가셔야 합니다. 문의는 064-710-8666으로 해 주십시오."
)


def duplicates(mode: str, threshold: float = 0.8) -> Duplicates:
    switches = dict.fromkeys(("nfc", "control_characters", "whitespace", "contact_labels"), False)
    return Duplicates(
        CleanConfig.model_validate({**switches, "telephones": "keep", "duplicates": mode, "near_threshold": threshold})
    )


def verdicts(mode: str, texts: Iterable[str], threshold: float = 0.8) -> list[str | None]:
    seen = duplicates(mode, threshold).seen
    return [seen(text) for text in texts]


def similarity(one: str, other: str) -> float:
    """What the sketches estimate: Jaccard similarity of the sets of shingles."""
    first, second = ({text[i : i + SHINGLE] for i in range(len(text) - SHINGLE + 1)} for text in (one, other))
    return len(first & second) / len(first | second)


def changed(text: str, words: int, seed: int) -> str:
    """``text`` with some of its words replaced."""
    rng = random.Random(seed)
    parts = text.split(" ")
    for place in rng.sample(range(len(parts)), words):
        parts[place] = "".join(chr(rng.randrange(0xAC00, 0xD7A4)) for _ in parts[place])
    return " ".join(parts)


def article(seed: int, length: int = 300) -> str:
    """Random Hangul words, like no other article."""
    rng = random.Random(seed)
    return " ".join(
        "".join(chr(rng.randrange(0xAC00, 0xD7A4)) for _ in range(rng.randint(1, 5))) for _ in range(length // 4)
    )


def test_exact_finds_the_same_text_and_nothing_else() -> None:
    texts = ["가", "나", "가", "가 ", "", "", NOTICE, NOTICE, NOTICE[:-1]]
    assert verdicts("exact", texts) == [None, None, "duplicate", None, None, "duplicate", None, "duplicate", None]


def test_keep_keeps_everything() -> None:
    assert verdicts("keep", ["가", "가", NOTICE, NOTICE]) == [None] * 4


def test_many_texts_agree_with_a_set() -> None:
    rng = random.Random(0)
    texts = [str(rng.randrange(40_000)) for _ in range(60_000)]
    first = set[str]()
    expected = ["duplicate" if text in first or first.add(text) else None for text in texts]  # type: ignore[func-returns-value]
    assert verdicts("exact", texts) == expected


def test_a_hundred_thousand_hashes_take_less_than_thirty_bytes_each() -> None:
    tracemalloc.start()
    try:
        seen = duplicates("exact").seen
        before = tracemalloc.get_traced_memory()[0]
        for number in range(100_000):
            seen(str(number))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 30 * 100_000  # a set of the same hashes: more than 70 each


def test_near_finds_small_changes_and_white_space() -> None:
    texts = [
        NOTICE,
        NOTICE,
        NOTICE.replace("두 주", "세 주"),
        NOTICE.replace(" ", "\n  "),
        NOTICE.replace("한라도서관", "우당도서관"),
        "부산광역시 시민도서관은 둘째와 넷째 월요일에 쉽니다. 자세한 사항은 누리집에서 보실 수 있습니다.",
    ]
    assert verdicts("near", texts) == [None, "duplicate", "near duplicate", "near duplicate", "near duplicate", None]


def test_a_text_shorter_than_a_shingle_is_compared_exactly() -> None:
    assert verdicts("near", ["가나다라", "가나다마", "가나다라", "가 나", "가  나", "", " "]) == [
        *[None, None, "duplicate", None, None, None, None],
    ]


def test_a_threshold_of_one_wants_the_same_shingles() -> None:
    assert verdicts("near", [NOTICE, NOTICE.replace("두 주", "세 주"), NOTICE.replace(" ", "  ")], 1.0) == [
        *[None, None, "near duplicate"],
    ]


def test_a_chain_of_small_changes_does_not_swallow_what_differs_a_lot() -> None:
    chain = [article(0)]
    for step in range(40):
        chain.append(changed(chain[-1], 3, seed=step))
    found = verdicts("near", chain)
    assert found[1] == "near duplicate"
    assert found.count(None) > 3
    kept = [text for text, verdict in zip(chain, found, strict=True) if verdict is None]
    assert all(similarity(one, other) < 0.9 for i, one in enumerate(kept) for other in kept[:i])


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
def test_the_threshold_is_the_similarity_of_shingles(threshold: float) -> None:
    right, wrong = 0, []
    for number in range(150):
        one = article(number)
        other = changed(one, 1 + number % 30, seed=number)
        exact = similarity(one, other)
        if abs(exact - threshold) > 0.12:  # three standard deviations of the estimate, and the bands' own misses
            found = verdicts("near", [one, other], threshold)[1] == "near duplicate"
            right += found == (exact > threshold)
            wrong += [exact] * (found != (exact > threshold))
    assert right > 60
    assert len(wrong) <= 1, wrong


def test_unlike_texts_are_all_kept() -> None:
    assert verdicts("near", [article(number) for number in range(500)], 0.5) == [None] * 500


def test_real_questions_that_differ_in_one_word_are_not_near() -> None:
    texts = [f"{name} 전화번호 알려 줘" for name in ("한라도서관", "서귀포시청", "우당도서관", "제주대학교병원")]
    assert verdicts("near", texts) == [None] * 4


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_divide_a_sketch_and_find_what_is_just_similar_enough(threshold: float) -> None:
    count = bands(threshold)
    rows = 128 / count
    assert rows == int(rows)
    assert 1 - (1 - threshold**rows) ** count >= 0.9


def test_the_answers_do_not_depend_on_the_hash_seed_of_python() -> None:
    program = (
        "from tests.data.test_duplicates import article, changed, verdicts\n"
        "texts = [changed(article(n % 40), n // 40 * 4, n) for n in range(400)]\n"
        "print(verdicts('near', texts, 0.7))"
    )
    outputs = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", program]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert "near duplicate" in outputs.pop()


def test_without_the_library_the_remedy_is_named_and_exact_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(ConfigError) as caught:
        duplicates("near")
    assert "data.clean.duplicates=near needs the package rensa" in str(caught.value)
    assert 'pip install "cai[near]"' in str(caught.value)
    assert verdicts("exact", ["가", "가"]) == [None, "duplicate"]
