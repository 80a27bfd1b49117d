"""Varied copies of train documents: other words for the same. Decided by (seed, document, copy) alone."""

from __future__ import annotations

import csv
import os
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from cai.config.base import Config
from cai.data.base import Document
from cai.data.contacts.organisations import seeded_random
from cai.errors import DataError
from cai.markup import DOC, QUESTION, Part, Tag, find_tag, plain_text

Table = tuple[tuple[str, ...], ...]
"""Rows of words that may stand for one another."""

SYNONYM_SHARE: Final = 0.5
"""How often a word of the table is exchanged."""

ENDINGS: Final = (
    ("알려 주세요.", "알려줘", "알려 주실 수 있나요?", "알려 주시겠어요?", "가르쳐 주세요.", "알려 주시기 바랍니다."),
    ("뭐예요?", "무엇인가요?", "뭔가요?", "무엇입니까?", "어떻게 되나요?", "어떻게 돼요?"),
    ("어디에 있나요?", "어디예요?", "어디인가요?", "어디에 있어요?", "어디에 있습니까?"),
    ("찾아 주세요.", "찾아줘", "찾아 주실 수 있나요?", "찾아 주시겠어요?"),
)
"""Ways to end a question that ask for the same, by meaning."""

OPENINGS: Final = ("", "", "", "혹시 ", "안녕하세요. ", "저기요, ")
"""What may come before a question; mostly nothing."""

PARTICLES: Final = (("은", "는"), ("이", "가"), ("을", "를"), ("과", "와"))
"""After a consonant and after a vowel."""

SENTENCE: Final = re.compile(r"(?<=[.!?。])[ ]+")
BULLET: Final = re.compile(r"^\s*(?:[-*•·▶■]|\d+[.)])\s+")
LAYOUTS: Final = (("", "\n"), ("- ", "\n"), ("• ", "\n"), ("* ", "\n"), ("", " / "), ("", " | "))
"""What stands before each item of a document, and between them."""


class AugmentConfig(Config):
    """What may vary. Validation documents never do."""

    copies: Annotated[int, Field(ge=0)]
    seed: int
    questions: bool
    synonyms: str | None
    sentences: bool
    layout: bool

    def check(self) -> None:
        """Raise ``DataError`` if the table of synonyms cannot be read."""
        self.table()

    def table(self) -> Table:
        """The rows of ``synonyms``: CSV without a header, each row words that may stand for one another."""
        if self.synonyms is None:
            return ()
        path = Path(os.path.expanduser(self.synonyms))
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = [tuple(word.strip() for word in row if word.strip()) for row in csv.reader(file)]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                f"data.augment.synonyms must be a CSV file in UTF-8, each line words that may stand for one another, but"
                f" {self.synonyms} cannot be read: {error}."
            ) from error
        return tuple(row for row in rows if len(row) > 1)


def vary(config: AugmentConfig, table: Table, document: Document, copy: int) -> Document:
    """The varied copy ``copy`` of a document. Questions, documents and answers keep agreeing: an answer is never touched,
    and synonyms go only into questions and into text without tags."""
    rng = seeded_random("augment", config.seed, copy, plain_text(document.parts))
    parts = list(document.parts)
    question, source = find_tag(parts, QUESTION), find_tag(parts, DOC)
    if question is not None and config.questions:
        _change(parts, question + 1, lambda text: paraphrase(rng, text))
    if table:
        plain = [i for i, part in enumerate(parts) if not isinstance(part, Tag)] if len(parts) == 1 else []
        for place in plain if question is None else [question + 1]:
            _change(parts, place, lambda text: exchange(rng, text, table))
    if config.sentences:
        for place in [source + 1] if source is not None else [0] * (len(parts) == 1):
            _change(parts, place, lambda text: reorder(rng, text))
    if source is not None and config.layout:
        _change(parts, source + 1, lambda text: lay_out(rng, text))
    return replace(document, parts=tuple(parts))


def paraphrase(rng: random.Random, question: str) -> str:
    """The question with another ending of the same meaning and perhaps an opening."""
    for endings in ENDINGS:
        for ending in sorted(endings, key=len, reverse=True):
            if question.endswith(ending):
                question = question.removesuffix(ending) + rng.choice(endings)
                return rng.choice(OPENINGS) + question
    return rng.choice(OPENINGS) + question


def exchange(rng: random.Random, text: str, table: Table) -> str:
    """Words of the table exchanged for others of their row, the particle after them made to fit."""
    rows = {word: row for row in table for word in row}
    words = "|".join(re.escape(word) for word in sorted(rows, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)({words})(은|는|이|가|을|를|과|와)?(?!\w)")

    def other(match: re.Match[str]) -> str:
        if rng.random() >= SYNONYM_SHARE:
            return match[0]
        word = rng.choice([each for each in rows[match[1]] if each != match[1]])
        return word + _fitting(word, match[2] or "")

    return pattern.sub(other, text)


def reorder(rng: random.Random, text: str) -> str:
    """The sentences of each line in another order. Lines keep theirs; a line of one sentence stays as it is."""
    lines = []
    for line in text.split("\n"):
        sentences = SENTENCE.split(line)
        rng.shuffle(sentences)
        lines.append(" ".join(sentences))
    return "\n".join(lines)


def lay_out(rng: random.Random, text: str) -> str:
    """The lines after the first, or the sentences of a single line, in another layout of lists."""
    first, *items = text.split("\n") if "\n" in text else SENTENCE.split(text)
    if not items:
        return text
    bullet, joint = rng.choice(LAYOUTS)
    shown = [bullet + BULLET.sub("", item) for item in items if item.strip()]
    return f"{first}\n{joint.join(shown)}"


def _change(parts: list[Part], place: int, change: Callable[[str], str]) -> None:
    """Change the text at ``place``, the line ends around it left as they are."""
    text = parts[place]
    if isinstance(text, Tag) or not text.strip():
        return
    body = text.strip("\n")
    before = text[: len(text) - len(text.lstrip("\n"))]
    after = text[len(before) + len(body) :]
    parts[place] = before + change(body) + after


def _fitting(word: str, particle: str) -> str:
    """The form of ``particle`` that fits the last syllable of ``word``."""
    for pair in PARTICLES:
        if particle in pair and "가" <= word[-1] <= "힣":
            return pair[0] if (ord(word[-1]) - ord("가")) % 28 else pair[1]
    return particle
