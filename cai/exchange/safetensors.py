"""``to=safetensors``: ``model.safetensors`` with CAI's own names, ``config.yaml`` and ``tokenizer.json``."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import safetensors
from safetensors.torch import load_file, save

from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.exchange.base import PRECISIONS as TYPES
from cai.exchange.base import Called, Reopened, Source
from cai.run import TOKENIZER
from cai.runs import CONFIG
from cai.tokenizer.base import Tokenizer
from cai.trainer.checkpoint import apart
from cai.trainer.state import take_weights

PRECISIONS = ("float32", "float16", "bfloat16")
WEIGHTS = "model.safetensors"


def refuse(source: Source) -> None:
    """Every model can be said in it."""


def write(source: Source, folder: Path, precision: str) -> None:
    """The weights; config and tokenizer are in the folder of every export that CAI reads."""
    kind = TYPES[precision]
    weights = {name: tensor.to(kind).contiguous() for name, tensor in apart(take_weights(source.trained.model)).items()}
    (folder / WEIGHTS).write_bytes(save(weights, {"format": "pt"}))  # `save_file` makes a file that nobody else may read


def reopen(folder: Path, trusted: Collection[str] = ()) -> Reopened:
    """By CAI."""
    tokenizer = Tokenizer.load(folder / TOKENIZER)
    model = load_config(folder / CONFIG, TrainConfig, trusted).model.build(vocab_size=tokenizer.vocab_size)
    model.load_state_dict(load_file(folder / WEIGHTS))
    return Called(f"safetensors {safetensors.__version__}", tokenizer, model.eval())
