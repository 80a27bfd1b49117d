"""Errors that are part of the interface: one message for the user, no traceback.

``assert`` is for invariants of the program; these are for what a user or a machine can get wrong.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from cai.symptoms.table import Told


class CaiError(Exception):
    """A condition the user can understand and mend. ``exit_code``: 2 for a user's mistake, 1 for a failed run."""

    exit_code = 1
    symptom: str | None = None
    """The row of ``cai.symptoms.table`` that it is told from, if it is one of those."""

    @classmethod
    def of(cls, told: Told) -> Self:
        """The error of a symptom that was seen."""
        error = cls(told.sentence)
        error.symptom = told.name
        return error


class ConfigError(CaiError, ValueError):
    """The configuration is wrong. Holds every problem found, not only the first."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class DataError(CaiError, ValueError):
    """The user's text cannot be used as it is."""

    exit_code = 2


class RunError(CaiError, RuntimeError):
    """A run directory cannot be used: missing, in use by another process, incomplete or damaged."""

    exit_code = 2


class OutputError(CaiError, OSError):
    """Something could not be written: disk full, folder read-only."""


class TrainingError(CaiError, RuntimeError):
    """Training cannot go on, for instance because the loss is not finite."""


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, has no room left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
