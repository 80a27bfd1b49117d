"""The options of ``cai board``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cai.config.base import Config


class BoardConfig(Config):
    """Which runs TensorBoard shows, and where its page is served."""

    output_dir: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=0, le=65535)]
    host: Annotated[str, Field(min_length=1)]
    open: bool
