"""One token for each UTF-8 byte: no training, no unknown text, three tokens for a Hangul syllable."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import pre_tokenizers, trainers

from cai.markup import TAGS
from cai.tokenizer.base import Tokenizer, TokenizerConfig
from cai.tokenizer.bpe import byte_level_backend


class ByteConfig(TokenizerConfig):
    """The 256 bytes and the special tokens."""

    def build(self, texts: Iterable[str]) -> Tokenizer:
        """The same tokenizer for every corpus; ``texts`` is not read."""
        backend = byte_level_backend()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=len(TAGS) + len(alphabet),
            special_tokens=list(TAGS),
            initial_alphabet=alphabet,
            show_progress=False,
        )
        backend.train_from_iterator([], trainer)
        return Tokenizer(backend)
