"""What every kind of data is: a config that builds a corpus of documents."""

from __future__ import annotations

import hashlib
import inspect
import unicodedata
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cai.config.base import Config
from cai.markup import Part

if TYPE_CHECKING:
    from cai.data.corpus import Corpus

Split = Literal["train", "val"]


@dataclass(frozen=True)
class Document:
    """One unit of text.

    ``key`` names what must not straddle the split (an organisation); ``None``: the text itself. ``group`` is what it is
    balanced or mixed by. ``side``: already divided, by its source. ``where``: its place, for people.
    """

    parts: tuple[Part, ...]
    key: str | None = None
    group: str | None = None
    side: Split | None = None
    where: str = field(default="", compare=False)


class DataConfig(Config, ABC):
    """Base of all data configs: how token rows are made of documents, and which tokens count."""

    packing: Literal["stream", "documents"]
    isolate: bool
    loss: Literal["all", "answer"]

    @property
    def asks(self) -> bool:
        """Whether documents are questions with answers, which ``question=`` builds a prompt for."""
        return False

    @property
    def example(self) -> str:
        """Words for ``cai generate`` that suit a run on this data."""
        return 'question="..."' if self.asks else 'prompt=""'

    @abstractmethod
    def check(self) -> None:
        """Raise ``DataError`` for what can be told before a run begins, such as a missing file. Cheap."""

    @abstractmethod
    def build(self) -> Corpus:
        """The documents and their split."""


class DividedConfig(DataConfig):
    """Data that divides itself into train and validation."""

    split: Literal["hash", "tail"]
    val_ratio: Annotated[float, Field(gt=0, lt=1)]


def share_of(key: str) -> float:
    """A number in [0, 1) that depends on ``key`` alone: the same text falls on the same side in every corpus and order."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) / 2**64


def fingerprint_of(*values: object) -> str:
    """16 hex digits over the ``repr`` of plain values and the version of Unicode, which decides what NFC does."""
    return hashlib.sha256(repr((unicodedata.unidata_version, *values)).encode()).hexdigest()[:16]


def source_of(*classes: type) -> str:
    """A hash of the files that define ``classes`` and of all that reads data: results cached by their old code are not
    taken for today's."""
    files = sorted({*(inspect.getfile(one) for one in classes), *map(str, Path(__file__).parent.glob("*.py"))})
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()[:16]
