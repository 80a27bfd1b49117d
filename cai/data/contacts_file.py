"""Records of organisations of one's own, rendered as questions that a document answers: the founding format."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cai.config.base import Config
from cai.data.answers import CONTACT_LABELS
from cai.data.contacts import EXAMPLE
from cai.data.contacts.examples import (
    ALL,
    ASKED_WEIGHTS,
    CONTACT_SHARE,
    UNANSWERABLE_SHARE,
    Example,
    render_example,
)
from cai.data.contacts.organisations import seeded_random
from cai.data.contacts.tables import TRAINING_TABLES
from cai.data.csv import read_csv
from cai.data.files import plain_suffix
from cai.data.jsonl import read_jsonl
from cai.data.records import Record, RecordError, RecordReader, text_of
from cai.data.report import Report
from cai.data.source import Clean
from cai.data.template import value_at
from cai.markup import Part, document_parts


class ContactFields(Config):
    """Which field of a record holds what; ``None``: the records have no such field."""

    name: str
    tel: str | None
    address: str | None
    web: str | None
    email: str | None
    hours: str | None
    fax: str | None
    department: str | None
    service: str | None


class ContactsFileConfig(RecordReader):
    """JSONL, or CSV by the file's name; each record gives some questions, most of which its document answers."""

    fields: ContactFields
    questions: Annotated[int, Field(ge=1)]
    seed: int

    @property
    def asks(self) -> bool:
        return True

    @property
    def example(self) -> str:
        return EXAMPLE

    def records(self, file: Path, report: Report) -> Iterator[tuple[str, Record]]:
        if plain_suffix(file) in (".csv", ".tsv"):
            return read_csv(file, self.encoding, self.on_error, "auto", report)
        return read_jsonl(file, self.encoding, self.on_error, report)

    def render(self, record: Record, where: str, clean: Clean) -> Iterator[tuple[Part, ...]]:
        facts = self._facts(record, where, clean)
        name = facts.pop("name", "")
        if not name or not facts.keys() & ASKED_WEIGHTS.keys():
            message = f"{where} must have a name and at least one of {', '.join(ASKED_WEIGHTS)} (data.fields), but has none."
            raise RecordError(message, "record without a name or a contact")
        for number in range(self.questions):
            rng = seeded_random("record", self.seed, name, *facts.values(), number)
            example = make_example(rng, name, facts)
            yield document_parts(example.question, example.document, example.answer)

    def _facts(self, record: Record, where: str, clean: Clean) -> dict[str, str]:
        """What the record knows, by CAI's names of the fields, each in one line."""
        facts = {}
        for field, name in self.fields.model_dump().items():
            if name is None or not value_at(record, name):
                continue
            if text := " ".join(clean(text_of(record, name, where)).split()):
                facts[field] = text
        return facts


def make_example(rng: random.Random, name: str, facts: dict[str, str]) -> Example:
    """One example about an organisation of which ``facts`` are known."""
    known = [field for field in ASKED_WEIGHTS if field in facts]
    lacking = [field for field in ASKED_WEIGHTS if field not in facts and field != ALL]
    contacts = [field for field in CONTACT_LABELS if field in facts]
    answerable = rng.random() >= UNANSWERABLE_SHARE
    if not answerable and len(known) > 1 and (not lacking or rng.random() < 0.5):
        asked = rng.choice(known)  # known, but not in the document
    elif not answerable and lacking:
        asked = rng.choice(lacking)
    else:
        answerable = True
        options = known + [ALL] * (len(contacts) > 1)
        asked = rng.choices(options, [ASKED_WEIGHTS[field] for field in options])[0]
    stated = {field: value for field, value in facts.items() if field != asked and rng.random() < CONTACT_SHARE}
    if asked == ALL:
        stated |= {field: facts[field] for field in contacts}
    elif answerable:
        stated[asked] = facts[asked]
    elif not stated:
        stated = {field: value for field, value in facts.items() if field != asked}
    return render_example(rng, name, asked, stated, TRAINING_TABLES, answerable=answerable)
