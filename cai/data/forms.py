"""Whether one form dominates a text: how questions begin and end, what answers say, what documents are made like."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from cai.data.answers import ABSENT, CONTACT_LABELS
from cai.data.base import Document
from cai.data.cases import contact_lines
from cai.markup import QUESTION, Tag, answer_start, find_tag, plain_text
from cai.symptoms.table import Told, tell

SAMPLE: Final = 400
"""Documents that are looked at, from all over the text: up to twice as many."""
FEWEST: Final = 100
"""With fewer texts nothing is told; of fewer documents, their lines are looked at."""
CHARACTERS: Final = 2**18
"""Of a document that are kept if it is the only one, half of them if it is the second, and so on: its beginning and its
end."""
LEAST: Final = 512
"""Of them that are kept in any case."""
DOMINATES: Final = 0.5
"""Share of one form that is told. In all sets that this was tried on (chats, reviews, novels, drama, the Bible,
documentation, contacts; by document and by line) the most frequent beginning or end has up to 0.31 (names of one office),
that of questions 0.20, the most frequent pattern 0.08, the most frequent answer 0.01."""
FORMAT: Final = 0.98
"""Share from which on a word is part of the format, as ``Q:`` before each question: what comes after it is looked at."""
WORDS: Final = 2
"""Of a beginning or an end."""
LABELS: Final = (":", "]", ")", ">")
"""How a word ends that is a beginning by itself."""
DEEPEST: Final = 40
"""Words of format that are passed over at most."""
PATTERN_WORDS: Final = 3
"""A text of fewer words has no pattern."""
ABSENT_SHARE: Final = 0.98
"""Of the answers, in which a contact is said to be absent."""

REMEDIES: Final = {"questions": "more_questions", "answers": "more_answers"}


class Parts(NamedTuple):
    """What of a document is compared."""

    question: str | None
    """``None``: it has no question with an answer."""
    text: str
    """The answer; or the whole document."""


class Forms:
    """Documents from all over a text, for ``dominating``. Memory is bounded: the more there are, the fewer are kept."""

    def __init__(self) -> None:
        self._kept: list[Parts] = []
        self._seen, self._stride = 0, 1

    def see(self, document: Document) -> None:
        """Take in the next document."""
        if self._seen % self._stride == 0:
            self._kept.append(_parts(document, max(LEAST, CHARACTERS // (len(self._kept) + 1))))
            if len(self._kept) == 2 * SAMPLE:
                del self._kept[1::2]
                self._stride *= 2
        self._seen += 1

    def to_tree(self) -> list[dict[str, Any]]:
        """What dominates, as plain values: facts for ``one_sided``."""
        return [*dominating(self._kept)]


def one_sided(report: Mapping[str, Any]) -> list[Told]:
    """What the ``report`` on a corpus tells of forms that dominate it."""
    found = []
    for facts in report.get("one_sided", ()):
        if "label" in facts:
            found.append(tell("absent", **facts, value=ABSENT))
        else:
            found.append(tell("one_form", REMEDIES.get(facts["what"], "more_forms"), **facts))
    return found


def dominating(documents: Sequence[Parts]) -> Iterator[dict[str, Any]]:
    """Of questions, of answers, and of documents without any: the form that dominates most, if one does."""
    questions = [each.question for each in documents if each.question is not None]
    answers = [each.text for each in documents if each.question is not None]
    others = [each.text for each in documents if each.question is None]
    if 0 < len(others) < FEWEST:
        others = [line for text in others for line in text.splitlines() if line.strip()][: 2 * SAMPLE]
    yield from _most("questions", questions, ("are", "begin with", "end with"))
    yield from _most("answers", answers, ("are",))
    yield from _absent(answers)
    yield from _most("documents", others, ("are", "begin with", "end with", "are made like"))


def _parts(document: Document, room: int) -> Parts:
    """Texts of at most ``room`` characters."""
    question, start = find_tag(document.parts, QUESTION), answer_start(document.parts)
    if question is None or start is None:
        return Parts(None, _cut(plain_text(document.parts), room))
    return Parts(*(_cut(_until_tag(document.parts[place:]), room) for place in (question + 1, start)))


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room // 2]}\n{text[-(room // 2) :]}"


def _until_tag(parts: Sequence[str]) -> str:
    return "".join(itertools.takewhile(lambda part: not isinstance(part, Tag), parts))


def _most(what: str, texts: Sequence[str], views: Sequence[str]) -> Iterator[dict[str, Any]]:
    texts = [text for text in texts if text.strip()]
    if len(texts) < FEWEST:
        return
    found = {how: VIEWS[how](texts) for how in views}
    how, (form, share) = max(found.items(), key=lambda one: one[1][1])
    if share >= DOMINATES:
        yield {"share": round(share, 4), "count": len(texts), "what": what, "how": how, "form": form[:80]}


def _absent(answers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Contacts that hardly any answer has, though it has a line for them and for one that is there."""
    lines = [dict(contact_lines(answer)) for answer in answers]
    for label in CONTACT_LABELS.values():
        values = [each[label] for each in lines if label in each]
        share = values.count(ABSENT) / max(1, len(values))
        if len(values) >= FEWEST and share >= ABSENT_SHARE:
            yield {"share": round(share, 4), "count": len(values), "label": label}


def _commonest(values: Iterable[str]) -> tuple[str, float]:
    """The commonest value that is not empty, and its share of all."""
    counts = Counter(values)
    value, count = next((pair for pair in counts.most_common(2) if pair[0]), ("", 0))
    return value, count / max(1, counts.total())


def _edge(texts: Sequence[str], *, last: bool) -> tuple[str, float]:
    """The commonest first (or last) words, and their share, after the words of the format that all texts share."""
    step = -1 if last else 1
    rows = [text.split()[::step] for text in texts]
    for _ in range(DEEPEST):
        word, share = _commonest(row[0] if row else "" for row in rows)
        if share < FORMAT or not word:
            break
        rows = [row[1:] if row[:1] == [word] else row for row in rows]
    sizes = (1 if not last and row and row[0].endswith(LABELS) else WORDS for row in rows)
    return _commonest(" ".join(row[:size][::step]) for row, size in zip(rows, sizes, strict=True))


def _pattern(text: str) -> str:
    """A text with every word replaced by the kind of its letters, numbers by 0; empty for a short one."""
    if len(text.split()) < PATTERN_WORDS:
        return ""
    return re.sub(r"[^\W\d_]+", lambda word: "가" if "가" <= word[0][0] <= "힣" else "a", re.sub(r"\d+", "0", text.strip()))


def _commonest_pattern(texts: Sequence[str]) -> tuple[str, float]:
    """A text of the commonest pattern, and the pattern's share of all texts."""
    patterns = [_pattern(text) for text in texts]
    pattern, share = _commonest(patterns)
    return texts[patterns.index(pattern)].strip() if share else "", share


VIEWS: Final = {
    "begin with": lambda texts: _edge(texts, last=False),
    "end with": lambda texts: _edge(texts, last=True),
    "are": lambda texts: _commonest(text.strip() for text in texts),
    "are made like": _commonest_pattern,
}
"""How forms are looked for: the commonest one, and its share of the texts."""
