"""Questions to a trained model: one about each of some organisations whose whole world it has never seen."""

from __future__ import annotations

from typing import Final

from cai.data.contacts.examples import Example, make_examples
from cai.data.contacts.organisations import make_organisation
from cai.data.contacts.unseen.tables import EVALUATION_TABLES

SEED: Final = 2**61 - 1
"""No training world's: the same seed draws the same digits in every world."""


def unseen_examples(count: int) -> list[Example]:
    """The first ``count`` of them, always the same."""
    return [
        make_examples(make_organisation(index, SEED, EVALUATION_TABLES), 1, SEED, EVALUATION_TABLES)[0]
        for index in range(count)
    ]
