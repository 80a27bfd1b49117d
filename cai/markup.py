"""The founding text format: tags, and text in which tags and ordinary words cannot be confused.

A document or prompt is a sequence of *parts*: a ``Tag`` becomes one special token, a plain ``str`` is encoded as ordinary
text even if it spells a tag. So nothing a user types, and nothing a corpus holds, can open or close a section.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final


class Tag(str):
    """A piece of text that stands for one special token."""

    __slots__ = ()


QUESTION: Final = Tag("[QUESTION]")
QUESTION_END: Final = Tag("[/QUESTION]")
DOC: Final = Tag("[DOC]")
DOC_END: Final = Tag("[/DOC]")
ANSWER: Final = Tag("[ANSWER]")
ANSWER_END: Final = Tag("[/ANSWER]")
EOS: Final = Tag("<eos>")
PAD: Final = Tag("<pad>")

TAGS: Final[tuple[Tag, ...]] = (EOS, PAD, QUESTION, QUESTION_END, DOC, DOC_END, ANSWER, ANSWER_END)
"""Every special token, in the order of their ids."""

ANSWER_START: Final = "\n요약:\n-"
"""What every answer begins with; a prompt ends here, so that the model continues with the summary itself."""

Part = str
"""A ``Tag`` or ordinary text."""

_TAG_PATTERN: Final = re.compile("(" + "|".join(re.escape(tag) for tag in TAGS) + ")")


def parse_tags(text: str) -> tuple[Part, ...]:
    """Split trusted text (a ``prompt=``) into parts, reading the tags that are spelled in it."""
    pieces = [piece for piece in _TAG_PATTERN.split(text) if piece]
    return tuple(Tag(piece) if piece in TAGS else piece for piece in pieces)


def prompt_parts(question: str, document: str | None = None) -> tuple[Part, ...]:
    """The prompt of a question, up to the first words of the answer, exactly as training documents spell it."""
    parts: list[Part] = [QUESTION, f"\n{question}\n", QUESTION_END, "\n\n"]
    if document is not None:
        parts += [DOC, f"\n{document}\n", DOC_END, "\n\n"]
    return (*parts, ANSWER, ANSWER_START)


def document_parts(question: str, document: str, answer: str) -> tuple[Part, ...]:
    """A whole training document. ``answer`` begins with ``요약:\\n-`` and holds no tags."""
    if not f"\n{answer}".startswith(ANSWER_START):
        raise ValueError(f"answer must begin with {ANSWER_START[1:]!r}, but begins with {answer[:12]!r}")
    rest = f"\n{answer}\n"[len(ANSWER_START) :]
    return (*prompt_parts(question, document), rest, ANSWER_END)


def answer_start(parts: Sequence[Part]) -> int | None:
    """How many parts come before what an answer says: all up to ``[ANSWER]`` and the fixed beginning after it."""
    answer = find_tag(parts, ANSWER)
    if answer is None:
        return None
    return answer + (2 if parts[answer + 1 : answer + 2] == (ANSWER_START,) else 1)


def find_tag(parts: Sequence[Part], tag: Tag) -> int | None:
    """Where ``tag`` stands first, or ``None``. Ordinary text that spells it does not count, though it compares equal."""
    return next((i for i, part in enumerate(parts) if isinstance(part, Tag) and part == tag), None)


def plain_text(parts: Iterable[Part]) -> str:
    """The parts as one string, tags spelled out."""
    return "".join(parts)
