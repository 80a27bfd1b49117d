"""How the training data words each field of a document: in lists, in prose, in questions and in summaries.

Templates may name ``{value}``, the value of the field; ``{name}``; and, in questions, ``{topic}``, the particle 은/는
after the name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldWords:
    """The wordings of one field.

    ``labels`` and ``signs`` (short marks) stand before the value in lists, ``sentences`` hold it in prose. ``nouns``
    fill the general questions, ``questions`` are worded for this field alone; some fields are never asked for and have
    none. ``summaries`` answer; ``missing`` says plainly that the document lacks the field, always with 문서에 and 없. In
    training both begin alike: first comes what was asked for, then what a look into the document gives.
    """

    labels: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    nouns: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    summaries: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
