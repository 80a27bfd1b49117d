"""The embedded corpus: a deterministic world of fictional organisations in the founding format."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cai.data.base import Corpus, DataConfig, Document, fingerprint_of, source_of
from cai.data.contacts.examples import Example, make_examples
from cai.data.contacts.organisations import make_organisation
from cai.data.contacts.tables import NOTICE, TRAINING_TABLES
from cai.markup import document_parts


class ContactsConfig(DataConfig):
    """Which world, and how much of it."""

    asks = True
    example = (
        'question="가온솔병원 전화번호 알려 주세요." doc="가온솔병원 안내. 전화 051-234-5678, 주소 부산광역시 수영구 12"'
    )

    samples: Annotated[int, Field(gt=0)]
    questions: Annotated[int, Field(gt=0)]
    seed: int

    def check(self) -> None:
        """Nothing can be missing: the corpus is part of the program."""

    def build(self) -> Corpus:
        return Corpus(
            documents=lambda: (
                Document(document_parts(e.question, e.document, e.answer), key=e.organisation) for e in self.examples()
            ),
            split=self.split,
            val_ratio=self.val_ratio,
            fingerprint=fingerprint_of("contacts", source_of(Corpus), _source_fingerprint(), *self.model_dump().items()),
            note=NOTICE,
        )

    def examples(self) -> Iterator[Example]:
        """All examples, organisation by organisation."""
        organisations = -(-self.samples // self.questions)
        stream = itertools.chain.from_iterable(
            make_examples(make_organisation(i, self.seed, TRAINING_TABLES), self.questions, self.seed, TRAINING_TABLES)
            for i in range(organisations)
        )
        return itertools.islice(stream, self.samples)


def _source_fingerprint() -> str:
    """Changes with any line of the generator, so that a cache of an older one is never taken for today's."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
