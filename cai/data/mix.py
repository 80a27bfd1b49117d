"""Several sources in one corpus, by weight."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from cai.data import shares
from cai.data.base import DataConfig, Document, fingerprint_of, source_of
from cai.data.corpus import Corpus
from cai.data.prepared import PreparedConfig
from cai.data.report import Report
from cai.errors import ConfigError, DataError


class MixConfig(DataConfig):
    """Named sources. Each divides itself into train and validation; weights are shares of the training characters."""

    sources: Mapping[str, DataConfig]
    weights: Mapping[str, Annotated[float, Field(gt=0)]]
    max_repeats: Annotated[float, Field(ge=1)]

    def problems(self) -> Iterator[str]:
        if not self.sources:
            yield (
                "@.sources must name at least one source, but is empty."
                " Try: +data@data.sources.mine=text data.sources.mine.path=my.txt data.weights.mine=1"
            )
        for name in sorted(set(self.sources) ^ set(self.weights)):
            if name in self.sources:
                yield f"@.weights must have an entry for each source, but lacks {name}. Add @.weights.{name}=1."
            else:
                there = ", ".join(self.sources)
                yield f"@.weights must name sources ({there}), but has {name}. Leave @.weights.{name} out."
        for name in (name for name, source in self.sources.items() if isinstance(source, PreparedConfig)):
            yield f"@.sources must be text, but {name} is prepared. Mix the texts: cai prepare data=mix prepare.out=..."
        ends = {getattr(source, "end_of_text", True) for source in self.sources.values()}
        if len(ends) > 1:
            yield "@.sources must have one @.sources.*.end_of_text, but have both. Set all to true."

    @property
    def asks(self) -> bool:
        return any(source.asks for source in self.sources.values())

    @property
    def example(self) -> str:
        return next((source.example for source in self.sources.values() if source.asks), 'prompt=""')

    def check(self) -> None:
        problems = []
        for name, source in self.sources.items():
            try:
                source.check()
            except (ConfigError, DataError) as error:
                options = "|".join(type(source).model_fields)
                problems.append(re.sub(rf"(?<![\w/.])data\.(?={options})", f"data.sources.{name}.", str(error)))
        if problems:
            raise ConfigError(problems)

    def build(self) -> Corpus:
        corpora = {name: source.build() for name, source in self.sources.items()}
        sizes = [corpus.size for corpus in corpora.values()]

        def documents(report: Report) -> Iterator[Document]:
            for name, corpus in corpora.items():
                for document, side in corpus.divide(report):
                    yield replace(document, side=side, group=name)

        prints = [(name, corpus.fingerprint, self.weights[name]) for name, corpus in corpora.items()]
        return Corpus(
            documents=documents,
            split="hash",
            val_ratio=0.0,  # every document has its side already
            fingerprint=fingerprint_of("mix", source_of(MixConfig), prints, self.max_repeats),
            note=" ".join(dict.fromkeys(corpus.note for corpus in corpora.values() if corpus.note)),
            end_of_text=all(corpus.end_of_text for corpus in corpora.values()),
            size=None if None in sizes else sum(size or 0 for size in sizes),
            repeats=functools.partial(shares.mixed, weights=self.weights, limit=self.max_repeats),
            packing=self.packing,
            isolate=self.isolate,
            loss=self.loss,
        )
