"""One's own text: a file, a folder or a glob, divided into documents by a separator."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from cai.data.base import Document
from cai.data.lines import read_lines
from cai.data.report import Report
from cai.data.source import Clean, SourceConfig
from cai.markup import parse_tags

Lines = Iterator[tuple[int, str]]


class TextConfig(SourceConfig):
    """Plain text. A byte order mark is dropped, CRLF becomes LF; nothing else is lost but what separates documents."""

    separator: Literal["blank_line", "line", "file", "marker"]
    marker: str | None
    split_by: Literal["document", "file"]

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.separator == "marker" and not (self.marker and "\n" not in self.marker):
            yield (
                f"@.marker must be text within a line for @.separator=marker, but is {self.marker!r}."
                " Try '@.marker=\"<|endoftext|>\"'."
            )
        elif self.separator != "marker" and self.marker is not None:
            yield f"@.marker must be null unless @.separator is marker, but is {self.marker!r}. Add @.separator=marker."

    def read(self, file: Path, clean: Clean, report: Report) -> Iterator[Document]:
        lines = read_lines(file, self.encoding, self.on_error, report)
        key = file.name if self.split_by == "file" else None
        for number, text in self._texts(lines):
            if text.strip():  # white space between separators is no document
                cleaned = clean(text)
                parts = parse_tags(cleaned) if self.parse_tags else (cleaned,)
                yield Document(parts, key=key, where=f"{file}, line {number}")

    def identity(self, files: list[Path]) -> list[str]:
        return [*super().identity(files), *(file.name for file in files if self.split_by == "file")]

    def _texts(self, lines: Lines) -> Lines:
        """Each document's first line number and its text."""
        if self.separator == "line":
            yield from ((number, line.removesuffix("\n")) for number, line in lines)
        elif self.separator == "file":
            yield 1, "".join(line for _, line in lines)
        elif self.separator == "marker":
            yield from _between(lines, self.marker or "")
        else:
            for filled, group in itertools.groupby(lines, key=lambda line: bool(line[1].strip())):
                if filled:
                    number, first = next(group)
                    yield number, (first + "".join(line for _, line in group)).removesuffix("\n")


def _between(lines: Lines, marker: str) -> Lines:
    """What lies between the markers; a line end on either side of one belongs to it."""
    start, held, number = 1, list[str](), 0
    for number, line in lines:
        *ended, rest = line.split(marker)
        for text in ended:
            yield start, "".join([*held, text]).removesuffix("\n")
            start, held = number, []
        held += [rest] if not ended or rest != "\n" else []
    if held:
        yield start, "".join(held).removesuffix("\n")
