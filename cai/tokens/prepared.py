"""A corpus that was prepared before, where it lies: read in place, or through copies on this disk."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from cai.data.base import Document, Split
from cai.errors import DataError
from cai.files import told, whole_file, write_whole
from cai.markup import Part, Tag
from cai.store import LocalStore, RemoteStore, open_store
from cai.tokenizer.base import Tokenizer
from cai.tokens.idfiles import IdFile, IdFiles, LocalFile, RangedFile
from cai.tokens.manifest import NAME, StoredFile, StoredIndex, read_manifest
from cai.tokens.parts import tokenizer_of
from cai.tokens.shards import DROPPED, Shards
from cai.tokens.writing import INDEX_BYTES, SPLITS, index_path

REMOTE: Final = "remote"
"""The folder of a cache that holds copies."""
TOGETHER: Final = 256
"""Documents that are read at once."""
CHUNK: Final = 2**20
"""Documents whose places are read at once."""


class Prepared:
    """What ``cai prepare prepare.out=...`` has left in a folder or behind a URL."""

    def __init__(self, place: str, cache_gb: float | None) -> None:
        """``cache_gb``: of what is not on this machine, how much may be copied to its disk; ``None``: all.

        Raises ``DataError`` if there is no manifest or it cannot be read, ``ConfigError`` if a package is missing.
        """
        self.store = open_store(place, "data.path")
        self._room = None if cache_gb is None else int(cache_gb * 1e9)
        try:
            raw = self.store.read(NAME)
        except FileNotFoundError as error:
            raise DataError(
                f"data.path must name a prepared corpus, but {self.store.name} has no {NAME}. Prepare one there: cai prepare"
                f" data=text data.path=... prepare.out={self.store.name} (of several parts, all: the last writes it)."
            ) from error
        self.manifest = read_manifest(raw, f"{self.store.name}/{NAME}")
        self._opened: Shards | None = None

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What its ids are of. Raises ``DataError`` if it is not there any more."""
        return tokenizer_of(self.store, self.manifest.tokenizer)

    def shards(self, tokenizer: Tokenizer, cache: Path) -> Shards:
        """Its ids: copied to ``cache`` as far as there is room for them, and as far as they are not on this machine anyway.

        Raises ``DataError`` if ``tokenizer`` is not its own, or if a file is not what was prepared.
        """
        if tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise DataError(
                f"data.path must be a corpus of the tokenizer that it is used with ({tokenizer.fingerprint}), but"
                f" {self.store.name} was prepared with another ({self.tokenizer.fingerprint}). Prepare the text with that"
                " one: tokenizer=pretrained tokenizer.path=.../tokenizer.json"
            )
        folder = cache / REMOTE / self.manifest.fingerprint
        files = {split: self._files(folder, split) for split in SPLITS}
        missing = [file for file in self._copied() if not (folder / file.path).is_file()]
        if missing or not (folder / NAME).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_name(f".{folder.name}.lock")):  # all jobs of a sweep share the copies
                self._copy(folder)
                for split in SPLITS:
                    self._join_index(folder, split)
                write_whole(folder / NAME, self.manifest.text())
        self._opened = self._shards(folder, files)
        return self._opened

    def documents(self) -> Iterator[Document]:
        """Its validation documents, read back from their ids."""
        shards = self._opened or self._shards(Path(), {split: self._files(None, split) for split in SPLITS})
        starts = shards.documents("val") if self._opened else self._places("val")
        end_of_text = [self.tokenizer.eos_id] * self.manifest.end_of_text
        for first in range(0, len(starts), TOGETHER):
            here = starts[first : first + TOGETHER + 1].tolist()  # with the beginning of the one that follows
            ends = [start for start, _ in here[1:]] + [shards.val.tokens] * (first + TOGETHER >= len(starts))
            ids: list[int] = shards.read("val", here[0][0], ends[-1] - here[0][0]).tolist()
            for number, ((start, answer), end) in enumerate(zip(here, ends, strict=False)):
                own = ids[start - here[0][0] : end - here[0][0]]
                if end_of_text and own[-1:] == end_of_text:
                    own.pop()
                # Where an answer begins a part does too, as it did in the document.
                parts = (*self._parts(own[: answer - start]), *self._parts(own[answer - start :]))
                yield Document(parts, side="val", where=f"validation document {first + number + 1} of {self.store.name}")

    def _parts(self, ids: list[int]) -> Iterator[Part]:
        """Text and tags."""
        unknown = self.tokenizer.unknown_id
        tags = {number: Tag(tag) for tag, number in self.tokenizer.tag_ids.items() if number != unknown}
        for tag, group in itertools.groupby(ids, key=tags.get):
            if tag is None:
                yield self.tokenizer.decode(group)
            else:
                yield from (tag for _ in group)

    def _shards(self, folder: Path, files: dict[Split, IdFiles]) -> Shards:
        page = self.manifest
        mend = "Put it back as it was, and {again}; or prepare the corpus again."
        if isinstance(self.store, RemoteStore):
            mend = f"Remove {folder}, if it is there, and {{again}}: what is missing is copied anew."
        return Shards(
            folder=folder,
            fingerprint=page.fingerprint,
            content=page.content,
            dtype=page.dtype,
            vocab_size=page.vocab_size,
            train=page.train.stats,
            val=page.val.stats,
            report=page.report,
            gate=page.gate,
            files=files,
            dropped=f"{self.store.name}/parts/*/{DROPPED}",
            mend=mend,
        )

    def _files(self, folder: Path | None, split: Split) -> IdFiles:
        """Where the ids are read from, given the folder of the copies, if there are any."""
        copied = {file.path for file in self._copied()} if folder else set()

        def place(file: StoredFile) -> IdFile:
            if isinstance(self.store, LocalStore):
                return LocalFile(self.store.folder / file.path, file.tokens)
            if folder and file.path in copied:
                return LocalFile(folder / file.path, file.tokens)
            assert isinstance(self.store, RemoteStore)
            return RangedFile(self.store, file.path, file.tokens)

        return IdFiles([place(file) for file in self.manifest.stored(split).files])

    def _copied(self) -> Iterator[StoredFile]:
        """The files that there is room for: those of validation first, as they are read from end to end again and again."""
        left = self._room
        if isinstance(self.store, LocalStore):
            return
        for file in (*self.manifest.val.files, *self.manifest.train.files):
            size = self._size(file)
            if left is not None and size > left:
                return
            left = None if left is None else left - size
            yield file

    def _size(self, file: StoredFile) -> int:
        return file.tokens * int(np.dtype(self.manifest.dtype).itemsize)

    def _copy(self, folder: Path) -> None:
        """Copy what is not there yet, each file whole or not at all."""
        missing = [file for file in self._copied() if not (folder / file.path).is_file()]
        total = sum(map(self._size, missing))
        with tqdm(total=total, desc="copied", unit="B", unit_scale=True, delay=2, leave=False) as bar:
            for file in missing:
                self._fetch(file, folder / file.path)
                bar.update(self._size(file))

    def _fetch(self, file: StoredFile | StoredIndex, place: Path) -> None:
        """A copy of a file of the corpus. Raises ``DataError`` if it is not what was prepared."""
        assert isinstance(self.store, RemoteStore)
        with told(place, "Or give a smaller data.cache_gb: what is not copied is read by ranges."):
            place.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(place) as unfinished:
                try:
                    self.store.get(file.path, unfinished)
                except FileNotFoundError as error:
                    raise self._changed(file, "is gone") from error
                with unfinished.open("rb") as stream:
                    if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                        raise self._changed(file, "is not what was prepared (its SHA-256 is another)")

    def _join_index(self, folder: Path, split: Split) -> None:
        """One file of where all documents begin, out of those of the parts, in memory that does not grow with it."""
        place = index_path(folder, split)
        if place.is_file():
            return
        with told(place), whole_file(place) as unfinished, unfinished.open("wb") as joined:
            before = 0
            for index in self.manifest.stored(split).index:
                for chunk in self._index(index, folder):
                    joined.write((chunk + before).astype("<i8").data)
                before += index.tokens

    def _index(self, index: StoredIndex, folder: Path) -> Iterator[NDArray[np.int64]]:
        """Places of documents in a part, some at a time."""
        if isinstance(self.store, LocalStore):
            place = self.store.folder / index.path
            if not place.is_file() or place.stat().st_size != index.documents * INDEX_BYTES:
                raise self._changed(index, "is gone or of another length")
            yield from _chunks(place, index)
            return
        place = folder / index.path
        self._fetch(index, place)
        yield from _chunks(place, index)
        place.unlink()

    def _places(self, split: Split) -> NDArray[np.int64]:
        """``_join_index`` in memory, for a look at validation documents alone."""
        before, found = 0, []
        for index in self.manifest.stored(split).index:
            try:
                raw = self.store.read(index.path)
            except FileNotFoundError as error:
                raise self._changed(index, "is gone") from error
            if hashlib.sha256(raw).hexdigest() != index.sha256:
                raise self._changed(index, "is not what was prepared (its SHA-256 is another)")
            found.append(np.frombuffer(raw, "<i8").reshape(-1, 2) + before)
            before += index.tokens
        return np.concatenate(found)

    def _changed(self, file: StoredFile | StoredIndex, fact: str) -> DataError:
        return DataError(
            f"{self.store.name} must be as it was prepared, but {file.path} {fact}. Put back the file as it was, or prepare"
            " the corpus again, into another folder."
        )


def _chunks(place: Path, index: StoredIndex) -> Iterator[NDArray[np.int64]]:
    with place.open("rb") as file:
        for first in range(0, index.documents, CHUNK):
            count = 2 * min(CHUNK, index.documents - first)
            yield np.fromfile(file, "<i8", count).reshape(-1, 2)
