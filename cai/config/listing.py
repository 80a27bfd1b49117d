"""The options of ``cai list``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cai.config.base import Config


class ListConfig(Config):
    """Which runs are listed, and whether some of them may be deleted."""

    output_dir: Annotated[str, Field(min_length=1)]
    clean: bool
