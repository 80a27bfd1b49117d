"""A corpus: documents that can be read again and again, and the rule that sends each to train or to validation."""

from __future__ import annotations

import heapq
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from cai.data.base import Document, Split, share_of
from cai.data.cases import Case, case_of_document
from cai.data.report import Report
from cai.markup import ANSWER, ANSWER_START, QUESTION, Part, Tag, find_tag, plain_text

if TYPE_CHECKING:
    from cai.tokens.prepared import Prepared


@dataclass(frozen=True)
class Prompt:
    """What a sample starts from. ``title`` is for people, ``parts`` for the model (empty: the start of a document)."""

    title: str
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """A source that can be read again and again, always in the same order, and its division into train and validation.

    ``documents(report)`` reads it once and counts into ``report``. ``fingerprint`` changes whenever any document, its
    order, its side of the split or how often it comes may change.
    """

    documents: Callable[[Report], Iterator[Document]]
    split: Literal["hash", "tail"]
    val_ratio: float
    fingerprint: str
    note: str = ""
    """What a reader of the plan must know about this data."""
    end_of_text: bool = True
    """Whether each document is followed by an end-of-text token."""
    random_words: bool = False
    """Whether much of it is made of syllables at random, to be copied: a tokenizer is not to hold them whole."""
    size: int | None = None
    """Bytes of the source, for a progress bar; ``None`` if nobody knows."""
    repeats: Callable[[Mapping[str, int]], Mapping[str, float]] | None = None
    """From the characters of each group's train documents to how many times each group is read; ``None``: once."""
    copies: int = 0
    """Varied copies of each train document beside itself."""
    vary: Callable[[Document, int], Document] | None = None
    """The varied copy of that number (from 1) of a document."""
    unseen: Callable[[int], Sequence[Case]] | None = None
    """So many questions from outside of the corpus to score a model's answers by; ``None``: there are none."""
    packing: Literal["stream", "documents"] = "stream"
    isolate: bool = False
    loss: Literal["all", "answer"] = "all"
    prepared: Prepared | None = None
    """Its tokenizer and its ids, if it was prepared before; ``documents`` are then those of validation alone."""

    def divide(self, report: Report | None = None) -> Iterator[tuple[Document, Split]]:
        """Every document with its side, NFC, in one pass; then train documents again as often as they are to come up.

        What is read again comes in further rounds over the source, so that copies of a document lie far apart.
        """
        report, times = report or Report(), self._times()
        rounds = 1 + max((math.ceil(each) - 1 for each in times.values()), default=0)
        for number in range(rounds * (1 + self.copies)):
            again, copy = divmod(number, 1 + self.copies)
            for document, side in self._divide(Report() if number else report):
                if side == "val":
                    if not number:
                        yield document, side
                elif _comes(document, again, times):
                    shown = self.vary(document, number) if copy and self.vary else document
                    report.forms.see(shown)
                    yield shown, side

    def select(self, split: Split) -> Iterator[Document]:
        """The documents of one side, in order, NFC."""
        return (document for document, side in self.divide() if side == split)

    def texts(self, split: Split) -> Iterator[str]:
        """The ordinary text of one side, tags left out: what a tokenizer learns from."""
        for document in self.select(split):
            yield from (part for part in document.parts if not isinstance(part, Tag))

    def prompts(self, count: int) -> list[Prompt]:
        """What to sample from: unseen questions, or those of ``count`` validation documents, each of another key; else one
        empty start.
        """
        if self.unseen is not None:
            return [Prompt(case.question, case.prompt) for case in self.unseen(count)]
        prompts: dict[str | None, Prompt] = {}
        for document, side in self._divide(Report()) if count else ():
            if side == "train":
                continue
            question, answer = find_tag(document.parts, QUESTION), find_tag(document.parts, ANSWER)
            if len(prompts) == count or question is None or answer is None:
                break
            parts = (*document.parts[: answer + 1], ANSWER_START)
            prompts.setdefault(document.key, Prompt(document.parts[question + 1].strip(), parts))
        return list(prompts.values()) or [Prompt("(start of a document)")] * min(count, 1)

    def cases(self, count: int) -> list[Case]:
        """What to score answers by: ``unseen`` questions, or else those of validation documents, one of each key first."""
        if self.unseen is not None:
            return list(self.unseen(count))
        found = heapq.nsmallest(count, self._cases(count) if count else (), key=lambda one: one[:2])
        return [case for _, _, case in found]

    def _cases(self, count: int) -> Iterator[tuple[int, int, Case]]:
        """How many cases of its key and how many documents came before each; until ``count`` keys have one."""
        times: Counter[str] = Counter()
        for number, (document, side) in enumerate(self._divide(Report())):
            case = case_of_document(document.parts) if side == "val" else None
            if case is not None:
                key = document.key or plain_text(document.parts)
                yield times[key], number, case
                times[key] += 1
                if len(times) == count:
                    return

    def _times(self) -> Mapping[str, float]:
        """How many times the train documents of each group are read; groups without an entry once."""
        if self.repeats is None:
            return {}
        sizes: Counter[str] = Counter()
        for document, side in self._divide(Report()):
            if side == "train" and document.group is not None:
                sizes[document.group] += length(document)
        return self.repeats(sizes)

    def _divide(self, report: Report) -> Iterator[tuple[Document, Split]]:
        normalized = (_nfc(document) for document in self.documents(report))
        if self.split == "tail":
            yield from self._divide_tail(normalized)
            return
        for document in normalized:
            if document.side is not None:
                yield document, document.side
            else:
                yield document, "val" if share_of(document.key or plain_text(document.parts)) < self.val_ratio else "train"

    def _divide_tail(self, documents: Iterator[Document]) -> Iterator[tuple[Document, Split]]:
        """The last ``val_ratio`` of the characters. A keyed document is not cut and stays with its key; a text is cut."""
        total = sum(length(_nfc(document)) for document in self.documents(Report()))
        cut = int(total * (1 - self.val_ratio))
        position, train_keys = 0, set[str]()
        for document in documents:
            start, position = position, position + length(document)
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


def length(document: Document) -> int:
    """Characters of a document, tags spelled out."""
    return sum(len(part) for part in document.parts)


def _comes(document: Document, again: int, times: Mapping[str, float]) -> bool:
    """Whether a train document is read in this round; of a part of a time, a hash of the document decides."""
    left = times.get(document.group or "", 1.0) - again
    return left >= 1 or share_of(f"{again}/{plain_text(document.parts)}") < left


def _nfc(document: Document) -> Document:
    if all(unicodedata.is_normalized("NFC", part) for part in document.parts):
        return document
    parts = tuple(part if isinstance(part, Tag) else unicodedata.normalize("NFC", part) for part in document.parts)
    return replace(document, parts=parts)


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
