"""One's own text: a file, a folder or a glob of UTF-8."""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cai.data.base import Corpus, DataConfig, Document, fingerprint_of, source_of
from cai.errors import DataError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TextConfig(DataConfig):
    """UTF-8 text; a byte order mark is dropped, CRLF becomes LF, nothing else but a document's separator is lost."""

    path: Annotated[str, Field(min_length=1)]
    separator: Literal["blank_line", "line", "file"]
    end_of_text: bool

    def check(self) -> None:
        files = self.files()
        for file in files:
            with _readable(file), file.open("rb"):
                pass
        if not any(file.stat().st_size for file in files):
            raise DataError(f"data.path must hold text, but {self.path} is empty. Put text into it or name another file.")

    def build(self) -> Corpus:
        files = self.files()
        content = [_digest(file) for file in files]
        return Corpus(
            documents=lambda: itertools.chain.from_iterable(read_documents(file, self.separator) for file in files),
            split=self.split,
            val_ratio=self.val_ratio,
            fingerprint=fingerprint_of(
                "text",
                source_of(TextConfig, Corpus),
                content,
                self.separator,
                self.split,
                self.val_ratio,
                self.end_of_text,
            ),
            end_of_text=self.end_of_text,
        )

    def files(self) -> list[Path]:
        """The files meant by ``path``, sorted; hidden ones in a folder left out. Raises ``DataError`` if there is none."""
        path = Path(os.path.expanduser(self.path))
        with _readable(path):
            if path.is_file():
                return [path]
            if path.is_dir():
                files = sorted(_files_below(path))
                where = "is a folder without files"
            else:
                files = sorted(file for name in glob.glob(str(path), recursive=True) if (file := Path(name)).is_file())
                where = "does not exist"
        if not files:
            raise DataError(
                f"data.path must name a file, folder or glob of UTF-8 text, but {self.path} {where}."
                f" Paths count from {Path.cwd()}; give another, for instance data.path=my_text.txt."
            )
        return files


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file in a folder and its subfolders, hidden ones left out. A subfolder that cannot be read is an error."""

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what the system says about a path into a ``DataError``."""
    try:
        yield
    except OSError as error:
        name = error.filename or path
        raise DataError(
            f"data.path must be readable, but {str(name)[:200]} is not: {error.strerror}."
            " Give the path of a file that you may read."
        ) from error


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
    with _readable(file), file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _lines(file: Path) -> Iterator[str]:
    """Lines of a file, decoded one by one. Only LF and CRLF end a line: U+2028, VT and FF are text."""
    offset = 0
    with _readable(file), file.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            line = raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                at = offset + len(raw) - len(line) + error.start
                raise DataError(
                    f"{file} must be UTF-8, but line {number} has the byte 0x{line[error.start]:02x} at offset {at}"
                    f" of the file ({error.reason}). Convert it first, for instance: iconv -f cp949 -t utf-8"
                    f" {shlex.quote(str(file))} > {shlex.quote(str(file.with_suffix('.utf8' + file.suffix)))}"
                ) from None
            offset += len(raw)
            yield text[:-2] + "\n" if text.endswith("\r\n") else text
