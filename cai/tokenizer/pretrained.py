"""A tokenizer file of one's own: byte-level BPE as GPT-2, Llama 3 and Qwen have it, or one token a character."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from cai.errors import CaiError, DataError
from cai.markup import TAGS
from cai.symptoms.table import tell
from cai.tokenizer.base import Tokenizer, TokenizerConfig
from cai.tokenizer.report import change_of

EVERY_BYTE = "".join(map(chr, (*range(0x800), *range(0x800, 0xD800, 0x400), *range(0xE000, 0x110000, 0x1000))))
"""Characters whose UTF-8 has every byte that UTF-8 can have."""

PROBES = (
    "Ab aB",
    " ",
    "  a  b  ",
    "\ta\r\n\r\n\nb\r",
    "don't DON'T İı ñÉ",
    "12345678 ½①² ﬁ㎏＋８２ＡＢ",
    "대한민국 값  ㅋㅋㅠ",
    "☎ 02-2100-2114\n- 웹: https://a.kr/?q=가&b=%20",
    "👩‍👩‍👧‍👦 שלום \u202eمرحبا",
    "a\u2028b\u2029c\x85d\x0be\x0cf",
    "\ufeffa\u200b\u200d\xad\ufffd\ufeff",
    "▁a ##b </w> Ġ",
    EVERY_BYTE,
)
"""Texts that a tokenizer which lowercases, strips, normalizes or lacks bytes does not give back."""

CAUSE = "something in it loses text, such as lowercasing, stripping, NFKC, or a blank put before the first word"


class PretrainedConfig(TokenizerConfig):
    """A ``tokenizer.json``. CAI's special tokens are appended if it lacks them; nothing is learned from the texts."""

    path: Annotated[str, Field(min_length=1)]

    def build(self, texts: Iterable[str]) -> Tokenizer:
        """The same tokenizer for every corpus; ``texts`` is not read."""
        return read_tokenizer(self._file())

    def check(self) -> None:
        read_tokenizer(self._file())

    def content(self) -> str:
        return hashlib.sha256(_read(self._file())).hexdigest()

    def _file(self) -> Path:
        return Path(os.path.expanduser(self.path))


def read_tokenizer(path: Path, option: str = "tokenizer.path") -> Tokenizer:
    """Any ``tokenizer.json`` that can keep CAI's promises, made to. Raises ``DataError`` for one that cannot.

    What is left out of the file: a post-processor (which adds ids), truncation, padding and BPE's dropout. ``option`` is
    what the user gave the path as.
    """
    raw = _read(path, option)
    try:
        page = json.loads(raw)
        decoder = _adapt(page)
        if decoder not in ("ByteLevel", "Fuse"):
            raise DataError(
                f"{option} must be byte-level (its decoder ByteLevel) or one token a character (Fuse), but {path} has"
                f" the decoder {decoder}: such tokenizers do not give every text back. Take another file, or tokenizer=bpe."
            )
        backend = Backend.from_str(json.dumps(page))
        backend.add_special_tokens([AddedToken(tag, special=True) for tag in TAGS])
        tokenizer = Tokenizer(backend)
        _ = tokenizer.token_bytes
    except DataError:
        raise
    except Exception as error:  # the library raises bare Exception for every kind of damage
        reason = str(error)[:200] if isinstance(error, CaiError) else f"{type(error).__name__}: {error}"[:200]
        raise DataError(
            f"{option} must name a tokenizer.json of the tokenizers library, but {path} cannot be read as one"
            f" ({reason}). Save it anew with tokenizer.save(...), or use tokenizer=bpe."
        ) from error
    if problem := next(_problems(tokenizer), None):
        raise DataError(f"{option} must keep text as it is, but {path} {problem}. Take another, or tokenizer=bpe.")
    return tokenizer


def _read(path: Path, option: str = "tokenizer.path") -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        told = tell("tokenizer_missing", option=option, path=path, reason=error.strerror, folder=Path.cwd())
        raise DataError.of(told) from error


def _adapt(page: dict[str, Any]) -> str:
    """Switch off what changes ids in a parsed file; the name of its decoder."""
    page |= {"post_processor": None, "truncation": None, "padding": None}
    if page["model"].get("dropout"):
        page["model"]["dropout"] = None
    for token in page.get("added_tokens", ()):
        if token["content"] in TAGS:
            token["special"] = True
    decoder = page.get("decoder") or {"type": "none"}
    while decoder["type"] == "Sequence" and len(decoder["decoders"]) == 1:
        page["decoder"] = decoder = decoder["decoders"][0]
    names = [each["type"] for each in decoder.get("decoders", ())]
    return f"{decoder['type']}[{', '.join(names)}]" if names else str(decoder["type"])


def _problems(tokenizer: Tokenizer) -> Iterator[str]:
    """Each way in which it does not do what a tokenizer of CAI does, in words that follow the file's name."""
    if missing := set(range(tokenizer.vocab_size)) - set(tokenizer.backend.get_vocab().values()):
        yield f"has no token of id {min(missing)} among its {tokenizer.vocab_size:,}"
    special = set(tokenizer.tag_ids.values()) - {tokenizer.unknown_id}
    added = [token.content for token in tokenizer.backend.get_added_tokens_decoder().values()]
    spelled = [text for token in added for text in (token, f" {token}  {token}", f"a{token}{token}b")]
    texts = [unicodedata.normalize("NFC", text) for text in (*PROBES, *spelled)]
    for text, ids in zip(texts, tokenizer.encode_batch([(text,) for text in texts]), strict=True):
        if found := special.intersection(ids):
            yield f"reads the special token {tokenizer.backend.id_to_token(min(found))} in the text {text[:40]!r}"
        if change := change_of(tokenizer, text, ids):
            yield f"{change}: {CAUSE}"
