"""``to=torch_export``: ``model.pt2``, a program of ``torch.export`` that PyTorch runs without CAI."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch

from cai.exchange.base import Called, Reopened, Source
from cai.exchange.graph import model_of, plain_program, quiet
from cai.run import TOKENIZER
from cai.tokenizer.base import Tokenizer

PRECISIONS = ("float32", "float16", "bfloat16")
PROGRAM = "model.pt2"


def refuse(source: Source) -> None:
    """Every model can be tried; ``write`` tells of one that PyTorch cannot follow."""


def write(source: Source, folder: Path, precision: str) -> None:
    """The program: ``input_ids (B, T)`` → logits ``(B, T, V)``, for any number of rows and 1 to ``block_size`` tokens."""
    program = plain_program(model_of(source, precision), source.block_size).exported
    with quiet():
        torch.export.save(program, folder / PROGRAM)


def reopen(folder: Path, trusted: Collection[str] = ()) -> Reopened:
    """By PyTorch."""
    with quiet():
        module = torch.export.load(folder / PROGRAM).module()
    return Called(f"torch.export {torch.__version__}", Tokenizer.load(folder / TOKENIZER), module)
