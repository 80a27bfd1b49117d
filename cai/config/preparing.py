"""The options of ``cai prepare`` beside those of ``cai train``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from cai.config.base import Config

MOST_PARTS: Final = 9999


def _spelled(value: object) -> object:
    """``prepare.shard=3`` is a number to Hydra."""
    return str(value) if type(value) is int else value


def _shard(text: str) -> str:
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(
            f"@ must be the number of a part, a slash and how many parts there are, 1/1 to {MOST_PARTS}/{MOST_PARTS}, but is"
            f" {text!r}. Try prepare.shard=3/64."
        )
    return text


class PrepareOptions(Config):
    """Where to, and how much of it."""

    out: Annotated[str, Field(min_length=1)] | None
    shard: Annotated[str, BeforeValidator(_spelled), AfterValidator(_shard)]

    @property
    def part(self) -> tuple[int, int]:
        """The number of the part, from 1, and how many there are."""
        number, _, count = self.shard.partition("/")
        return int(number), int(count)

    def problems(self) -> Iterator[str]:
        if self.out is None and self.part[1] > 1:
            yield (
                f"@.shard divides a preparation among machines, which needs a place that all see, but is {self.shard} and"
                " @.out is null. Add @.out=s3://bucket/corpus, or a shared folder."
            )
