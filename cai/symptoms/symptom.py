"""A row of the table, and what is told from it."""

from __future__ import annotations

from typing import NamedTuple


class Symptom(NamedTuple):
    """A row. Its texts have ``{facts}`` that whoever sees it fills in; ``{remedy}`` is one of ``cai.symptoms.remedies``."""

    seen: str
    helps: str
    section: str
    """The heading of docs/troubleshooting.md that tells more."""


class Told(NamedTuple):
    """A symptom that was seen."""

    name: str
    sentence: str
