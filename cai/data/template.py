"""How a record becomes a document: a template whose tags are real, filled with fields whose text never is."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cai.markup import ANSWER, ANSWER_START, Part, Tag, parse_tags

TEMPLATES = {
    "text": "{text}",
    "question_answer": f"[QUESTION]\n{{question}}\n[/QUESTION]\n\n[ANSWER]{ANSWER_START} {{answer}}\n[/ANSWER]",
    "question_doc_answer": (
        f"[QUESTION]\n{{question}}\n[/QUESTION]\n\n[DOC]\n{{doc}}\n[/DOC]\n\n[ANSWER]{ANSWER_START} {{answer}}\n[/ANSWER]"
    ),
}
"""By name: plain text, and the founding format, as ``cai generate question=`` asks."""


class Template:
    """Text with ``{field}`` in it; ``{{`` and ``}}`` stand for braces, ``\\n`` for a line end."""

    def __init__(self, text: str) -> None:
        """``text``: a name of ``TEMPLATES``, or a template of one's own. Raises ``ValueError`` if it cannot be read."""
        # On a command line there is no other way to write a line end.
        self.text = TEMPLATES.get(text) or text.replace("\\n", "\n").replace("\\t", "\t")
        self._pieces = [piece for part in parse_tags(self.text) for piece in _pieces(part)]
        self.fields = tuple(dict.fromkeys(field for field, is_field in self._pieces if is_field))
        if not self.fields:
            raise ValueError(f"must be one of {', '.join(TEMPLATES)} or hold at least one {{field}}, but is {text!r}")

    def fill(self, value_of: Callable[[str], str]) -> tuple[Part, ...]:
        """The document of a record: tags of the template are tags, all else is ordinary text."""
        parts: list[Part] = []
        for piece, is_field in self._pieces:
            text = value_of(piece) if is_field else piece
            if isinstance(text, Tag) or not parts or isinstance(parts[-1], Tag):
                parts.append(text)
            else:
                parts[-1] += text
        return tuple(_with_answer_start(parts))

    def asks(self) -> bool:
        """Whether ``cai generate question=`` fits documents of this form."""
        return f"[ANSWER]{ANSWER_START}" in self.text and "[QUESTION]" in self.text


def value_at(record: Mapping[str, Any], field: str) -> Any:
    """The value of a field; of one inside another by ``outer.inner``. ``None`` if there is none."""
    if field in record:
        return record[field]
    value: Any = record
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def as_text(value: Any) -> str | None:
    """A value as ordinary text: of a list its items with commas; ``None`` for what is no text (an object, nothing)."""
    if isinstance(value, bool) or value is None or isinstance(value, Mapping):
        return None
    if isinstance(value, list | tuple):
        items = [as_text(item) for item in value]
        return None if None in items else ", ".join(item for item in items if item is not None)
    return value if isinstance(value, str) else str(value)


def _pieces(part: Part) -> Iterator[tuple[str, bool]]:
    """Literal text or a tag (False) and field names (True), in order."""
    if isinstance(part, Tag):
        yield part, False
        return
    for literal, field, spec, conversion in string.Formatter().parse(part):
        if literal:
            yield literal, False
        if field is not None:
            if not field or spec or conversion:
                raise ValueError(f"must have fields as {{name}} alone, but has {{{field}{spec and ':' + spec}}}")
            yield field, True


def _with_answer_start(parts: list[Part]) -> Iterator[Part]:
    """The fixed beginning of an answer is a part of its own, as in a prompt: encoded apart, it has the same ids there."""
    after_answer = False
    for part in parts:
        if after_answer and not isinstance(part, Tag) and part.startswith(ANSWER_START) and part != ANSWER_START:
            yield ANSWER_START
            part = part[len(ANSWER_START) :]
        after_answer = isinstance(part, Tag) and part == ANSWER
        if part:
            yield part
