"""Random syllables, letters and signs: what wild worlds are made of."""

from __future__ import annotations

import functools
import random
from string import ascii_lowercase
from typing import Final

from cai.data.contacts.syllables import FREQUENT, common_syllables
from cai.data.contacts.tables import TRAINING_TABLES

CONSONANTS, VOWELS, DIGITS, LETTERS = (
    "bcdfghjklmnprstvwyz",
    ("a", "e", "i", "o", "u", "eo", "ai", "yu"),
    "0123456789",
    ascii_lowercase,
)

RESERVED: Final = frozenset("▷◆◇→【】★「」●☞〔〕○‖※📞☏📍🌐✉📧⏰🕘📠")
"""Signs of the world that models are judged by: no training world has them."""

RESERVED_LABELS: Final = frozenset(
    {
        "address",
        "department",
        "email address",
        "facsimile",
        "homepage",
        "hours",
        "mail",
        "opening hours",
        "phone",
        "services",
        "telephone",
        "url",
        "www",
        "곳",
        "웹",
    }
)
"""Labels of that world that chance might make too; in small letters."""


@functools.cache
def familiar_syllables() -> str:
    """Syllables as often as the names of the other training worlds have them."""
    return "".join(part.hangul for part in (*TRAINING_TABLES.name_heads, *TRAINING_TABLES.name_tails))


def syllable(rng: random.Random) -> str:
    chance = rng.random()
    return rng.choice(FREQUENT if chance < 0.5 else common_syllables() if chance < 0.55 else familiar_syllables())


def word(rng: random.Random, least: int, most: int) -> str:
    return "".join(syllable(rng) for _ in range(rng.randint(least, most)))


def latin(rng: random.Random) -> str:
    """A made-up word in small letters: easy to say, or any letters."""
    if rng.random() < 0.3:
        return "".join(rng.choice(LETTERS) for _ in range(rng.randint(2, 8)))
    letters = "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(1, 4)))
    return letters + rng.choice(("", "", "n", "ng", "l", "k", "m"))


@functools.cache
def signs() -> tuple[str, ...]:
    """Bullets and other marks: plain ones, and arrows, shapes, punctuation, symbols and pictures of Unicode."""
    blocks = (
        *((0x2190, 0x21FF), (0x25A0, 0x25FF), (0x2600, 0x267F), (0x2700, 0x27BF), (0x1F4A0, 0x1F5FF), (0x2460, 0x2473)),
        *((0x2010, 0x2027), (0x2030, 0x205E), (0x3001, 0x301F), (0xFF01, 0xFF0F)),
    )
    pictures = [chr(code) for first, last in blocks for code in range(first, last + 1) if chr(code) not in RESERVED]
    return (*"-*•·#+~=@:" * 20, *("##", ">>", "--", "1.", "=>") * 8, *pictures)


def sign(rng: random.Random) -> str:
    return rng.choice(signs()) if rng.random() < 0.7 else ""


def some_digits(rng: random.Random, share: float) -> str:
    return "".join(rng.choice(DIGITS) for _ in range(rng.randint(1, 4))) if rng.random() < share else ""
