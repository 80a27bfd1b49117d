"""The tokenizer of a corpus, learned once."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from cai.cache import cached
from cai.data.base import Corpus, fingerprint_of, source_of
from cai.tokenizer.base import Tokenizer, TokenizerConfig

FILE = "tokenizer.json"


def learn_tokenizer(config: TokenizerConfig, corpus: Corpus, cache: Path) -> Tokenizer:
    """The tokenizer that ``config`` learns from the train documents of ``corpus``, from the cache or learned now."""
    code = (type(config).__qualname__, source_of(type(config), Tokenizer), metadata.version("tokenizers"))
    fingerprint = fingerprint_of("tokenizer", code, corpus.fingerprint, *config.model_dump().items())

    def build(folder: Path) -> None:
        config.build(corpus.texts("train")).save(folder / FILE)

    return Tokenizer.load(cached(cache / "tokenizers" / fingerprint, build) / FILE)
