"""The options of those subjects of ``cai inspect`` that look at models and runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from cai.config.base import Config
from cai.config.checkpoints import CheckpointName
from cai.device import DeviceConfig

PositiveInt = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]


class InspectModelConfig(Config):
    """Whose model: a run's, or what the rest of the command composes, as for ``train``."""

    run: str | None
    output_dir: str
    vocab_size: PositiveInt | None
    length: PositiveInt | None
    depth: PositiveInt


class InspectLRConfig(Config):
    """A range test (arXiv:1506.01186): the rate rises from ``lowest`` to ``highest`` by a factor in each step."""

    lowest: Rate | None
    highest: Rate | None
    steps: Annotated[int, Field(ge=20)]
    out: str | None

    def problems(self) -> Iterator[str]:
        if self.lowest is not None and self.highest is not None and self.lowest >= self.highest:
            yield f"@.lowest must be below @.highest ({self.highest:g}), but is {self.lowest:g}."


class InspectGradientsConfig(Config):
    """Of which run, at which checkpoint. Where things are and what computes may change as for ``resume``."""

    run: str
    output_dir: str
    checkpoint: CheckpointName


class InspectAttentionConfig(Config):
    """Of which run, over which prompt, and where the page and the picture go."""

    run: str
    output_dir: str
    checkpoint: CheckpointName
    question: str | None
    doc: str | None
    prompt: str | None
    max_new_tokens: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    out: str | None
    device: DeviceConfig

    def problems(self) -> Iterator[str]:
        if (self.question is None) == (self.prompt is None):
            state = "there is neither" if self.prompt is None else "both are"
            yield f'exactly one of @.question and @.prompt must be given, but {state}. Try: prompt="..."'
        if self.doc is not None and self.question is None:
            yield '@.doc goes with @.question, but there is none. Try: question="..." doc="..."'


class InspectCheckpointConfig(Config):
    """Which file: a run's checkpoint, or one by its path."""

    run: str
    output_dir: str
    checkpoint: CheckpointName
    path: str | None


class InspectRunConfig(Config):
    """Which run."""

    run: str
    output_dir: str


class InspectOptionsConfig(Config):
    """Where the reference goes; ``None``: to the terminal."""

    out: str | None
