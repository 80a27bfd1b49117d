"""The table of contents of each verb's config: which groups it has."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field

from cai.config.base import Config
from cai.config.board import BoardConfig
from cai.config.checkpoints import CheckpointName
from cai.config.comparison import CompareConfig
from cai.config.evaluation import EvaluateConfig
from cai.config.exporting import ExportConfig
from cai.config.inspection import InspectDataConfig, InspectTokenizerConfig
from cai.config.listing import ListConfig
from cai.config.looking import (
    InspectAttentionConfig,
    InspectCheckpointConfig,
    InspectGradientsConfig,
    InspectLRConfig,
    InspectModelConfig,
    InspectOptionsConfig,
    InspectRunConfig,
)
from cai.config.preparing import PrepareOptions
from cai.config.tuning import ANSWERS, TuneOptions
from cai.data.base import DataConfig
from cai.data.prepared import PreparedConfig
from cai.device import DeviceConfig
from cai.generation import GenerationConfig
from cai.model.base import ModelConfig
from cai.model.from_pretrained import FromPretrainedConfig
from cai.optimizer.base import OptimizerConfig
from cai.schedule.base import ScheduleConfig
from cai.sweeps import SweepConfig
from cai.tokenizer.base import TokenizerConfig
from cai.tokenizer.from_data import NEEDS_PREPARED, FromDataConfig
from cai.trainer.trainer import TrainerConfig


def _one_folder(name: str) -> str:
    wrong = set(name) & set('/\\:*?"<>|$') or name.startswith(".") or name == "cache" or len(name.encode()) > 200
    if wrong or not name.strip() or not name.isprintable():
        raise ValueError(
            "@ must be the name of one folder (no slash, none of : * ? \" < > | $, not starting with a dot, not 'cache', at"
            f" most 200 bytes), but is {name!r}. Try name=my_run."
        )
    return name


def _folder(path: str) -> str:
    if not path.strip() or "${" in path:  # Hydra reads ${ again after it has been resolved
        raise ValueError(f"@ must be a folder's path without `${{`, but is {path!r}. Try output_dir=outputs.")
    return path


OutputDir = Annotated[str, AfterValidator(_folder)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class TrainConfig(Config):
    """Everything that decides a run."""

    name: Annotated[str, AfterValidator(_one_folder)]
    seed: Seed
    output_dir: OutputDir
    model: ModelConfig
    data: DataConfig
    tokenizer: TokenizerConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    trainer: TrainerConfig
    device: DeviceConfig
    generation: GenerationConfig
    sweep: SweepConfig

    def problems(self) -> Iterator[str]:
        if isinstance(self.tokenizer, FromDataConfig) and not isinstance(self.data, PreparedConfig):
            yield NEEDS_PREPARED

    def settled(self, trusted: Collection[str] = ()) -> Self:
        """With the model and the tokenizer of what it begins with, if that is not chance; with that of a prepared corpus."""
        if self.trainer.init_from is None and not isinstance(self.model, FromPretrainedConfig):
            if isinstance(self.data, PreparedConfig) and not isinstance(self.tokenizer, FromDataConfig):
                return self.model_copy(update={"tokenizer": FromDataConfig()})
            return self
        from cai.exchange.initial import settled  # imports this module

        return settled(self, trusted)


class TuneConfig(TrainConfig):
    """A run, and how to search over its options."""

    tune: TuneOptions

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.tune.metric in ANSWERS and not self.trainer.answers:
            yield f"@.tune.metric={self.tune.metric} needs answers, but @.trainer.answers is 0. Try trainer.answers=200."

    def of_a_run(self) -> TrainConfig:
        """The config of one run: this without the search."""
        return TrainConfig.model_construct(**{name: getattr(self, name) for name in TrainConfig.model_fields})


class DoctorConfig(TrainConfig):
    """A run to be estimated before it begins; or one that has been, to be looked at."""

    run: str | None
    verify: bool
    out: str | None
    gpus: bool

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.run is not None and self.verify:
            yield "@.verify looks at this machine and @.run at a run, but both are given. Leave one out."
        if self.out is not None and not self.verify:
            yield "@.out is where @.verify=true writes, but @.verify is false. Leave it out."

    def of_a_run(self) -> TrainConfig:
        """The config of one run: this without what the verb adds."""
        return TrainConfig.model_construct(**{name: getattr(self, name) for name in TrainConfig.model_fields})

    def of_one_process(self) -> TrainConfig:
        """The same in one process alone, as it can be tried on any machine."""
        run = self.of_a_run()
        return run.model_copy(update={"device": run.device.model_copy(update={"processes": 1})})


class PrepareConfig(TrainConfig):
    """A run whose text is to be prepared, and where to."""

    prepare: PrepareOptions


class GenerateConfig(Config):
    """What to write on from, and how."""

    run: str
    output_dir: OutputDir
    checkpoint: CheckpointName
    question: str | None
    doc: str | None
    prompt: str | None
    file: str | None
    out: str | None
    interactive: bool
    samples: Annotated[int, Field(gt=0)]
    batch_size: Annotated[int, Field(gt=0)]
    seed: Seed
    generation: GenerationConfig
    device: DeviceConfig

    def problems(self) -> Iterator[str]:
        given = [name for name in ("question", "prompt", "file") if getattr(self, name) is not None]
        given += ["interactive=true"] * self.interactive
        if len(given) != 1:
            state = f"there are {' and '.join(f'@.{name}' for name in given)}" if given else "there is none"
            yield (
                f"exactly one of @.question, @.prompt, @.file and @.interactive=true must be given, but {state}."
                ' Try: cai generate run=last question="..."'
            )
        if self.doc is not None and self.question is None and not self.interactive:
            yield '@.doc goes with @.question or @.interactive=true, but there is neither. Try: question="..." doc="..."'
        if (self.file is None) != (self.out is None):
            there, missing = ("file", "out") if self.out is None else ("out", "file")
            yield f"@.{there} goes with @.{missing}, but there is none. Try: file=questions.jsonl out=answers.jsonl"
        if self.file is not None and self.out is not None and _same_file(self.file, self.out):
            yield f"@.out must be another file than @.file, but both are {self.file}. Try: out=answers.jsonl"
        if self.samples > 1 and self.interactive:
            yield f"@.samples must be 1 with @.interactive=true, but is {self.samples}. Leave it out."
        if self.generation.show and (self.samples > 1 or self.file is not None):
            several = "@.file" if self.file is not None else f"@.samples={self.samples}"
            yield f"@.generation.show must be null with {several}, but is {self.generation.show}. Leave one of them out."


def _same_file(one: str, other: str) -> bool:
    return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()


class ReproduceOptions(Config):
    """What counts as the same."""

    check_only: bool
    tolerance: Annotated[float, Field(ge=0)]


class ReproduceConfig(Config):
    """How to compare a run with its repetition."""

    reproduce: ReproduceOptions


ROOTS: dict[str, type[Config]] = {
    "train": TrainConfig,
    "generate": GenerateConfig,
    "evaluate": EvaluateConfig,
    "export": ExportConfig,
    "compare": CompareConfig,
    "list": ListConfig,
    "board": BoardConfig,
    "reproduce": ReproduceConfig,
    "tune": TuneConfig,
    "inspect_tokenizer": InspectTokenizerConfig,
    "inspect_data": InspectDataConfig,
    "inspect_model": InspectModelConfig,
    "inspect_lr": InspectLRConfig,
    "inspect_gradients": InspectGradientsConfig,
    "inspect_attention": InspectAttentionConfig,
    "inspect_checkpoint": InspectCheckpointConfig,
    "inspect_run": InspectRunConfig,
    "inspect_options": InspectOptionsConfig,
    "doctor": DoctorConfig,
    "prepare": PrepareConfig,
}
"""Root YAML → its class."""
