"""The tokenizer of a corpus, learned once."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from cai.cache import cached
from cai.data.base import fingerprint_of, source_of
from cai.data.corpus import Corpus
from cai.errors import ConfigError
from cai.markup import Tag
from cai.tokenizer.base import Tokenizer, TokenizerConfig
from cai.tokenizer.from_data import FromDataConfig
from cai.tokenizer.pretrained import PretrainedConfig
from cai.tokens.sample import Sketch, sample_texts

FILE = "tokenizer.json"


def learn_tokenizer(config: TokenizerConfig, corpus: Corpus, cache: Path) -> Tokenizer:
    """The tokenizer that ``config`` learns from the train documents of ``corpus``, from the cache or learned now.

    Of a prepared corpus: its own. Raises ``ConfigError`` if ``config`` asks for another.
    """
    if corpus.prepared is not None and not isinstance(config, PretrainedConfig):  # that of a model, compared later
        if not isinstance(config, FromDataConfig):
            raise ConfigError("`tokenizer` must be the prepared corpus's own, but is another. Try tokenizer=from_data.")
        return corpus.prepared.tokenizer
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
