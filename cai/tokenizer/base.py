"""What every tokenizer is: text to ids and back, exactly, with tags that text can never forge."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

from tokenizers import Tokenizer as Backend

from cai.config.base import Config
from cai.errors import RunError
from cai.files import write_whole
from cai.markup import EOS, TAGS, Part, Tag
from cai.symptoms.table import tell

UNKNOWN = Tag("<unk>")
"""Stands for a character outside a ``char`` tokenizer's alphabet; the byte-level kinds have none."""


@dataclass(frozen=True)
class Sample:
    """How much of the train documents a tokenizer is learned from, in UTF-8 bytes, and the seed that chooses them."""

    bytes: int
    seed: int


class TokenizerConfig(Config, ABC):
    """Base of all tokenizer configs."""

    @abstractmethod
    def build(self, texts: Iterable[str]) -> Tokenizer:
        """Learn a tokenizer from the ordinary text (no tags) of the *train* documents, or of the ``sample`` of them."""

    def sample(self) -> Sample | None:
        """The part of the train documents that ``build`` is to be given; ``None``: all of them."""
        return None

    def check(self) -> None:
        """Raise ``DataError`` for what can be told before a run begins, such as a missing file."""

    def content(self) -> str:
        """A hash of what ``build`` reads beside its options and texts, such as a file; empty if there is nothing."""
        return ""


class Tokenizer:
    """A ``tokenizers.Tokenizer`` held to CAI's promises.

    ``decode(encode(s)) == NFC(s)`` for every string without lone surrogates (``char``: within its alphabet); ``encode`` adds
    no ids; only a ``Tag`` becomes a special token.
    """

    def __init__(self, backend: Backend) -> None:
        # A flag of the library that is not stored in tokenizer.json: ordinary text that spells a tag stays ordinary.
        backend.encode_special_tokens = True
        self.backend = backend
        self.vocab_size: int = backend.get_vocab_size()
        self.tag_ids: dict[str, int] = {
            token.content: number for number, token in backend.get_added_tokens_decoder().items() if token.special
        }
        if missing := [tag for tag in TAGS if tag not in self.tag_ids]:
            raise RunError(f"the tokenizer must have every special token of CAI, but lacks {', '.join(missing)}")
        self.eos_id = self.tag_ids[EOS]
        unknown = getattr(backend.model, "unk_token", None)
        self.unknown_id: int | None = None if unknown is None else backend.token_to_id(unknown)

    def encode(self, text: str) -> list[int]:
        """Ids of ordinary text; tags spelled in it are ordinary too."""
        return self.encode_parts([text])

    def encode_parts(self, parts: Iterable[Part]) -> list[int]:
        """Ids of a document or prompt: tags become special tokens, the rest is encoded as ordinary text."""
        return self.encode_batch([tuple(parts)])[0]

    def encode_batch(self, documents: Sequence[Sequence[Part]]) -> list[list[int]]:
        """``encode_parts`` of many documents at once, on all cores."""
        # NFC by Python: the backend's own tables are older and leave some ninety combining marks as they are.
        texts = [normalize("NFC", part) for parts in documents for part in parts if not isinstance(part, Tag)]
        encoded = iter(self.backend.encode_batch_fast(texts))
        batch = []
        for parts in documents:
            ids: list[int] = []
            for part in parts:
                ids.extend([self.tag_ids[part]] if isinstance(part, Tag) else next(encoded).ids)
            batch.append(ids)
        return batch

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The UTF-8 bytes each id stands for; tags are spelled out."""
        decoder = (json.loads(self.backend.to_str())["decoder"] or {"type": None})["type"]
        if decoder not in ("ByteLevel", "Fuse"):
            raise RunError(f"its decoder must be ByteLevel or Fuse, but is {decoder}")
        byte_level = decoder == "ByteLevel"
        added = self.backend.get_added_tokens_decoder()  # spelled as they are, even where the others are bytes
        table: list[bytes] = []
        for number in range(self.vocab_size):
            token = self.backend.id_to_token(number) or ""
            if not byte_level or number in added:
                table.append(token.encode())
            elif _BYTE_OF.keys() >= set(token):
                table.append(bytes(_BYTE_OF[char] for char in token))
            else:
                raise RunError(f"its decoder is ByteLevel, but its token {token!r} is not spelled in bytes")
        return table

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``, tags spelled out. Bytes that are not UTF-8 (a model may produce any) become U+FFFD."""
        return b"".join(self.token_bytes[number] for number in ids).decode("utf-8", errors="replace")

    def stream(self, ids: Iterable[int]) -> Iterator[str]:
        """``decode`` piece by piece as ids arrive; a piece never ends inside a character, so no half syllable is shown."""
        decoder = getincrementaldecoder("utf-8")(errors="replace")
        for number in ids:
            if piece := decoder.decode(self.token_bytes[number]):
                yield piece
        if rest := decoder.decode(b"", final=True):
            yield rest

    @cached_property
    def fingerprint(self) -> str:
        """Equal for tokenizers that give equal ids."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write ``tokenizer.json``. Other programs that load it do read tags in ordinary text: see ``__init__``."""
        write_whole(path, self.backend.to_str(pretty=True))

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read a ``tokenizer.json``. Raises ``RunError`` if it is missing or no tokenizer."""
        if not path.is_file():
            raise RunError.of(tell("run_without_tokenizer", path=path))
        return cls.from_text(path.read_bytes(), str(path))

    @classmethod
    def from_text(cls, raw: bytes, place: str) -> Tokenizer:
        """What a ``tokenizer.json`` at ``place`` holds. Raises ``RunError`` if that is no tokenizer."""
        try:
            tokenizer = cls(Backend.from_str(raw.decode()))
            _ = tokenizer.token_bytes
        except Exception as error:  # the library raises bare Exception for every kind of damage
            raise RunError(f"{place} must be a tokenizer file of CAI's, but is not: {error}") from error
        return tokenizer


def _byte_of_character() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte, inverted: visible Latin-1 as it is, the rest from U+0100 on."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


_BYTE_OF = _byte_of_character()
