"""The tables of the second world."""

from __future__ import annotations

from typing import Final

from cai.data.contacts.tables import Tables
from cai.data.contacts.unseen import fields, kinds, places, wordings

EVALUATION_TABLES: Final = Tables(
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
)
"""Disjoint from ``TRAINING_TABLES`` in all but regions and area codes. To be used with another seed than the training data:

with the same seed, the organisations of one index draw alike in both worlds, and those of one region share their numbers.
"""
