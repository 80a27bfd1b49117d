"""Token shards: a corpus as flat files of ids, an index of its documents, and a page about them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
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
from cai.tokens.idfiles import IdFiles, LocalFile, Piece, Readable, fetch
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
    files: Mapping[Split, IdFiles] | None = field(default=None, compare=False)
    """Where the ids of each side are, if they are not in ``folder`` as ``build_shards`` writes them."""
    dropped: str | None = None
    """Where it is listed what was left out, if that is not in ``folder``."""
    mend: str = "Remove its folder, if it is there, and {again}: the shards are then made anew."
    """What helps if a file is not what it was."""

    def gate_of(self, config: TokenizerConfig) -> TokenizerReport:
        """``gate``, as for a tokenizer that ``config`` asked for."""
        assert self.gate is not None
        asked = getattr(config, "vocab_size", None)
        return replace(self.gate, asked=asked, bytewise=self.gate.bytewise and asked is None)

    def stats(self, split: Split) -> SplitStats:
        return self.train if split == "train" else self.val

    @cached_property
    def _files(self) -> Mapping[Split, IdFiles]:
        return self.files or {split: _files_of(self.folder, split, self.stats(split).tokens) for split in SPLITS}

    def place(self, split: Split) -> str:
        """The first file of ids, for people."""
        return self._files[split][0].place

    def remedy(self, again: str) -> str:
        """What helps if a file is not what it was; ``again``: to read it again, in words."""
        return self.mend.replace("{again}", again)

    def read(self, split: Split, start: int, count: int) -> NDArray[Any]:
        """``count`` ids from ``start`` on. Raises ``OSError`` or ``ValueError`` if a file is gone or not what it was."""
        with self.reading(split) as read:
            return read(start, count)

    @contextmanager
    def reading(self, split: Split, ahead: Sequence[Piece] = ()) -> Iterator[Callable[[int, int], NDArray[Any]]]:
        """``read`` for many pieces, each file opened once. Nothing is mapped: memory does not grow with what was read.

        ``ahead``: the pieces, as far as they are known; a store is asked for all of them at once.
        """
        files, opened = self._files[split], dict[int, Readable]()
        fetched = fetch(partial(self.read, split), ahead) if ahead and files.are_remote else {}
        with ExitStack() as stack:

            def read(start: int, count: int) -> NDArray[Any]:
                if (start, count) in fetched:
                    return fetched[start, count]
                ids = np.empty(count, dtype=self.dtype)
                done = 0
                while done < count:
                    number, offset, left = files.find(start + done)
                    if number not in opened:
                        opened[number] = stack.enter_context(files[number].open(ids.itemsize))
                    piece = ids[done : done + left]
                    opened[number].seek(offset * ids.itemsize)
                    if opened[number].readinto(piece.data) != piece.nbytes:
                        raise ValueError("it has become shorter")
                    done += len(piece)
                return ids

            yield read

    def documents(self, split: Split) -> NDArray[np.int64]:
        """Where each document begins and where its answer does (its end, if it has none): ``(documents, 2)``, mapped."""
        path = index_path(self.folder, split)
        return np.memmap(path, dtype="<i8", mode="r", shape=(self.stats(split).documents, 2))


def build_shards(corpus: Corpus, tokenizer: Tokenizer, cache: Path, *, one_side: bool = False) -> Shards:
    """The shards of ``corpus`` under ``tokenizer``, from the cache or made now; or those that it was prepared as.

    A process that is killed meanwhile loses a second's work: the next goes on. Raises ``DataError`` if the tokenizer loses
    text, or, unless ``one_side`` is allowed to be, if one side of the split is empty.
    """
    if corpus.prepared is not None:
        return corpus.prepared.shards(tokenizer, cache)
    fingerprint = fingerprint_of("shards", FORMAT, SHARD_TOKENS, corpus.fingerprint, tokenizer.fingerprint)
    fingerprint = fingerprint_of(fingerprint, "one side") if one_side else fingerprint

    def build(folder: Path) -> None:
        dtype = np.dtype(np.uint16) if tokenizer.vocab_size <= 2**16 else np.dtype(np.uint32)
        gate = replace(inspect_tokenizer(tokenizer, corpus.texts("train")), random_words=corpus.random_words)
        with told(folder):
            stats, report = encode_corpus(corpus, tokenizer, dtype, folder, folder / DROPPED)
        if not one_side:
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


def _files_of(folder: Path, split: Split, tokens: int) -> IdFiles:
    """As ``SplitWriter`` has written them."""
    starts = range(0, tokens, SHARD_TOKENS)
    sizes = (min(SHARD_TOKENS, tokens - start) for start in starts)
    return IdFiles([LocalFile(shard_path(folder, split, number), size) for number, size in enumerate(sizes)])


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
