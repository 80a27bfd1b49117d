"""Token shards: a corpus as two flat files of ids and a page about them."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cai.cache import cached
from cai.data.base import Corpus, Document, Split, fingerprint_of
from cai.errors import DataError
from cai.files import told, write_whole
from cai.markup import plain_text
from cai.tokenizer.base import Tokenizer

FORMAT = 2
"""Raise when the bytes of a shard change their meaning: caches of another format are then never read."""

BATCH_DOCUMENTS = 1024
"""Documents encoded at once: enough to keep all cores busy, little enough to bound memory."""


@dataclass(frozen=True)
class SplitStats:
    """What one side of the split holds."""

    documents: int
    bytes: int
    """UTF-8 bytes of the documents' text, NFC, tags spelled out."""
    tokens: int
    """Ids in the shard: the documents' and, unless the data says otherwise, one end-of-text after each."""
    unknown: int
    """Ids of ``<unk>`` (only ``char`` has any)."""


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

    def path(self, split: Split) -> Path:
        return self.folder / f"{split}.bin"


def build_shards(corpus: Corpus, tokenizer: Tokenizer, cache: Path) -> Shards:
    """The shards of ``corpus`` under ``tokenizer``, from the cache or made now.

    Raises ``DataError`` if one side of the split is empty.
    """
    fingerprint = fingerprint_of("shards", FORMAT, corpus.fingerprint, tokenizer.fingerprint)

    def build(folder: Path) -> None:
        dtype = np.dtype(np.uint16) if tokenizer.vocab_size <= 2**16 else np.dtype(np.uint32)
        stats: dict[Split, SplitStats] = {
            "train": _write_split(corpus, "train", tokenizer, dtype, folder),
            "val": _write_split(corpus, "val", tokenizer, dtype, folder),
        }
        meta = {"format": FORMAT, "fingerprint": fingerprint, "dtype": dtype.name, "vocab_size": tokenizer.vocab_size}
        meta["content"] = _content(folder)
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
    )


def _content(folder: Path) -> str:
    digest = hashlib.sha256()
    for split in ("train", "val"):
        with (folder / f"{split}.bin").open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _write_split(
    corpus: Corpus, split: Split, tokenizer: Tokenizer, dtype: np.dtype[np.uint16] | np.dtype[np.uint32], folder: Path
) -> SplitStats:
    documents = tokens = size = unknown = 0
    with told(folder / f"{split}.bin"), (folder / f"{split}.bin").open("wb") as file:
        stream = corpus.select(split)
        while batch := list(itertools.islice(stream, BATCH_DOCUMENTS)):
            ids = _encode(batch, tokenizer, end_of_text=corpus.end_of_text)
            file.write(ids.astype(dtype).tobytes())
            documents += len(batch)
            tokens += len(ids)
            size += sum(len(plain_text(document.parts).encode()) for document in batch)
            if tokenizer.unknown_id is not None:
                unknown += int((ids == tokenizer.unknown_id).sum())
    if not documents:
        raise DataError(
            f"data must give at least one {'training' if split == 'train' else 'validation'} document, but with"
            f" data.split={corpus.split} and data.val_ratio={corpus.val_ratio} it gives none. Use more text,"
            " data.split=tail, another data.val_ratio, or for plain text a finer data.separator (blank_line, line)."
        )
    return SplitStats(documents=documents, bytes=size, tokens=tokens, unknown=unknown)


def _encode(
    documents: list[Document], tokenizer: Tokenizer, *, end_of_text: bool
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The ids of all ``documents`` in one row, an end-of-text id after each if asked for."""
    encoded = tokenizer.encode_batch([document.parts for document in documents])
    eos = [tokenizer.eos_id] * end_of_text
    return np.fromiter(itertools.chain.from_iterable(ids + eos for ids in encoded), dtype=np.int64)
