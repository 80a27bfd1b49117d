"""How the documents of wild worlds are written: bullets, brackets, labels and prose at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cai.data.contacts.asking import noun, with_noise
from cai.data.contacts.noise import RESERVED_LABELS, latin, sign, signs, word
from cai.data.contacts.wordings import Layout
from cai.data.contacts.words import FieldWords

MARKS: Final = (":", "=", "|", "~", "...", "/", "–", ">", "=>", "//", "·", ",", "", "", "")
BRACKETS: Final = (
    ("(", ")"),
    ("[", "]"),
    ("<", ">"),
    ("{{", "}}"),
    ("'", "'"),
    ("《", "》"),
    ("〈", "〉"),
    ("*", "*"),
    ("", ""),
)
DOUBLED: Final = ("(", "[", "《", "〈")
"""Brackets that come twice, too."""
JOINTS: Final = ("\n", "\n", "\n", "\n", "\n\n", " ", ", ", " / ", " | ", "; ", " · ", "  ")
BEFORE: Final = ("종합", "직통", "일반", "민원", "기본", "현재", "우리", "본점", "본사", "정식", "해당")
AFTER: Final = ("정보", "란", "항목", "(대표)", "(공식)", "(현재)", "*", "!", "1", "no.", "Info")
PARTICLES: Final = ("은 ", "는 ", ": ", " ", "이 ", "(은)는 ", "으로는 ", "란에는 ", ", ", "도 ")
CLOSINGS: Final = (
    "입니다.",
    "이에요.",
    "예요.",
    "임.",
    "입니다!",
    "이오니 참고 바랍니다.",
    "(으)로 되어 있습니다.",
    "이라고 합니다.",
)
TIES: Final = ("번", "번으로", "로", "에", "에서", "을", "를", "으로", "까지", "번에", "와", "번을")
NO_SHAPE: Final = frozenset({"fax", "second_tel"})
"""Fields that only their label tells from another: it stays one that says what it is. The other number is the telephone."""
RANDOM_LABEL_SHARE: Final = 0.5
"""How often a label says nothing: what stands behind it must be known by its shape."""


def layout(rng: random.Random) -> Layout:
    """Bullets, brackets and signs at random; a quarter of the documents is in prose."""
    opening_sign, bullet = sign(rng), sign(rng)
    left, right = rng.choice(BRACKETS)
    before = rng.choice(("", "", "", f"{word(rng, 1, 3)}{rng.choice((':', ' :', ',', ' |', ' -'))} "))
    times, gap = 2 if left in DOUBLED and rng.random() < 0.5 else 1, rng.choice(("", "", " "))
    name = f"{left * times}{gap}{{name}}{gap}{right * times}"
    opening = f"{opening_sign} {before}{name} {rng.choice(('', '', opening_sign, word(rng, 1, 3)))}".strip()
    if rng.random() < 0.25:
        after = rng.choice(("", ".", ":", "입니다.", f" {word(rng, 1, 4)} {word(rng, 1, 3)}."))
        return Layout(opening + after, "{sentence}", rng.choice((" ", "\n")))
    mark = rng.choice((*MARKS, rng.choice(signs()), rng.choice(signs())))
    left, right = rng.choice(BRACKETS)
    label = left + rng.choice(("{label}", "{label}", "{label}", "{sign}")) + right
    value = rng.choice(("{value}",) * 5 + ('"{value}"', "'{value}'", "<{value}>", "`{value}`", "({value})", "[{value}]"))
    blank = rng.choice((" ", " ", "", "\t")) if mark or right else " "
    item = rng.choice((f"{label}{mark}{blank}{value}", f"{label} {mark} {value}", f"{value}{blank}{mark or '|'} {label}"))
    item = f"{bullet}{rng.choice((' ', ' ', ''))}{item}"
    if rng.random() < 0.2:
        item += f" {bullet or mark}"
    joint = rng.choice(JOINTS) if rng.random() < 0.9 else f" {rng.choice(signs())}{rng.choice(('', rng.choice(signs())))} "
    return Layout(opening, item.strip(), joint)


def words_of(rng: random.Random, field: str, words: FieldWords) -> FieldWords:
    """The field's wordings, its labels spelled at random, in prose too."""
    stems = (*words.labels, *words.signs)
    labels = tuple(_label(rng, field, stems) for _ in range(2))
    sentences = tuple(_sentence(rng, label) for label in labels)
    nouns = tuple(_label(rng, field, words.nouns, plain=True) for _ in words.nouns[:3])
    made = tuple(filter(None, (noun(rng, field) for _ in range(8))))
    known = rng.sample(words.sentences, min(2, len(words.sentences)))
    return replace(
        words,
        labels=labels,
        signs=labels,
        sentences=(*sentences, *known),
        nouns=(*nouns, *words.nouns, *made),
        questions=tuple(with_noise(rng, question) for question in words.questions),
    )


def _label(rng: random.Random, field: str, stems: Sequence[str], *, plain: bool = False) -> str:
    stem = rng.choice(stems)
    if not plain and field not in NO_SHAPE and rng.random() < RANDOM_LABEL_SHARE:
        words = [word(rng, 1, 3) for _ in range(rng.randint(2, 3))]
        english = [latin(rng).title(), latin(rng)][: rng.randint(1, 2)]
        label = rng.choice((word(rng, 2, 4), " ".join(words), " ".join(english), rng.choice(signs())))
        return label if label.casefold() not in RESERVED_LABELS else word(rng, 2, 4)
    chance = rng.random()
    if chance < 0.35:
        return f"{rng.choice((*BEFORE, word(rng, 1, 3)))}{rng.choice((' ', ''))}{stem}"
    if chance < 0.6 and not plain:
        return f"{stem}{rng.choice((' ', ''))}{rng.choice((*AFTER, word(rng, 1, 2)))}"
    return stem


def _sentence(rng: random.Random, label: str) -> str:
    """Prose around a value, which ends wherever words that nobody knows go on."""
    filler = rng.choice(
        ("", "", f"{word(rng, 1, 4)} ", f"{word(rng, 1, 3)} {word(rng, 1, 3)} ", "참고로 ", "또한 ", "그리고 ")
    )
    after = rng.choice(CLOSINGS) if rng.random() < 0.5 else f"{rng.choice(TIES)} {word(rng, 1, 4)} {word(rng, 1, 4)}."
    return f"{filler}{label}{rng.choice(PARTICLES)}{{value}}{after}"
