"""The base of every config class: typed, frozen, exact."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class Config(BaseModel):
    """What the user chose, as an immutable object without defaults (values stand in the YAMLs).

    Strict: a bool is no int, ``"8"`` is no 8, NaN and infinity are no numbers, an unknown option is an error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def problems(self) -> Iterator[str]:
        """One sentence for each rule over several options that is broken: rule, value, remedy.

        ``@.option`` stands for the dotted path: "@.n_embd must be a multiple of @.n_head (4), but is 101. Try 100 or 104."
        """
        yield from ()

    def settled(self, trusted: Collection[str] = ()) -> Self:
        """The same with all that it leaves to what lies on the disk looked up: what is saved must mean the same for ever.

        ``trusted`` are packages that a config found there may name. Raises ``ConfigError``, ``RunError`` or ``DataError``.
        """
        return self

    @model_validator(mode="after")
    def _no_problems(self) -> Self:
        if problems := list(self.problems()):
            raise ValueError("\n".join(problems))
        return self
