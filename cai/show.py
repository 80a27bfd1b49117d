"""Texts on their way to the terminal: as they come, token by token with what else there was, or several. (Command layer.)"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace

from cai.decoding.row import End, Piece
from cai.generation import GenerationConfig, Generator
from cai.prompt import Prompt
from cai.symptoms.surprise import surprise
from cai.symptoms.table import Told
from cai.symptoms.texts import FEWEST_TOKENS, Writing, symptoms_of, symptoms_of_model, symptoms_of_prompt
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.display import visible
from cai.trained import TrainedRun

COLUMN = 14
"""Columns for a token, a Hangul syllable taking two."""


def show_text(generator: Generator, prompt: Prompt, seed: int, usual: float | None = None) -> Writing:
    """Print one text as it comes; with ``generation.show`` a line for each token first. ``usual``: as in ``Writing``."""
    texts: list[str] = []
    ids: list[int] = []
    end: End = "length"
    by_token = bool(generator.config.show)
    if not by_token:
        print(prompt.head, end="", flush=True)
    for row, piece in generator.pieces(prompt.parts, seed):
        if by_token and piece.id is not None:
            print(token_line(len(texts) + 1, piece, generator.tokenizer), flush=True)
        elif not by_token:
            print(piece.text, end="", flush=True)
        texts.append(piece.text)
        ids += [] if piece.id is None else [piece.id]
        end = row.end or end
    text = "".join(texts)
    print(f"\n{prompt.head}{text}" if by_token else "")
    return judged(generator, prompt, ids, usual, writing_of(prompt, text, end, generator.config))


def show_samples(
    generator: Generator, prompt: Prompt, seed: int, *, samples: int, batch_size: int, usual: float | None = None
) -> list[Writing]:
    """Print several texts, each under a heading."""
    completions = generator.complete([prompt.parts], seed, samples=samples, batch_size=batch_size)
    writings = []
    for completion in sorted(completions, key=lambda one: one.sample):
        print(f"--- {completion.sample + 1} of {samples}\n{prompt.head}{completion.text}", flush=True)
        writing = writing_of(prompt, completion.text, completion.end, generator.config)
        writings.append(judged(generator, prompt, completion.ids, usual, writing))
    return writings


def token_line(number: int, piece: Piece, tokenizer: Tokenizer) -> str:
    """The chosen token, and what it was chosen from."""
    assert piece.id is not None
    cells = [f"{_padded(_token(tokenizer, other.id), COLUMN)}{other.probability:7.2%}" for other in piece.alternatives]
    return f"{number:>4}  {_padded(_token(tokenizer, piece.id), COLUMN)}|  {'  '.join(cells)}".rstrip()


def _token(tokenizer: Tokenizer, number: int) -> str:
    """On one line, with blanks to be seen."""
    return visible(tokenizer.token_bytes[number]).replace("↵\n", "↵").replace(" ", "␣")


def _padded(text: str, columns: int) -> str:
    width = sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
    return text + " " * max(1, columns - width)


def writing_of(prompt: Prompt, text: str, end: End, options: GenerationConfig) -> Writing:
    """A text with what it is judged by."""
    return Writing(text, end, options, begun=prompt.begun, document=prompt.document)


def judged(generator: Generator, prompt: Prompt, ids: Sequence[int], usual: float | None, writing: Writing) -> Writing:
    """``writing`` with how likely its ``ids`` are to the model, if there are enough, and something to compare with."""
    if usual is None or len(ids) < FEWEST_TOKENS:
        return writing
    context = generator.tokenizer.encode_parts(prompt.parts) or [generator.tokenizer.eos_id]
    return replace(writing, drawn=surprise(generator.model, context, ids), usual=usual)


def usual_loss(trained: TrainedRun, prompt: Prompt) -> float | None:
    """The loss of validation text of the kind that follows ``prompt``; ``None`` if nobody measured it."""
    return None if trained.config.data.loss == "answer" and prompt.begun is None else trained.val_loss


def warn(prompt: Prompt, trained: TrainedRun) -> None:
    """Say before a text is written what will spoil it."""
    length, block_size = len(trained.tokenizer.encode_parts(prompt.parts)), trained.config.model.block_size
    found = symptoms_of_prompt(length, block_size, asks=prompt.asks, learned_to_answer=trained.config.data.asks)
    say("warning", [*found, *symptoms_of_model(trained.val_loss, trained.fact("data", "loss_without_context"))])


def advise(writings: Iterable[Writing]) -> None:
    """Say after a text, or several, what is wrong with it and what helps; each symptom once."""
    found = {told.name: told for writing in writings for told in symptoms_of(writing)}
    say("advice", found.values())


def say(kind: str, found: Iterable[Told]) -> None:
    """Sentences beside the text, not in it."""
    for told in found:
        print(f"{kind}: {told.sentence}", file=sys.stderr)
