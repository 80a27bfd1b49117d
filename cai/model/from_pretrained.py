"""A model that is there already, on the disk: what it is, its own files say."""

from __future__ import annotations

from typing import Annotated, NoReturn

from pydantic import Field

from cai.errors import ConfigError
from cai.model.base import ModelConfig, PositiveInt, Probability


class FromPretrainedConfig(ModelConfig):
    """Stands for the options of the model at ``path``, which take its place before anything is begun or saved."""

    path: Annotated[str, Field(min_length=1)]
    block_size: PositiveInt | None  # type: ignore[assignment]
    dropout: Probability

    def build(self, vocab_size: int) -> NoReturn:
        """Never done: ``TrainConfig.settled`` gives the options of the model itself."""
        raise ConfigError(
            f"`model` must be an architecture to be built, but only says where one lies ({self.path})."
            " Compose the config: cai train model=from_pretrained model.path=..."
        )
