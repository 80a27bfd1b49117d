"""The tokenizer of a corpus, learned once."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from cai.cache import cached
from cai.data.base import fingerprint_of, source_of
from cai.data.corpus import Corpus
from cai.markup import Tag
from cai.tokenizer.base import Tokenizer, TokenizerConfig
from cai.tokens.sample import Sketch, sample_texts

FILE = "tokenizer.json"


def learn_tokenizer(config: TokenizerConfig, corpus: Corpus, cache: Path) -> Tokenizer:
    """The tokenizer that ``config`` learns from the train documents of ``corpus``, from the cache or learned now."""
    code = (type(config).__qualname__, source_of(type(config), Tokenizer, Sketch), metadata.version("tokenizers"))
    fingerprint = fingerprint_of("tokenizer", code, corpus.fingerprint, config.content(), *config.model_dump().items())

    def build(folder: Path) -> None:
        config.build(texts_for(config, corpus)).save(folder / FILE)

    return Tokenizer.load(cached(cache / "tokenizers" / fingerprint, build) / FILE)


def texts_for(config: TokenizerConfig, corpus: Corpus) -> Iterator[str]:
    """The train text that ``config`` learns from: all of it, or the bounded sample it asks for."""
    if (sample := config.sample()) is None:
        return corpus.texts("train")
    ordinary = (tuple(part for part in document.parts if not isinstance(part, Tag)) for document in corpus.select("train"))
    return sample_texts(ordinary, sample.bytes, sample.seed)
