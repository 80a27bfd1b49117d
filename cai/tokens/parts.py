"""A corpus prepared into a store, by one machine or a part by each of many; whoever comes last writes the manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from cai.data.base import DataConfig, Split, fingerprint_of
from cai.data.corpus import Corpus
from cai.errors import ConfigError, DataError
from cai.store import Store
from cai.tokenizer.base import Tokenizer, TokenizerConfig
from cai.tokens.division import Divided, Part, divide
from cai.tokens.learned import learn_tokenizer
from cai.tokens.manifest import NAME, TOKENIZER, Manifest, StoredFile, StoredIndex, StoredSplit, join, read_manifest
from cai.tokens.shards import DROPPED, Shards, build_shards
from cai.tokens.writing import SHARD_TOKENS, SPLITS, index_path, shard_path

PREPARATION: Final = "preparation.json"
"""What a store holds the parts of: the first machine writes it, and whoever comes with something else is refused."""
PAGE: Final = "meta.json"
"""Of a part, written last: where there is one, the part is whole."""


@dataclass(frozen=True)
class Outcome:
    """How far a store is."""

    part: Manifest
    files: tuple[int, int] | None
    """How many source files the part has, and how many there are."""
    was_there: bool
    missing: tuple[int, ...]
    """Numbers of the parts that are not there yet."""
    whole: Manifest | None
    """All parts together, once there are all."""


@dataclass(frozen=True)
class Preparation:
    """What is prepared into a store."""

    fingerprint: str
    parts: int
    data: str
    tokenizer: str
    """What of a tokenizer is asked for."""
    sha256: str
    """Of ``tokenizer.json``."""


def prepare_part(data: DataConfig, config: TokenizerConfig, part: Part, store: Store, cache: Path) -> Outcome:
    """Put a part of a corpus into ``store``; and the manifest, if no part is missing any more.

    What is there is not made again. Raises ``ConfigError`` for what cannot be divided, ``DataError`` if the store holds
    parts of something else.
    """
    divided = divide(data, part)
    preparation, tokenizer = _agree(divided, config, part, store, cache)
    corpus = divided.own()
    made = _page(store, part)
    if was_there := made is not None:
        of = made.preparation, made.tokenizer, made.source
        if of != (preparation.fingerprint, preparation.sha256, corpus.fingerprint):
            raise _mixed(store, "its files are others than those that this part was made of")
    else:
        shards = build_shards(corpus, tokenizer, cache, one_side=part.of > 1)
        made = _put(shards, corpus, part, store, preparation)
        store.write(f"{part.folder}/{PAGE}", made.text().encode())
    missing, whole = _joined(store, preparation)
    return Outcome(made, divided.files, was_there, missing, whole)


def _agree(
    divided: Divided, config: TokenizerConfig, part: Part, store: Store, cache: Path
) -> tuple[Preparation, Tokenizer]:
    """What the store holds the parts of, and the tokenizer of all of them: as it is there, or learned now and put there."""
    asked = fingerprint_of(type(config).__qualname__, config.content(), sorted(config.model_dump().items()))
    fingerprint = fingerprint_of("preparation", divided.outline, asked, part.of, metadata.version("tokenizers"))
    try:
        page = store.read(PREPARATION)
    except FileNotFoundError:
        raw = learn_tokenizer(config, divided.whole(), cache).backend.to_str(pretty=True).encode()
        first = Preparation(fingerprint, part.of, divided.outline, asked, hashlib.sha256(raw).hexdigest())
        store.write(TOKENIZER, raw)
        store.write(PREPARATION, (json.dumps(asdict(first), indent=1) + "\n").encode())
        page = store.read(PREPARATION)  # of whoever was last, if several began at once
    try:
        there = Preparation(**json.loads(page))
    except (ValueError, TypeError) as error:
        raise _mixed(store, f"its {PREPARATION} is not one of CAI's ({error})") from error
    if there.parts != part.of:
        raise ConfigError(
            f"`prepare.shard` must be one of {there.parts} parts, as in {store.name}, but is {part.number}/{part.of}. Try"
            f" prepare.shard={min(part.number, there.parts)}/{there.parts}, or another prepare.out."
        )
    if there.tokenizer != asked:
        raise _mixed(store, "its tokenizer was asked for with other options (tokenizer=... tokenizer.*=...)")
    if there.fingerprint != fingerprint:
        raise _mixed(store, "its files, the options of data, or the version of CAI, of tokenizers or of Python are others")
    return there, tokenizer_of(store, there.sha256)


def tokenizer_of(store: Store, sha256: str) -> Tokenizer:
    """The tokenizer of a prepared corpus. Raises ``DataError`` if it is not the one that the corpus was prepared with."""
    raw = b""
    try:
        raw = store.read(TOKENIZER)
    except FileNotFoundError as error:
        raise _damaged(store, TOKENIZER, "is gone") from error
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise _damaged(store, TOKENIZER, "is another than the one that the corpus was prepared with")
    return Tokenizer.from_text(raw, f"{store.name}/{TOKENIZER}")


def _put(shards: Shards, corpus: Corpus, part: Part, store: Store, preparation: Preparation) -> Manifest:
    """Copy the files of a part into the store. Returns its page."""
    total = (shards.train.tokens + shards.val.tokens) * (2 if shards.dtype == "uint16" else 4)
    with tqdm(total=total, desc="copied", unit="B", unit_scale=True, delay=2, leave=False) as bar:

        def put(file: Path) -> dict[str, Any]:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            store.put(file, f"{part.folder}/{file.name}")
            bar.update(file.stat().st_size)
            return {"path": f"{part.folder}/{file.name}", "sha256": digest}

        sides = {split: _put_side(shards, split, put) for split in SPLITS}
        if (shards.folder / DROPPED).is_file():
            put(shards.folder / DROPPED)
    assert shards.gate is not None
    return Manifest(
        format=1,
        preparation=preparation.fingerprint,
        content=shards.content,
        dtype=shards.dtype,  # type: ignore[arg-type]
        vocab_size=shards.vocab_size,
        tokenizer=preparation.sha256,
        end_of_text=corpus.end_of_text,
        note=corpus.note,
        train=sides["train"],
        val=sides["val"],
        report=dict(shards.report),
        gate=shards.gate,
        source=corpus.fingerprint,
    )


def _put_side(shards: Shards, split: Split, put: Any) -> StoredSplit:
    stats = shards.stats(split)
    files = []
    for start in range(0, stats.tokens, SHARD_TOKENS):
        tokens = min(SHARD_TOKENS, stats.tokens - start)
        files.append(StoredFile(tokens=tokens, **put(shard_path(shards.folder, split, start // SHARD_TOKENS))))
    index = []
    if stats.documents:
        found = put(index_path(shards.folder, split))
        index.append(StoredIndex(documents=stats.documents, tokens=stats.tokens, **found))
    return StoredSplit(stats, tuple(files), tuple(index))


def _joined(store: Store, preparation: Preparation) -> tuple[tuple[int, ...], Manifest | None]:
    """Which parts are missing; if none is, the whole, whose manifest is then written."""
    parts = [Part(number, preparation.parts) for number in range(1, preparation.parts + 1)]
    names = store.names("parts")
    if missing := tuple(part.number for part in parts if f"{part.folder}/{PAGE}" not in names):
        return missing, None
    pages = [page for part in parts if (page := _page(store, part)) is not None]
    for page in pages:
        if (page.preparation, page.tokenizer) != (preparation.fingerprint, preparation.sha256):
            raise _mixed(store, "some of its parts were made of something else")
    whole = join(pages)
    store.write(NAME, whole.text().encode())
    return (), whole


def _page(store: Store, part: Part) -> Manifest | None:
    name = f"{part.folder}/{PAGE}"
    try:
        return read_manifest(store.read(name), f"{store.name}/{name}")
    except FileNotFoundError:
        return None


def _mixed(store: Store, difference: str) -> DataError:
    return DataError(
        f"prepare.out must hold the parts of one corpus alone, but {store.name} holds those of another: {difference}. Give"
        " another prepare.out, or remove that folder and prepare all parts again."
    )


def _damaged(store: Store, name: str, fact: str) -> DataError:
    return DataError(
        f"{store.name} must be as it was prepared, but {name} {fact}. Put back the file as it was, or prepare the corpus"
        " again, into another folder."
    )
