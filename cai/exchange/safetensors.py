"""``to=safetensors``: ``model.safetensors`` with CAI's own names, ``config.yaml`` and ``tokenizer.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.exchange.base import PRECISIONS as TYPES
from cai.exchange.base import Reopened, Source
from cai.run import TOKENIZER
from cai.runs import CONFIG
from cai.tokenizer.base import Tokenizer
from cai.trainer.state import take_weights

PRECISIONS = ("float32", "float16", "bfloat16")
WEIGHTS = "model.safetensors"


def refuse(source: Source) -> None:
    """Every model can be said in it."""


def write(source: Source, folder: Path, precision: str) -> None:
    """The weights; config and tokenizer are in the folder of every export that CAI reads."""
    kind = TYPES[precision]
    weights = {name: tensor.to(kind).contiguous() for name, tensor in take_weights(source.trained.model).items()}
    (folder / WEIGHTS).write_bytes(save(weights, {"format": "pt"}))  # `save_file` makes a file that nobody else may read


def reopen(folder: Path) -> Reopened:
    """By CAI."""
    return _Model(folder)


class _Model(Reopened):
    by = f"safetensors {safetensors.__version__}"

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.load(folder / TOKENIZER)
        config = load_config(folder / CONFIG, TrainConfig)
        self._model = config.model.build(vocab_size=self._tokenizer.vocab_size)
        self._model.load_state_dict(load_file(folder / WEIGHTS))
        self._model.eval()

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        logits: Tensor = self._model(torch.tensor([list(ids)]))[0].float()
        return logits
