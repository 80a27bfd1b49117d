"""The embedded corpus: a deterministic world of fictional organisations in the founding format."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cai.data.base import DividedConfig, Document, fingerprint_of, source_of
from cai.data.cases import Case, case_of_example
from cai.data.contacts.examples import Example, make_examples
from cai.data.contacts.organisations import make_organisation, seeded_random
from cai.data.contacts.tables import NOTICE, TRAINING_TABLES
from cai.data.contacts.unseen.examples import unseen_examples
from cai.data.contacts.wild import wild_tables
from cai.data.corpus import Corpus
from cai.data.report import Report
from cai.markup import document_parts

EXAMPLE = 'question="가온솔병원 전화번호 알려 주세요." doc="가온솔병원 안내. 전화 051-234-5678, 주소 부산광역시 수영구 12"'


class ContactsConfig(DividedConfig):
    """Which world, and how much of it."""

    samples: Annotated[int, Field(gt=0)]
    questions: Annotated[int, Field(gt=0)]
    seed: int
    wild: Annotated[float, Field(ge=0, le=1)]

    @property
    def asks(self) -> bool:
        return True

    @property
    def example(self) -> str:
        return EXAMPLE

    def check(self) -> None:
        """Nothing can be missing: the corpus is part of the program."""

    def build(self) -> Corpus:
        decisive = self.model_dump(exclude={"packing", "isolate", "loss"})
        return Corpus(
            documents=self._documents,
            split=self.split,
            val_ratio=self.val_ratio,
            fingerprint=fingerprint_of("contacts", source_of(Corpus), _source_fingerprint(), *decisive.items()),
            note=NOTICE,
            unseen=_unseen_cases,
            random_words=self.wild > 0,
            packing=self.packing,
            isolate=self.isolate,
            loss=self.loss,
        )

    def _documents(self, report: Report) -> Iterator[Document]:
        for example in self.examples():
            report.read += 1
            report.kept += 1
            yield Document(document_parts(example.question, example.document, example.answer), key=example.organisation)

    def examples(self) -> Iterator[Example]:
        """All examples, organisation by organisation."""
        organisations = -(-self.samples // self.questions)
        return itertools.islice(itertools.chain.from_iterable(map(self._about, range(organisations))), self.samples)

    def _about(self, index: int) -> list[Example]:
        """The examples about one organisation, of the common world or of a wild one."""
        rng = seeded_random("wild", self.seed, index)
        if rng.random() >= self.wild:
            organisation = make_organisation(index, self.seed, TRAINING_TABLES)
            return make_examples(organisation, self.questions, self.seed, TRAINING_TABLES)
        tables, seed = wild_tables(rng), rng.getrandbits(62)
        return make_examples(make_organisation(0, seed, tables), self.questions, seed, tables)


def _unseen_cases(count: int) -> list[Case]:
    return [case_of_example(example) for example in unseen_examples(count)]


def _source_fingerprint() -> str:
    """Changes with any line of the generator, so that a cache of an older one is never taken for today's."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
