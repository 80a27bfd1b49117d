"""The options of ``cai evaluate``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from cai.config.base import Config
from cai.config.checkpoints import CheckpointName
from cai.data.base import DataConfig
from cai.device import DeviceConfig
from cai.generation import GenerationConfig


class EvaluateConfig(Config):
    """Which run, on what, and what is asked of it. ``data`` and ``file`` are ``None``: the run's own."""

    run: str
    output_dir: str
    checkpoint: CheckpointName
    data: DataConfig | None
    file: str | None
    likelihood: bool
    stride: Annotated[int, Field(gt=0)] | None
    answers: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(gt=0)]
    out: str | None
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    generation: GenerationConfig
    device: DeviceConfig

    def problems(self) -> Iterator[str]:
        if self.data is not None and self.file is not None:
            yield "at most one of @.data and @.file must be given, but both are. Leave one out."
        if self.file is not None and not self.answers:
            yield "@.file has questions to answer, but @.answers is 0 (none). Try @.answers=200"
        if self.file is None and not self.likelihood and not self.answers:
            yield "something must be evaluated, but @.likelihood is false and @.answers is 0. Leave one of them out."
