"""Documents, and the rule that sends each to train or to validation."""

from __future__ import annotations

import hashlib
import inspect
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cai.config.base import Config
from cai.markup import ANSWER, ANSWER_START, QUESTION, Part, Tag, find_tag, plain_text

Split = Literal["train", "val"]


@dataclass(frozen=True)
class Document:
    """One unit of text. ``key`` names what must not straddle the split (an organisation); ``None``: the text itself."""

    parts: tuple[Part, ...]
    key: str | None = None


class DataConfig(Config, ABC):
    """Base of all data configs."""

    asks: ClassVar[bool] = False
    """Whether documents are questions with answers, which ``question=`` builds a prompt for."""
    example: ClassVar[str] = 'prompt=""'
    """Words for ``cai generate`` that suit a run on this data."""

    split: Literal["hash", "tail"]
    val_ratio: Annotated[float, Field(gt=0, lt=1)]

    @abstractmethod
    def check(self) -> None:
        """Raise ``DataError`` for what can be told before a run begins, such as a missing file. Cheap."""

    @abstractmethod
    def build(self) -> Corpus:
        """The documents and their split."""


@dataclass(frozen=True)
class Prompt:
    """What a sample starts from. ``title`` is for people, ``parts`` for the model (empty: the start of a document)."""

    title: str
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """A source that can be read again and again, always in the same order, and its division into train and validation.

    ``fingerprint`` changes whenever any document, its order or its side of the split may change.
    """

    documents: Callable[[], Iterator[Document]]
    split: Literal["hash", "tail"]
    val_ratio: float
    fingerprint: str
    note: str = ""
    """What a reader of the plan must know about this data."""
    end_of_text: bool = True
    """Whether each document is followed by an end-of-text token."""

    def select(self, split: Split) -> Iterator[Document]:
        """The documents of one side, in order, NFC."""
        for document, side in self._divide():
            if side == split:
                yield document

    def texts(self, split: Split) -> Iterator[str]:
        """The ordinary text of one side, tags left out: what a tokenizer learns from."""
        for document in self.select(split):
            yield from (part for part in document.parts if not isinstance(part, Tag))

    def prompts(self, count: int) -> list[Prompt]:
        """What to sample from: questions of ``count`` validation documents, each of another key; else one empty start."""
        prompts: dict[str | None, Prompt] = {}
        for document in self.select("val"):
            question, answer = find_tag(document.parts, QUESTION), find_tag(document.parts, ANSWER)
            if len(prompts) == count or question is None or answer is None:
                break
            parts = (*document.parts[: answer + 1], ANSWER_START)
            prompts.setdefault(document.key, Prompt(document.parts[question + 1].strip(), parts))
        return list(prompts.values()) or [Prompt("(start of a document)")] * min(count, 1)

    def _divide(self) -> Iterator[tuple[Document, Split]]:
        normalized = (_nfc(document) for document in self.documents())
        if self.split == "tail":
            yield from self._divide_tail(normalized)
            return
        for document in normalized:
            yield document, "val" if share_of(document.key or plain_text(document.parts)) < self.val_ratio else "train"

    def _divide_tail(self, documents: Iterator[Document]) -> Iterator[tuple[Document, Split]]:
        """The last ``val_ratio`` of the characters. A keyed document is not cut and stays with its key; a text is cut."""
        total = sum(_length(_nfc(document)) for document in self.documents())
        cut = int(total * (1 - self.val_ratio))
        position, train_keys = 0, set[str]()
        for document in documents:
            start, position = position, position + _length(document)
            if document.key is not None and (start < cut or document.key in train_keys):
                train_keys.add(document.key)
                yield document, "train"
            elif start >= cut:
                yield document, "val"
            elif position <= cut:
                yield document, "train"
            else:
                head, tail = _cut(document, cut - start)
                yield head, "train"
                yield tail, "val"


def share_of(key: str) -> float:
    """A number in [0, 1) that depends on ``key`` alone: the same text falls on the same side in every corpus and order."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) / 2**64


def fingerprint_of(*values: object) -> str:
    """16 hex digits over the ``repr`` of plain values and the version of Unicode, which decides what NFC does."""
    return hashlib.sha256(repr((unicodedata.unidata_version, *values)).encode()).hexdigest()[:16]


def source_of(*classes: type) -> str:
    """A hash of the files that define ``classes``: results cached by their old code are not taken for today's."""
    files = sorted({inspect.getfile(one) for one in classes})
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()[:16]


def _nfc(document: Document) -> Document:
    if all(unicodedata.is_normalized("NFC", part) for part in document.parts):
        return document
    parts = tuple(part if isinstance(part, Tag) else unicodedata.normalize("NFC", part) for part in document.parts)
    return replace(document, parts=parts)


def _length(document: Document) -> int:
    return sum(len(part) for part in document.parts)


def _cut(document: Document, position: int) -> tuple[Document, Document]:
    """The document before and after a character position. A tag is not cut: one that spans it goes to the second."""
    before: list[Part] = []
    after: list[Part] = []
    for part in document.parts:
        if after or (isinstance(part, Tag) and position < len(part)):
            after.append(part)
        elif position >= len(part):
            before.append(part)
        else:
            before += [part[:position]] * bool(position)
            after.append(part[position:])
        position -= len(part)
    return replace(document, parts=tuple(before)), replace(document, parts=tuple(after))
