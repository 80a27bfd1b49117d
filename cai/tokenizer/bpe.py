"""Byte-level byte-pair encoding (arXiv:1508.07909, bytes as in GPT-2), trained on one's own text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from cai.markup import TAGS
from cai.tokenizer.base import Sample, Tokenizer, TokenizerConfig

SMALLEST_VOCABULARY = 256 + len(TAGS)


class BPEConfig(TokenizerConfig):
    """Merges learned on the train documents. Never an unknown token: every byte is in the alphabet.

    ``merge_within="character"``: the bytes of a character are all that is merged, so that a word is spelled the same
    wherever it stands, which is what a model copies best.
    """

    vocab_size: Annotated[int, Field(ge=SMALLEST_VOCABULARY)]
    merge_within: Literal["word", "character"]
    digits: Annotated[int, Field(ge=1, le=3)]
    sample_mb: Annotated[float, Field(ge=0.1)] | None
    sample_seed: Annotated[int, Field(ge=0, lt=2**63)]

    def sample(self) -> Sample | None:
        """Merges are decided by the pairs that are frequent, which a sample has too: memory is bounded for any corpus."""
        return None if self.sample_mb is None else Sample(round(self.sample_mb * 1e6), self.sample_seed)

    def build(self, texts: Iterable[str]) -> Tokenizer:
        """The vocabulary may come out smaller than asked where the text has no more pairs to merge."""
        splits = [pre_tokenizers.Split(Regex(rf"\p{{N}}{{1,{self.digits}}}"), "isolated")]
        if self.merge_within == "character":
            splits.append(pre_tokenizers.Split(Regex(r"\P{N}"), "isolated"))
        backend = byte_level_backend(*splits)
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            special_tokens=list(TAGS),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        return Tokenizer(backend)


def byte_level_backend(*first: pre_tokenizers.PreTokenizer) -> Backend:
    """An untrained byte-level backend: NFC, the given splits, GPT-2's own split, bytes."""
    backend = Backend(models.BPE())
    # NFC, not NFKC (which rewrites ㅋ, ①, full-width forms) and not NFD (six to nine times the tokens).
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence([*first, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.decoder = decoders.ByteLevel()
    return backend
