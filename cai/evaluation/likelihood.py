"""How well a model predicts the whole validation text: one deterministic pass that touches no randomness."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cai.device import Device
from cai.errors import ConfigError, RunError
from cai.evaluation.scores import Row
from cai.tokenizer.base import Tokenizer
from cai.tokens.batches import Arrays, TokenDataset
from cai.trainer.memory import LARGER, sequences_in_cache

LOGITS = 2**25
"""Of one pass at most, unless a batch size is asked for: 128 MiB in fp32."""

SEQUENCES = 64
"""Of one pass at most, on an accelerator: enough to keep it busy."""

BLOCK = 2**20
"""Ids that are looked at together when characters are counted."""

Read = Callable[[int, int], NDArray[Any]]
"""``count`` ids of the validation text from ``start`` on."""


@dataclass(frozen=True)
class Likelihood:
    """What a pass found.

    The figures per byte and character are the bits of a mean target, times the tokens of the text that counts, over its
    bytes or characters, as in training's ``val/bits_per_byte``. So tokens that nothing predicts (the first of the text; with
    ``packing="documents"`` the first of each document) are taken to be as hard as the mean. Answers have none of them.
    """

    loss: float
    """Mean over all targets that count, nats."""
    perplexity: float
    """Of a token: e to the loss; not comparable across tokenizers, as what follows is."""
    bits_per_byte: float
    """Per UTF-8 byte of the text that counts."""
    bits_per_character: float
    """Per Unicode character (NFC) of the text that counts."""
    tokens: int
    """Of the text that counts: all of it or the answers, ends of text included."""
    bytes: int
    """Of the same, tags spelled out; an end of text that was put behind a document has none."""
    characters: int
    """Of the same."""

    def figures(self) -> dict[str, float]:
        """By name, as for TensorBoard."""
        names = ("loss", "perplexity", "bits_per_byte", "bits_per_character")
        return {name: getattr(self, name) for name in names}

    def counts(self) -> dict[str, int]:
        """Over how much text."""
        return {"tokens": self.tokens, "bytes": self.bytes, "characters": self.characters}

    def rows(self) -> list[Row]:
        """For a table."""
        return [
            ("loss", f"{self.loss:.4f}", f"over {self.tokens:,} tokens"),
            ("perplexity", f"{self.perplexity:.4g}" if self.perplexity >= 1e4 else f"{self.perplexity:.2f}", "of a token"),
            ("bits per byte", f"{self.bits_per_byte:.4f}", f"over {self.bytes:,} bytes"),
            ("bits per character", f"{self.bits_per_character:.4f}", f"over {self.characters:,} characters"),
        ]


def likelihood(
    model: nn.Module,
    dataset: TokenDataset,
    tokenizer: Tokenizer,
    device: Device,
    *,
    stride: int | None = None,
    batch_size: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Likelihood:
    """How well ``model`` predicts the validation text of ``dataset``, which ``tokenizer`` encoded.

    ``stride=None``: in the rows of training's evaluation. Else in windows of ``block_size`` tokens that move by ``stride``:
    every target is scored once, in the first window that has it, knowing at least ``block_size - stride + 1`` tokens before
    it, or all there are. With ``packing="documents"`` a window stays in one document, whatever ``isolate`` is.

    ``batch_size``: windows of a pass; ``None``: as many as suit the device. ``progress`` is told after each pass how many
    targets it scored. The model is left in evaluation mode. Raises ``ConfigError`` for a stride that is none of the block.
    """
    if stride is not None and not 1 <= stride <= dataset.block_size:
        raise ConfigError(f"`stride` must be from 1 to model.block_size ({dataset.block_size}), but is {stride}.")
    characters = count_characters(dataset, tokenizer)
    size = batch_size or _suitable_size(model, dataset, device)
    batches = dataset.val_batches(size) if stride is None else _sliding_batches(dataset, stride, size)
    loss = _mean_loss(model, batches, dataset.ignore_index, device, progress)
    val, answers = dataset.shards.val, dataset.loss == "answer"
    tokens, size_in_bytes = (val.answer_tokens, val.answer_bytes) if answers else (val.tokens, val.bytes)
    bits = loss / math.log(2) * tokens
    return Likelihood(loss, _exp(loss), bits / size_in_bytes, bits / characters, tokens, size_in_bytes, characters)


def count_characters(dataset: TokenDataset, tokenizer: Tokenizer) -> int:
    """Unicode characters of the validation text that counts, on the same terms as its UTF-8 bytes.

    A character is counted with its first byte, so it does not matter how tokens cut it.
    """
    shards, of_id = dataset.shards, _characters_of_ids(tokenizer)
    tokens, turns = shards.val.tokens, np.asarray(shards.documents("val")).reshape(-1)
    ends = np.unique(np.append(turns[2::2], tokens))
    last = ends[ends > 0] - 1  # of each document that has any
    total, behind, are_ends = 0, 0, True
    with _reading(dataset) as read:
        for start in range(0, tokens, BLOCK):
            ids = read(start, min(BLOCK, tokens - start))
            counted = of_id[ids]
            if dataset.loss == "answer":
                counted *= _in_answers(turns, start, len(ids))
            here = last[slice(*np.searchsorted(last, (start, start + len(ids))))] - start
            total += int(counted.sum())
            behind += int(counted[here].sum())
            are_ends = are_ends and bool((ids[here] == tokenizer.eos_id).all())
    # The same id may also stand in the text, spelled as a tag. One behind every document is none that the text has.
    return total - behind if are_ends else total


def _characters_of_ids(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """How many characters begin in the bytes of each id."""
    table = [sum((byte & 0xC0) != 0x80 for byte in raw) for raw in tokenizer.token_bytes]
    if tokenizer.unknown_id is not None:
        table[tokenizer.unknown_id] = 1  # stands for one, however it is spelled
    return np.array(table, dtype=np.int64)


@torch.no_grad()
def _mean_loss(
    model: nn.Module,
    batches: Iterator[Arrays],
    ignore_index: int,
    device: Device,
    progress: Callable[[int], object] | None,
) -> float:
    """Over all targets of ``batches`` that count."""
    model.eval()
    sums, count = [], 0
    for arrays in batches:
        with device.autocast():
            sums.append(model(*(device.put(torch.from_numpy(array)) for array in arrays)))
        scored = int((arrays[1] != ignore_index).sum())
        count += scored
        if progress:
            progress(scored)
    return math.fsum(torch.stack(sums).tolist()) / count  # waits for the device once, here


def _sliding_batches(dataset: TokenDataset, stride: int, batch_size: int) -> Iterator[Arrays]:
    """Inputs and targets ``(B, T)`` of every window in which a target counts, filled up to the longest of the batch."""
    with _reading(dataset) as read:
        rows = _sliding_rows(dataset, stride, read)
        while chosen := list(itertools.islice(rows, batch_size)):
            shape = len(chosen), max(len(x) for x, _ in chosen)
            inputs, targets = np.zeros(shape, dtype=np.int64), np.full(shape, dataset.ignore_index, dtype=np.int64)
            for number, (x, y) in enumerate(chosen):
                inputs[number, : len(x)], targets[number, : len(y)] = x, y
            yield inputs, targets


def _sliding_rows(dataset: TokenDataset, stride: int, read: Read) -> Iterator[Arrays]:
    """Inputs and targets of each window in which a target counts."""
    shards, by_answers = dataset.shards, dataset.loss == "answer"
    by_documents = dataset.packing == "documents"
    # A stream may have no index: it is asked for only where it matters.
    turns = np.asarray(shards.documents("val")).reshape(-1) if by_documents or by_answers else np.zeros(1, dtype=np.int64)
    starts = turns[::2].tolist() if by_documents else [0]
    for first, end in itertools.pairwise([*starts, shards.val.tokens]):
        for start, stop, scored in _windows(first, end, dataset.block_size, stride):
            counts = np.arange(start + 1, stop) >= scored
            if by_answers:
                counts &= _in_answers(turns, start + 1, stop - start - 1)
            if counts.any():
                ids = read(start, stop - start).astype(np.int64)
                yield ids[:-1], np.where(counts, ids[1:], dataset.ignore_index)


def _windows(first: int, end: int, block_size: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Of the text from ``first`` to ``end``: where each window's tokens begin and end, and the first that it scores."""
    start, scored = first, first + 1
    while scored < end:
        stop = min(start + block_size + 1, end)  # its inputs, and the target of the last of them
        yield start, stop, scored
        start, scored = start + stride, stop


def _in_answers(turns: NDArray[np.int64], start: int, count: int) -> NDArray[np.bool_]:
    """Which of ``count`` tokens from ``start`` on are of answers; documents and answers begin at ``turns``, in turns."""
    begun = np.searchsorted(turns, np.arange(start, start + count), side="right")
    return np.equal(begun % 2, 0)


def _suitable_size(model: nn.Module, dataset: TokenDataset, device: Device) -> int:
    """Windows of a pass: of a modest number of logits, and no more than keep the device busy."""
    most = SEQUENCES
    if device.type == "cpu":
        most = LARGER * sequences_in_cache(model, dataset.block_size, device.element_size)
    return max(1, min(most, LOGITS // (dataset.block_size * dataset.shards.vocab_size)))


def _exp(loss: float) -> float:
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


@contextmanager
def _reading(dataset: TokenDataset) -> Iterator[Read]:
    """Raises ``RunError`` if the shard is gone or is not what it was."""
    try:
        with dataset.shards.reading("val") as read:
            yield read
    except (OSError, ValueError) as error:
        path = getattr(error, "filename", None) or dataset.shards.place("val")
        raise RunError(
            f"the token shard {path} must stay as it is while it is read, but cannot be read any more"
            f" ({getattr(error, 'strerror', None) or error}). {dataset.shards.remedy('begin again')}"
        ) from error
