"""One's own text: a file, a folder or a glob of UTF-8."""

from __future__ import annotations

import glob
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from cai.data.base import Corpus, DataConfig, Document, fingerprint_of
from cai.errors import DataError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TextConfig(DataConfig):
    """UTF-8 text; a byte order mark is dropped, CRLF becomes LF, nothing else but a document's separator is lost."""

    path: str
    separator: Literal["blank_line", "line", "file"]

    def check(self) -> None:
        if not any(file.stat().st_size for file in self.files()):
            raise DataError(f"data.path must hold text, but {self.path} is empty.")

    def build(self) -> Corpus:
        files = self.files()
        content = [_digest(file) for file in files]
        return Corpus(
            documents=lambda: itertools.chain.from_iterable(read_documents(file, self.separator) for file in files),
            split=self.split,
            val_ratio=self.val_ratio,
            fingerprint=fingerprint_of("text", content, self.separator, self.split, self.val_ratio),
        )

    def files(self) -> list[Path]:
        """The files meant by ``path``, sorted; hidden ones in a folder left out. Raises ``DataError`` if there is none."""
        path = Path(self.path).expanduser()
        if path.is_file():
            return [path]
        if path.is_dir():
            found = [file for file in path.rglob("*") if not any(p.startswith(".") for p in file.relative_to(path).parts)]
        else:
            found = [Path(name) for name in glob.glob(str(path), recursive=True)]
        files = sorted(file for file in found if file.is_file())
        if not files:
            where = "is a folder without files" if path.is_dir() else "does not exist"
            raise DataError(
                f"data.path must name a file, folder or glob of UTF-8 text, but {self.path} {where}"
                f" (looked from {Path.cwd()})."
            )
        return files


def read_documents(file: Path, separator: str) -> Iterator[Document]:
    """The documents of one file, streamed; those of white space alone are left out. Raises ``DataError`` on a bad byte."""
    lines = _lines(file)
    if separator == "line":
        texts: Iterator[str] = (line.removesuffix("\n") for line in lines)
    elif separator == "file":
        texts = iter(["".join(lines)])
    else:
        paragraphs = itertools.groupby(lines, key=lambda line: bool(line.strip()))
        texts = ("".join(paragraph).removesuffix("\n") for filled, paragraph in paragraphs if filled)
    yield from (Document((text,)) for text in texts if text.strip())


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _lines(file: Path) -> Iterator[str]:
    """Lines of a file, decoded one by one. Only LF and CRLF end a line: U+2028, VT and FF are text."""
    offset = 0
    try:
        with file.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                line = raw
                if number == 1:
                    line = line.removeprefix(BYTE_ORDER_MARK)
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError as error:
                    at = offset + len(raw) - len(line) + error.start
                    raise DataError(
                        f"{file} must be UTF-8, but line {number} has the byte 0x{line[error.start]:02x} at offset {at}"
                        f" of the file ({error.reason}). Convert it first, for instance:"
                        f" iconv -f cp949 -t utf-8 {file.name} > {file.stem}.utf8{file.suffix}"
                    ) from None
                offset += len(raw)
                yield text[:-2] + "\n" if text.endswith("\r\n") else text
    except OSError as error:
        raise DataError(f"{file} must be readable, but: {error.strerror}.") from error
