"""The table of contents of each verb's config: which groups it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from cai.config.base import Config
from cai.data.base import DataConfig
from cai.device import DeviceConfig
from cai.generation import GenerationConfig
from cai.model.base import ModelConfig
from cai.optimizer.base import OptimizerConfig
from cai.schedule.base import ScheduleConfig
from cai.tokenizer.base import TokenizerConfig
from cai.trainer.trainer import TrainerConfig


def _one_folder(name: str) -> str:
    if (
        not name.strip()
        or name.startswith(".")
        or set(name) & set('/\\:*?"<>|$')
        or not name.isprintable()
        or name == "cache"
    ):
        raise ValueError(
            f"@ must be the name of one folder (no slash, none of : * ? \" < > | $, not starting with a dot, not 'cache'),"
            f" but is {name!r}. Try name=my_run."
        )
    return name


Seed = Annotated[int, Field(ge=0, lt=2**63)]


class TrainConfig(Config):
    """Everything that decides a run."""

    name: Annotated[str, AfterValidator(_one_folder)]
    seed: Seed
    output_dir: Annotated[str, Field(min_length=1)]
    model: ModelConfig
    data: DataConfig
    tokenizer: TokenizerConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    trainer: TrainerConfig
    device: DeviceConfig
    generation: GenerationConfig


class GenerateConfig(Config):
    """What to write on from, and how."""

    run: str
    output_dir: Annotated[str, Field(min_length=1)]
    checkpoint: Annotated[str, Field(pattern=r"^(best|last|step_\d{8})$")]
    question: str | None
    doc: str | None
    prompt: str | None
    seed: Seed
    generation: GenerationConfig
    device: DeviceConfig

    def problems(self) -> Iterator[str]:
        given = [name for name in ("question", "prompt") if getattr(self, name) is not None]
        if len(given) != 1:
            state = "both are" if given else "neither is"
            yield (
                f"exactly one of @.question and @.prompt must be given, but {state}."
                ' Try: cai generate run=last question="..."'
            )
        if self.doc is not None and self.question is None:
            yield '@.doc goes with @.question, but there is none. Try: question="..." doc="..."'


ROOTS: dict[str, type[Config]] = {"train": TrainConfig, "generate": GenerateConfig}
"""Root YAML → its class."""
