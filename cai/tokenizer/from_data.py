"""The tokenizer that a prepared corpus brings along."""

from __future__ import annotations

from collections.abc import Iterable

from cai.errors import ConfigError
from cai.tokenizer.base import Tokenizer, TokenizerConfig


class FromDataConfig(TokenizerConfig):
    """Nothing is learned: the ids are there already, and their tokenizer with them."""

    def build(self, texts: Iterable[str]) -> Tokenizer:
        """Raises ``ConfigError``: text has no tokenizer of its own."""
        raise ConfigError(NEEDS_PREPARED)


NEEDS_PREPARED = (
    "`tokenizer` must learn from the text of this data, but is from_data, which takes what a prepared corpus brings along."
    " Try data=prepared data.path=..., or tokenizer=bpe."
)
