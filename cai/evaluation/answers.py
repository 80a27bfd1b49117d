"""What is right and wrong about one generated answer: by comparing strings, by nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from unicodedata import normalize

from cai.data.answers import ABSENT, CONTACT_LABELS, well_formed
from cai.data.cases import Case, contact_lines, is_refusal, whole_answer

THREE: Final = ("TEL", "ADDR", "WEB")
"""The lines that must all be right at once."""

MIN_DIGITS: Final = 7
"""What has fewer is no telephone number, but a time, a house number, a postal code."""

MAX_GROUPS: Final = 8
"""Of digits with blanks between them, in one telephone number. A model in a loop may write hundreds."""

NGRAM: Final = 4

_PATH: Final = r"(?:[/?#][0-9A-Za-z\-._~:/?#@&+=%]*)?"
_DOMAINS: Final = "kr|com|net|org|edu|gov|int|io|co|info|biz|app|dev|eu|jp|cn|de|fr|uk|us|ca|au|example|test|invalid"
_LINK: Final = re.compile(
    rf"""
      [0-9A-Za-z][0-9A-Za-z._%+\-]*@[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*                               # a mail address
    | (?i:https?)://(?:(?:[0-9A-Za-z\-]+|[가-힣][0-9가-힣\-]*)\.)*(?:[0-9A-Za-z\-]+|한국)(?::[0-9]+)?{_PATH}
    | (?<![0-9A-Za-z@._\-])(?:[0-9A-Za-z\-]+\.)+(?:{_DOMAINS})(?![\-.]?[0-9A-Za-z]){_PATH}             # without http://
    """,
    re.VERBOSE,
)
# Latin letters, because Korean particles follow without a blank: https://a.kr입니다. No domain is needed after http://: one
# that was cut short is an invention too.
_DATE: Final = re.compile(
    r"(?<![0-9])(?<![0-9][-.])(?:19|20)[0-9]{2}([-.]) ?(?:0?[1-9]|1[0-2])\1 ?(?:0?[1-9]|[12][0-9]|3[01])(?![0-9]|[-.][0-9])"
)
_NUMBER: Final = re.compile(r"\+?\(?\+?[0-9]+(?:[-‐‑–.() ]{1,3}[0-9]+)*")
_WORD: Final = re.compile(r"\(?[^ (]+")
_LINE: Final = re.compile(rf"^[ \t]*-?[ \t]*({'|'.join(CONTACT_LABELS.values())})[ \t]*[:：][ \t]*(\S[^\n]*)$", re.MULTILINE)

# What may not stand before and after a number, a link or other text in the document, for it would be a part of more.
_NUMBER_EDGES: Final = (r"(?<![0-9])(?<![0-9][-.])(?<![0-9]{2}\))", r"(?![0-9])(?![-.][0-9])")
_LINK_EDGES: Final = (
    r"(?<![0-9A-Za-z])(?:(?=https?://)|(?<![0-9A-Za-z][-._%+@]))",
    r"(?![0-9A-Za-z])(?![-._@][0-9A-Za-z])",
)
_TEXT_EDGES: Final = (r"(?<![0-9A-Za-z])(?<![0-9][-.])", r"(?![0-9A-Za-z])(?![-.][0-9])")
_HANGUL: Final = re.compile("[가-힣]")
_EDGES_OF_LINES: Final = {"TEL": _NUMBER_EDGES, "ADDR": _TEXT_EDGES, "WEB": _LINK_EDGES, "EMAIL": _LINK_EDGES}


@dataclass(frozen=True)
class Judgement:
    """What was found of one answer. ``None``: the case does not ask for it."""

    right: Mapping[str, bool]
    """By label, where the document has a value: whether the line says just that."""
    all_three: bool | None
    """TEL, ADDR and WEB all say what they must, ``ABSENT`` included; ``None`` if the case does not state all three."""
    invented: tuple[str, ...]
    """Numbers, addresses and values of contact lines that stand nowhere in the document."""
    refused: bool
    refusal: bool | None
    """Of a case that must refuse: refused, and no contact given that the document lacks, such as a fax number for a
    telephone; else ``None``."""
    well_formed: bool | None
    """Every section, in order and complete; ``None`` if the right answer has no such sections."""
    closed: bool
    """Ended by itself."""
    repetition: float
    """Share of 4-grams of words that were there before: seq-rep-4 (arXiv:1908.04319)."""
    holds_answer: bool | None
    """Whether one of the case's own answers is in it."""


def score(case: Case, text: str, closed: bool) -> Judgement:
    """Judges an answer from ``요약:`` on, without ``[/ANSWER]``. ``closed``: whether the model ended it by itself."""
    answer = whole_answer((), text)
    fields = {label: _plain(value) for label, value in case.fields.items()}
    answers = [_plain(each) for each in case.answers]
    # Without a document, what is right is all that may be said.
    document = _plain(case.document) or "\n".join([*fields.values(), *answers])
    lines = _values(answer)
    is_right = {label: lines.get(label) == {value} for label, value in fields.items()}
    in_lines = list(_invented_lines(answer, document))
    refused = is_refusal(answer)
    lacking = {label for label, _ in in_lines if label not in fields}
    lacking |= {label for label, value in _LINE.findall(answer) if value != ABSENT and fields.get(label) == ABSENT}
    return Judgement(
        right={label: right for label, right in is_right.items() if fields[label] != ABSENT},
        all_three=all(is_right[label] for label in THREE) if fields.keys() >= set(THREE) else None,
        invented=tuple(dict.fromkeys([*(value for _, value in in_lines), *_invented_anywhere(answer, document)])),
        refused=refused,
        refusal=refused and not lacking if case.refuses else None,
        well_formed=well_formed(answer) if fields else None,
        closed=closed,
        repetition=repetition(answer),
        holds_answer=any(_stands(each, answer, _TEXT_EDGES) for each in answers) if answers else None,
    )


def repetition(text: str) -> float:
    """1 - distinct / all, over the 4-grams of the words between blanks; 0 if there are none."""
    words = text.split()
    grams = list(zip(*(words[i:] for i in range(NGRAM)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _plain(text: str) -> str:
    return normalize("NFC", text).strip()


def _values(answer: str) -> dict[str, set[str]]:
    """All that the lines of each label say: one line is right, and so is none that says something else."""
    values: dict[str, set[str]] = {}
    for label, value in contact_lines(answer):
        values.setdefault(label, set()).add(value)
    return values


def _invented_lines(answer: str, document: str) -> Iterator[tuple[str, str]]:
    """Label and value of each contact line, however it is spelled, whose value is not in the document."""
    for label, value in _LINE.findall(answer):
        if value != ABSENT and not _stands(value, document, _EDGES_OF_LINES[label]):
            yield label, value


def _invented_anywhere(answer: str, document: str) -> Iterator[str]:
    """Web and mail addresses and telephone numbers of the whole answer that are not in the document."""
    for match in _LINK.finditer(answer):
        link = match[0].rstrip(".-:?#&+=%~")
        if not _stands(link, document, _LINK_EDGES):
            yield link
    for match in _NUMBER.finditer(_DATE.sub("\n", _LINK.sub("\n", answer))):
        yield from _unknown_numbers(match[0], document)


def _unknown_numbers(found: str, document: str) -> Iterator[str]:
    """What of a run of digits and separators is a telephone number that is not in the document.

    Blanks may separate the groups of one number, or a number from another ("호수로 135 02-123-4567"): so the words of the
    run that stand in the document, as many at once as do, are taken out before the rest is looked at.
    """
    words = list(_WORD.finditer(found))
    start = at = 0  # words from start to at are in no known number
    while at < len(words):
        ends = range(min(at + MAX_GROUPS, len(words)), at, -1)
        known = next((end for end in ends if _is_known(_span(found, words[at:end]), document)), None)
        if known is None:
            at += 1
            continue
        yield from _if_number(_span(found, words[start:at]))
        start = at = known
    yield from _if_number(_span(found, words[start:]))


def _span(text: str, words: list[re.Match[str]]) -> str:
    """From the first of some words to the last, without brackets that have no other half."""
    span = text[words[0].start() : words[-1].end()].strip(" -.") if words else ""
    return span if ")" in span else span.replace("(", "")


def _is_known(number: str, document: str) -> bool:
    return _digits(number) >= MIN_DIGITS and _stands(number, document, _NUMBER_EDGES)


def _if_number(text: str) -> list[str]:
    return [text] if _digits(text) >= MIN_DIGITS else []


def _digits(text: str) -> int:
    return sum(char in "0123456789" for char in text)


def _stands(value: str, text: str, edges: tuple[str, str]) -> bool:
    """Whether ``text`` holds ``value`` as it is written, and not as a part of a longer number, word or address.

    Hangul may be next to it, since particles are; an edge that is Hangul itself may be anywhere.
    """
    before = "" if _HANGUL.match(value) else edges[0]
    after = "" if _HANGUL.match(value[-1:]) else edges[1]
    return value in text and re.search(f"{before}{re.escape(value)}{after}", text) is not None
