"""One token for each character that occurs in the train documents, as nanoGPT's character recipes have it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from cai.markup import TAGS
from cai.tokenizer.base import UNKNOWN, Tokenizer, TokenizerConfig


class CharConfig(TokenizerConfig):
    """The alphabet of the train documents; anything else becomes ``<unk>``, which is counted and reported."""

    def build(self, texts: Iterable[str]) -> Tokenizer:
        alphabet: set[str] = set()
        for text in texts:
            alphabet.update(unicodedata.normalize("NFC", text))
        special = [*TAGS, UNKNOWN]
        vocabulary = {token: number for number, token in enumerate([*special, *sorted(alphabet)])}
        backend = Backend(models.WordLevel(vocabulary, unk_token=str(UNKNOWN)))
        backend.normalizer = normalizers.NFC()
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        backend.decoder = decoders.Fuse()
        backend.add_special_tokens([AddedToken(token, special=True) for token in special])
        return Tokenizer(backend)
