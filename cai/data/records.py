"""Records with named fields, each made a document by a template."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cai.data.base import Document
from cai.data.report import Report
from cai.data.source import Clean, SourceConfig
from cai.data.template import Template, as_text, value_at
from cai.markup import Part, parse_tags
from cai.spelling import did_you_mean

Record = Mapping[str, Any]

SHOWN = 12
"""Names of fields that a message lists."""


class RecordError(Exception):
    """A record that gives no document. ``reason`` is what it is counted under."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class RecordReader(SourceConfig):
    """Base of all data whose files hold records: JSON objects, rows of a table."""

    split_by: str | None
    balance_by: str | None

    @abstractmethod
    def records(self, file: Path, report: Report) -> Iterator[tuple[str, Record]]:
        """Each record with its place for people; what is broken is refused or left out as ``on_error`` says."""

    @abstractmethod
    def render(self, record: Record, where: str, clean: Clean) -> Iterator[tuple[Part, ...]]:
        """The documents of a record. Raises ``RecordError``."""

    @property
    def balances(self) -> bool:
        return self.balance_by is not None

    def read(self, file: Path, clean: Clean, report: Report) -> Iterator[Document]:
        for where, record in self.records(file, report):
            try:
                key = text_of(record, self.split_by, where) if self.split_by else None
                group = text_of(record, self.balance_by, where) if self.balance_by else None
                rendered = list(self.render(record, where, clean))
            except RecordError as error:
                report.refuse(self.on_error, str(error), error.reason, where, str(record))
                continue
            yield from (Document(parts, key=key, group=group, where=where) for parts in rendered)


class RecordsConfig(RecordReader):
    """Records of any kind, rendered through ``template``."""

    template: str

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        try:
            Template(self.template)
        except ValueError as error:
            yield f"@.template {error}. Try '@.template=\"{{title}} {{body}}\"' with the fields of your records."

    @property
    def asks(self) -> bool:
        return Template(self.template).asks()

    def render(self, record: Record, where: str, clean: Clean) -> Iterator[tuple[Part, ...]]:
        parts = Template(self.template).fill(lambda field: clean(text_of(record, field, where)))
        yield tuple(piece for part in parts for piece in parse_tags(part)) if self.parse_tags else parts


def text_of(record: Record, field: str, where: str) -> str:
    """The text of a field. Raises ``RecordError`` if there is none, or half of a surrogate pair, which JSON can spell."""
    value = value_at(record, field)
    text = as_text(value)
    if text is None:
        raise RecordError(f"{where} must have text in the field {field}, but {_fact(record, field, value)}", f"no {field}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        fact = f"the field {field} holds half of a surrogate pair at character {error.start}"
        raise RecordError(f"{where} must be Unicode text, but {fact}. Mend the file.", "broken Unicode") from None
    return text


def _fact(record: Record, field: str, value: object) -> str:
    if value is not None:
        return f"it is {type(value).__name__}."
    names = list(record)
    close = did_you_mean(field, names)
    shown = ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
    return f"there is none (the record has {shown})." + (f" Did you mean {close[0]}?" if close else "")
