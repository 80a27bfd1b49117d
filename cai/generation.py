"""Generation: from prompts to texts, in batches or streamed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from torch import nn

from cai.config.base import Config
from cai.decoding.chooser import Chooser
from cai.decoding.reader import reader_of
from cai.decoding.row import End, Piece, Row
from cai.decoding.writing import Limits, Writer
from cai.markup import ANSWER_END, Part

if TYPE_CHECKING:
    from cai.tokenizer.base import Tokenizer

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class GenerationConfig(Config):
    """How the next token is chosen, and when a text ends."""

    repetition_penalty: Annotated[float, Field(gt=0)]
    frequency_penalty: float
    presence_penalty: float
    no_repeat_ngram: Count
    temperature: Annotated[float, Field(ge=0)]
    top_k: Count
    top_p: Annotated[float, Field(gt=0, le=1)]
    min_p: Share
    max_new_tokens: Annotated[int, Field(gt=0)]
    stop: tuple[str, ...]
    lookup_tokens: Count
    show: Annotated[str, Field(pattern=r"^top[1-9]\d?$")] | None

    def problems(self) -> Iterator[str]:
        if "" in self.stop:
            yield "@.stop must be a list of texts to stop at, but one is empty. Take it out, or @.stop=[]"

    @property
    def alternatives(self) -> int:
        """How many likeliest tokens are to be shown at each place."""
        return int(re.sub(r"\D", "", self.show)) if self.show else 0

    def build(self, model: nn.Module, tokenizer: Tokenizer) -> Generator:
        return Generator(self, model, tokenizer)


@dataclass(frozen=True)
class Completion:
    """A text that was written on from a prompt, and why it ended."""

    prompt: int
    """The number of the prompt among those given, from 0."""
    sample: int
    """The number of the text among those of its prompt, from 0."""
    text: str
    ids: tuple[int, ...]
    end: End


class Generator:
    """Writes on from prompts until the answer or the document ends. No random state is read or changed."""

    def __init__(self, config: GenerationConfig, model: nn.Module, tokenizer: Tokenizer) -> None:
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.limits = Limits(
            stop_ids=frozenset({tokenizer.eos_id, tokenizer.tag_ids[ANSWER_END]}),
            stop=config.stop,
            max_new_tokens=config.max_new_tokens,
            lookup_tokens=config.lookup_tokens,
            alternatives=min(config.alternatives, tokenizer.vocab_size),
        )

    def text(self, prompt: Sequence[Part], seed: int) -> str:
        """What follows ``prompt``. An empty one begins a new document."""
        return "".join(self.stream(prompt, seed))

    def stream(self, prompt: Sequence[Part], seed: int) -> Iterator[str]:
        """``text`` in pieces of whole characters, each as soon as it is there."""
        return (piece.text for _, piece in self.pieces(prompt, seed) if piece.text)

    def pieces(self, prompt: Sequence[Part], seed: int) -> Iterator[tuple[Row, Piece]]:
        """``text`` token by token; the row has its ``end`` with the last. A piece may be empty: half a character."""
        return self._writer(seed, 1).write(self._rows([prompt], 1))

    def complete(
        self, prompts: Iterable[Sequence[Part]], seed: int, *, samples: int = 1, batch_size: int = 32, first: int = 0
    ) -> Iterator[Completion]:
        """``samples`` texts for each prompt, ``batch_size`` at a time, in the order in which they end.

        ``seed``, the number of the prompt and that of the sample decide a text; the batch does not. ``first``: the number
        of the first prompt, where some before it are written already.
        """
        shown: dict[Row, list[str]] = {}
        for row, piece in self._writer(seed, batch_size).write(self._rows(prompts, samples, first)):
            shown.setdefault(row, []).append(piece.text)
            if row.end:
                prompt, sample = row.key
                yield Completion(prompt, sample, "".join(shown.pop(row)), tuple(row.written), row.end)

    def _rows(self, prompts: Iterable[Sequence[Part]], samples: int, first: int = 0) -> Iterator[Row]:
        block_size: int = self.model.block_size  # type: ignore[assignment]
        for number, prompt in enumerate(prompts, first):
            ids = self.tokenizer.encode_parts(prompt) or [self.tokenizer.eos_id]
            yield from (Row((number, sample), ids, block_size) for sample in range(samples))

    def _writer(self, seed: int, batch_size: int) -> Writer:
        limits = replace(self.limits, batch_size=batch_size)
        return Writer(reader_of(self.model), Chooser(self.config, seed), limits, self.tokenizer.token_bytes)
