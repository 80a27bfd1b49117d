"""A corpus that `cai prepare prepare.out=...` has left in a folder or behind a URL, ready to be trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from cai.data.base import DataConfig, Document
from cai.data.corpus import Corpus
from cai.data.report import Report
from cai.store import is_remote
from cai.tokens.prepared import Prepared


class PreparedConfig(DataConfig):
    """Token ids with their manifest: no text is read, and the tokenizer is theirs."""

    path: Annotated[str, Field(min_length=1)]
    cache_gb: Annotated[float, Field(ge=0)] | None

    def check(self) -> None:
        Prepared(self.path, self.cache_gb)

    def build(self) -> Corpus:
        prepared = Prepared(self.path, self.cache_gb)

        def documents(report: Report) -> Iterator[Document]:
            for document in prepared.documents():
                report.read += 1
                report.kept += 1
                yield document

        limit = "" if self.cache_gb is None else f", up to {self.cache_gb:g} GB of it"
        copied = f"The corpus is copied from {prepared.store.name}{limit}." * is_remote(self.path)
        return Corpus(
            documents=documents,
            split="hash",
            val_ratio=0.0,  # every document has its side already
            fingerprint=prepared.manifest.fingerprint,
            note=" ".join(filter(None, [prepared.manifest.note, copied])),
            end_of_text=prepared.manifest.end_of_text,
            packing=self.packing,
            isolate=self.isolate,
            loss=self.loss,
            prepared=prepared,
        )
