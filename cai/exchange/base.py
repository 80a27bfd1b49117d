"""What an export is made of, and what every format offers."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cai.errors import ConfigError
from cai.tokenizer.base import Tokenizer
from cai.trained import TrainedRun

PRECISIONS: dict[str, torch.dtype | None] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "q8_0": None,
}
"""``precision=`` → the type of the weights, where PyTorch has one."""


@dataclass(frozen=True)
class Source:
    """What is exported: a run's model on the CPU in fp32, and where it came from."""

    directory: Path
    checkpoint: str
    trained: TrainedRun
    facts: Mapping[str, Any]
    """The run's ``run.json``."""

    @property
    def block_size(self) -> int:
        """How many tokens the model sees at once."""
        return self.trained.config.model.block_size


class Reopened(ABC):
    """An export, opened again by the program it is for."""

    by: str
    """That program and its version, as ``transformers 5.24.0``."""
    log_probabilities: bool = False
    """Whether ``logits`` gives their log-softmax, the program telling no more; then that of the original is compared."""

    def coarseness(self, model: nn.Module, ids: Sequence[int]) -> float:
        """How far arithmetic of the program's own, coarser than fp32, may move a logit of the original ``model``."""
        return 0.0

    def encode(self, text: str) -> list[int] | None:
        """The ids of ordinary text; ``None`` if the export has no tokenizer of its own."""
        return None

    @abstractmethod
    def logits(self, ids: Sequence[int]) -> Tensor:
        """``(T, V)`` in fp32 of one sequence."""

    def greedy(self, ids: Sequence[int], count: int) -> list[int]:
        """The ``count`` most probable next tokens, one by one, end-of-text or not. A format with a cache uses it."""
        written: list[int] = []
        for _ in range(count):
            written.append(int(self.logits([*ids, *written])[-1].argmax()))
        return written


class Called(Reopened):
    """A ``function`` from ids ``(1, T)`` to logits ``(1, T, V)``, with a tokenizer of CAI's."""

    def __init__(self, by: str, tokenizer: Tokenizer, function: Callable[[Tensor], Tensor]) -> None:
        self.by = by
        self._tokenizer = tokenizer
        self._function = function

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        return self._function(torch.tensor([list(ids)]))[0].float()


class Format(Protocol):
    """What a module of a format has."""

    PRECISIONS: tuple[str, ...]
    """Those of the weights that it can hold, the default first."""

    def refuse(self, source: Source) -> None:
        """Raise ``ConfigError`` if this model or tokenizer cannot be said in the format, with the option that could be
        changed, or if a package is missing that writing needs. Before anything is written."""

    def write(self, source: Source, folder: Path, precision: str) -> None:
        """The export into an empty ``folder``."""

    def reopen(self, folder: Path, trusted: Collection[str] = ()) -> Reopened:
        """Open what ``write`` wrote. ``trusted``: packages that components in its ``config.yaml`` may come from."""


def format_of(name: str) -> Format:
    """The module of a format, one of ``FORMATS``. Imports no package that is not installed with CAI itself."""
    module: Format = import_module(f"cai.exchange.{name}")
    return module


def first_line(error: BaseException) -> str:
    """What PyTorch's exporters say of an error, without colours, and without the pages that follow."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().partition("\n")[0].rstrip(" .:")


def needs_package(package: str, extra: str, purpose: str) -> None:
    """Raise ``ConfigError`` naming the extra if ``package`` is not installed."""
    try:
        import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"{purpose} needs the package {package}, but it cannot be imported ({error})."
            f' Install it: pip install "cai[{extra}]"'
        ) from None
