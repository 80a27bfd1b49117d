"""The vocabulary of a world: everything the generator draws from. Other tables make another, disjoint world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from cai.data.contacts import fields, kinds, places, wordings
from cai.data.contacts.kinds import Kind, NamePart
from cai.data.contacts.places import City, Region
from cai.data.contacts.wordings import Layout
from cai.data.contacts.words import FieldWords

NOTICE: Final = (
    "모든 기관, 번호, 주소는 생성된 가상의 자료이며 번호는 우연히 실제로 쓰이는 것일 수 있으니 전화하지 마십시오. "
    "All organisations, numbers and addresses are generated and fictional; a number may by chance belong to someone: "
    "do not call."
)
"""What is to be said wherever this data is shown."""


@dataclass(frozen=True)
class Tables:
    """A world. ``capital`` is the region of foreign missions; ``fields`` has an entry for each field of a document."""

    regions: tuple[Region, ...]
    capital: Region
    generic_roads: tuple[str, ...]
    cities: tuple[City, ...]

    kinds: tuple[Kind, ...]
    name_heads: tuple[NamePart, ...]
    name_tails: tuple[NamePart, ...]
    national_prefixes: tuple[str, ...]
    web_patterns: tuple[str, ...]
    domain_patterns: tuple[str, ...]
    mailboxes: tuple[str, ...]

    layouts: tuple[Layout, ...]
    fields: Mapping[str, FieldWords]
    general_questions: tuple[str, ...]
    all_questions: tuple[str, ...]
    all_summaries: tuple[str, ...]
    checklist: Mapping[str, tuple[str, ...]]
    details: tuple[str, ...]
    context_weights: tuple[int, int, int]
    """How often a document has one, two or three fields that are no contacts."""
    distractor_share: float
    """How often a document has a fax number that is not asked for; the same for a second telephone number."""


def tables_of(fields: ModuleType, kinds: ModuleType, places: ModuleType, wordings: ModuleType) -> Tables:
    """The world whose vocabulary is spread over modules of these names."""
    return Tables(
        regions=places.REGIONS,
        capital=places.CAPITAL,
        generic_roads=places.GENERIC_ROADS,
        cities=places.CITIES,
        kinds=kinds.KINDS,
        name_heads=kinds.NAME_HEADS,
        name_tails=kinds.NAME_TAILS,
        national_prefixes=kinds.NATIONAL_PREFIXES,
        web_patterns=kinds.WEB_PATTERNS,
        domain_patterns=kinds.DOMAIN_PATTERNS,
        mailboxes=kinds.MAILBOXES,
        layouts=wordings.LAYOUTS,
        fields=fields.FIELDS,
        general_questions=wordings.GENERAL_QUESTIONS,
        all_questions=wordings.ALL_QUESTIONS,
        all_summaries=wordings.ALL_SUMMARIES,
        checklist=wordings.CHECKLIST,
        details=wordings.DETAILS,
        context_weights=(40, 50, 10),
        distractor_share=0.1,
    )


TRAINING_TABLES: Final = tables_of(fields, kinds, places, wordings)
