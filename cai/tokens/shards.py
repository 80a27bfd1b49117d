"""Token shards: a corpus as flat files of ids, an index of its documents, and a page about them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.cache import cached
from cai.data.base import Split, fingerprint_of
from cai.data.corpus import Corpus
from cai.errors import DataError
from cai.files import told, write_whole
from cai.tokenizer.base import Tokenizer, TokenizerConfig
from cai.tokenizer.report import TokenizerReport, inspect_tokenizer
from cai.tokens.encoding import encode_corpus
from cai.tokens.writing import SHARD_TOKENS, SPLITS, SplitStats, index_path, shard_path

FORMAT = 4
"""Raise when the bytes of a shard change their meaning: caches of another format are then never read."""

DROPPED = "dropped.jsonl"
"""What was left out of the corpus, and why: a line each."""


@dataclass(frozen=True)
class Shards:
    """Where the ids lie and what they are."""

    folder: Path
    fingerprint: str
    content: str
    """A hash of the ids themselves: equal for equal shards, whatever code made them."""
    dtype: str
    vocab_size: int
    train: SplitStats
    val: SplitStats
    report: dict[str, Any] = field(default_factory=dict)
    """What became of the documents read (``cai.data.report``)."""
    gate: TokenizerReport | None = None
    """What the tokenizer makes of the train text; kept, since a look at it may mean reading all of a corpus again."""

    def gate_of(self, config: TokenizerConfig) -> TokenizerReport:
        """``gate``, as for a tokenizer that ``config`` asked for."""
        assert self.gate is not None
        asked = getattr(config, "vocab_size", None)
        return replace(self.gate, asked=asked, bytewise=self.gate.bytewise and asked is None)

    def stats(self, split: Split) -> SplitStats:
        return self.train if split == "train" else self.val

    def path(self, split: Split, position: int = 0) -> Path:
        """The file that holds the id at ``position``."""
        return shard_path(self.folder, split, position // SHARD_TOKENS)

    def read(self, split: Split, start: int, count: int) -> NDArray[Any]:
        """``count`` ids from ``start`` on. Raises ``OSError`` or ``ValueError`` if a file is gone or not what it was."""
        with self.reading(split) as read:
            return read(start, count)

    @contextmanager
    def reading(self, split: Split) -> Iterator[Callable[[int, int], NDArray[Any]]]:
        """``read`` for many pieces, each file opened once. Nothing is mapped: memory does not grow with what was read."""
        with ExitStack() as stack:
            files: dict[int, FileIO] = {}

            def read(start: int, count: int) -> NDArray[Any]:
                ids = np.empty(count, dtype=self.dtype)
                done = 0
                while done < count:
                    number, offset = divmod(start + done, SHARD_TOKENS)
                    if number not in files:
                        files[number] = stack.enter_context(self._open(split, number))
                    piece = ids[done : done + SHARD_TOKENS - offset]
                    files[number].seek(offset * ids.itemsize)
                    if files[number].readinto(piece.data) != piece.nbytes:
                        raise ValueError("it has become shorter")
                    done += len(piece)
                return ids

            yield read

    def _open(self, split: Split, number: int) -> FileIO:
        file = FileIO(shard_path(self.folder, split, number))
        there = os.fstat(file.fileno()).st_size / np.dtype(self.dtype).itemsize
        expected = min(SHARD_TOKENS, self.stats(split).tokens - number * SHARD_TOKENS)
        if there != expected:
            file.close()
            raise ValueError(f"it has {there:g} tokens, not {expected}")
        return file

    def documents(self, split: Split) -> NDArray[np.int64]:
        """Where each document begins and where its answer does (its end, if it has none): ``(documents, 2)``, mapped."""
        path = index_path(self.folder, split)
        return np.memmap(path, dtype="<i8", mode="r", shape=(self.stats(split).documents, 2))


def build_shards(corpus: Corpus, tokenizer: Tokenizer, cache: Path) -> Shards:
    """The shards of ``corpus`` under ``tokenizer``, from the cache or made now.

    A process that is killed meanwhile loses a second's work: the next goes on. Raises ``DataError`` if the tokenizer loses
    text, or one side of the split is empty.
    """
    fingerprint = fingerprint_of("shards", FORMAT, SHARD_TOKENS, corpus.fingerprint, tokenizer.fingerprint)

    def build(folder: Path) -> None:
        dtype = np.dtype(np.uint16) if tokenizer.vocab_size <= 2**16 else np.dtype(np.uint32)
        gate = replace(inspect_tokenizer(tokenizer, corpus.texts("train")), random_words=corpus.random_words)
        with told(folder):
            stats, report = encode_corpus(corpus, tokenizer, dtype, folder, folder / DROPPED)
        _refuse_empty(corpus, stats)
        meta: dict[str, Any] = {
            "format": FORMAT,
            "fingerprint": fingerprint,
            "dtype": dtype.name,
            "vocab_size": tokenizer.vocab_size,
            "content": _content(folder),
            "report": report.to_tree(),
            "gate": asdict(gate),
        }
        meta |= {split: asdict(of_split) for split, of_split in stats.items()}
        write_whole(folder / "meta.json", json.dumps(meta, indent=2) + "\n")

    return load_shards(cached(cache / "tokens" / fingerprint, build))


def load_shards(folder: Path) -> Shards:
    """Read the page about shards made before."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return Shards(
        folder=folder,
        fingerprint=meta["fingerprint"],
        content=meta["content"],
        dtype=meta["dtype"],
        vocab_size=meta["vocab_size"],
        train=SplitStats(**meta["train"]),
        val=SplitStats(**meta["val"]),
        report=meta["report"],
        gate=TokenizerReport(**meta["gate"]),
    )


def _content(folder: Path) -> str:
    digest = hashlib.sha256()
    for split in SPLITS:
        number, whole = 0, hashlib.sha256()
        while (path := shard_path(folder, split, number)).is_file():
            with path.open("rb") as file:
                while chunk := file.read(2**22):
                    whole.update(chunk)
            number += 1
        digest.update(whole.digest())
    return digest.hexdigest()[:16]


def _refuse_empty(corpus: Corpus, stats: dict[Split, SplitStats]) -> None:
    for split in SPLITS:
        if not stats[split].documents:
            raise DataError(
                f"data must give at least one {'training' if split == 'train' else 'validation'} document, but with"
                f" data.split={corpus.split} and data.val_ratio={corpus.val_ratio} it gives none. Use more text,"
                " data.split=tail, another data.val_ratio, or for plain text a finer data.separator (blank_line, line)."
            )
