"""Files of one's own: read, cleaned, cut into chunks, varied; the same steps for every kind of file."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cai.data import shares
from cai.data.augment import AugmentConfig, vary
from cai.data.base import DividedConfig, Document, fingerprint_of, source_of
from cai.data.chunks import chunks
from cai.data.cleaning import CleanConfig, Cleaner
from cai.data.corpus import Corpus
from cai.data.duplicates import Duplicates
from cai.data.files import check_files, digest, find_files
from cai.data.lines import Encoding
from cai.data.report import Report
from cai.markup import plain_text

Clean = Callable[[str], str]


class SourceConfig(DividedConfig):
    """Base of all data that is read from files."""

    path: Annotated[str, Field(min_length=1)]
    encoding: Encoding
    on_error: Literal["stop", "skip"]
    parse_tags: bool
    end_of_text: bool
    clean: CleanConfig
    chunk: Annotated[int, Field(ge=0)]
    max_repeats: Annotated[float, Field(ge=1)]
    augment: AugmentConfig

    def as_read(self) -> SourceConfig:
        """The same files with nothing done to their text."""
        off = {"nfc": False, "control_characters": False, "whitespace": False, "contact_labels": False}
        clean = self.clean.model_copy(update=off | {"telephones": "keep", "duplicates": "keep"})
        augment = self.augment.model_copy(update={"copies": 0})
        return self.model_copy(update={"clean": clean, "augment": augment, "chunk": 0, "max_repeats": 1.0})

    @abstractmethod
    def read(self, file: Path, clean: Clean, report: Report) -> Iterator[Document]:
        """The documents of one file, streamed, every text of the user's sent through ``clean``."""

    def identity(self, files: list[Path]) -> list[str]:
        """What of the files decides the corpus: their content, not their names, so that a moved corpus is the same."""
        return [digest(file) for file in files]

    @property
    def balances(self) -> bool:
        """Whether documents have groups to be balanced."""
        return False

    def problems(self) -> Iterator[str]:
        if 0 < self.chunk < 16:
            yield f"@.chunk must be 0 (documents stay whole) or at least 16 characters, but is {self.chunk}."

    def check(self) -> None:
        check_files(self.path)
        self.augment.check()
        Cleaner(self.clean), Duplicates(self.clean)  # each says so if it needs a package that is not there

    def build(self) -> Corpus:
        return self.corpus_of(find_files(self.path))

    def corpus_of(self, files: list[Path]) -> Corpus:
        """The corpus that some of the files are."""
        return Corpus(
            documents=lambda report: self._documents(files, report),
            split=self.split,
            val_ratio=self.val_ratio,
            fingerprint=self.fingerprint(self.identity(files)),
            end_of_text=self.end_of_text,
            size=sum(file.stat().st_size for file in files),
            repeats=functools.partial(shares.balanced, limit=self.max_repeats) if self.balances else None,
            copies=self.augment.copies,
            vary=functools.partial(vary, self.augment, self.augment.table()),
            packing=self.packing,
            isolate=self.isolate,
            loss=self.loss,
        )

    def fingerprint(self, identity: list[str]) -> str:
        """What tells a corpus from others: what is known of its files, and all options and code that decide about it."""
        options = self.model_dump(exclude={"path", "packing", "isolate", "loss"})
        return fingerprint_of(
            "source",
            type(self).__qualname__,
            source_of(type(self)),
            self._libraries(),
            identity,
            sorted(options.items()),
            self.augment.table(),
        )

    def _libraries(self) -> list[str]:
        """The versions of the packages that decide what is kept and how it is written."""
        used = {"rensa": self.clean.duplicates == "near", "phonenumbers": self.clean.telephones == "format"}
        return [f"{name} {metadata.version(name)}" for name, is_used in used.items() if is_used]

    def _documents(self, files: list[Path], report: Report) -> Iterator[Document]:
        """Read, clean, leave out duplicates, cut into chunks; everything counted in ``report``."""
        cleaner, duplicates, changed = Cleaner(self.clean), Duplicates(self.clean), set[str]()

        def clean(text: str) -> str:
            cleaned, names = cleaner.clean(text)
            changed.update(names)
            return cleaned

        for file in files:
            for document in self.read(file, clean, report):
                report.read += 1
                report.change(*sorted(changed))
                changed.clear()
                text = plain_text(document.parts)
                if not text.strip():
                    report.drop("empty", document.where, text)
                elif reason := duplicates.seen(text):
                    report.drop(reason, document.where, text)
                else:
                    report.kept += 1
                    yield from self._chunked(document, text)

    def _chunked(self, document: Document, text: str) -> Iterator[Document]:
        """A plain document in pieces that stay on one side of the split; one with tags stays whole."""
        if not self.chunk or len(text) <= self.chunk or len(document.parts) > 1:
            yield document
            return
        for piece in chunks(text, self.chunk):
            yield replace(document, parts=(piece,), key=document.key or text)
