"""The tables of the second world."""

from __future__ import annotations

from typing import Final

from cai.data.contacts.tables import tables_of
from cai.data.contacts.unseen import fields, kinds, places, wordings

EVALUATION_TABLES: Final = tables_of(fields, kinds, places, wordings)
"""Disjoint from ``TRAINING_TABLES`` in all but regions and area codes. To be used with another seed than the training data:

with the same seed, the organisations of one index draw alike in both worlds, and those of one region share their numbers.
"""
