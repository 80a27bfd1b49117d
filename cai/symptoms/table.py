"""The table: one row for each thing that goes wrong, what is to be seen and what helps. Who sees it tells it by its name.

The rows stand in ``rows_of_machine``, ``rows_of_training`` and ``rows_of_texts``.
"""

from __future__ import annotations

from typing import Final

from cai.symptoms.remedies import REMEDIES
from cai.symptoms.rows_of_machine import OF_MACHINE
from cai.symptoms.rows_of_texts import OF_TEXTS
from cai.symptoms.rows_of_training import OF_TRAINING
from cai.symptoms.symptom import Symptom, Told

__all__ = ["TABLE", "Symptom", "Told", "tell"]

TABLE: Final[dict[str, Symptom]] = {**OF_MACHINE, **OF_TRAINING, **OF_TEXTS}
"""By name."""


def tell(name: str, remedy: str = "", **facts: object) -> Told:
    """A row of the table, filled in. ``remedy``: the one of ``REMEDIES`` that helps here."""
    row = TABLE[name]
    helps = row.helps.replace("{remedy}", REMEDIES[remedy]) if remedy else row.helps
    return Told(name, f"{row.seen} {helps}".strip().format(**facts))
