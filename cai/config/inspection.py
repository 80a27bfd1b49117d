"""The options of ``cai inspect`` that need no PyTorch: a tokenizer can be looked at without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from cai.config.base import Config


class InspectTokenizerConfig(Config):
    """What to look at. Without ``run`` and ``path``: what the rest of the command composes, as for ``train``."""

    run: str | None
    path: str | None
    output_dir: str
    text: str | None
    ids: bool
    parse_tags: bool

    def problems(self) -> Iterator[str]:
        if self.run is not None and self.path is not None:
            yield "at most one of @.run and @.path must be given, but both are. Leave one out."
        for name in ("ids", "parse_tags"):
            if getattr(self, name) and self.text is None:
                yield f'@.{name} goes with @.text, but there is none. Try: text="..."'


class InspectDataConfig(Config):
    """Which stage of the data to show."""

    stage: Literal["read", "cleaned", "varied", "tokens", "rows"]
    count: Annotated[int, Field(ge=1)]
