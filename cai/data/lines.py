"""Bytes to lines: one line after another, decoded by itself, so that a bad byte is named and can be left out."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

from cai.data.files import open_bytes
from cai.data.report import SKIP, Report
from cai.errors import DataError

Encoding = Literal["utf-8", "cp949", "utf-16", "auto"]

CANDIDATES = ("utf-8", "cp949", "utf-16")
CHUNK = 2**20
SAMPLE = 2**12
"""Bytes of a file's beginning that tell a byte order."""

BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def read_lines(file: Path, encoding: Encoding, on_error: str, report: Report) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and lines, each with its ``\\n``; a byte order mark is dropped and CRLF becomes LF.

    Only LF and CRLF end a line: U+2028, VT and FF are text. A line that is not in ``encoding`` is a ``DataError`` that
    names file, line, byte and the encodings that would fit, or under ``on_error`` ``skip`` is left out and counted.
    """
    with open_bytes(file) as stream:
        start = stream.read(SAMPLE)
    codec, mark = _codec(file, encoding, start)
    with open_bytes(file) as stream:
        stream.read(mark)
        offset = mark
        for number, raw in enumerate(_raw_lines(stream, codec), start=1):
            try:
                line = raw.decode(codec)
            except UnicodeDecodeError as error:
                _refuse(file, codec, number, raw, offset, error, on_error, report)
            else:
                yield number, line[:-2] + "\n" if line.endswith("\r\n") else line
            offset += len(raw)


def encodings_that_fit(file: Path) -> list[str]:
    """Those of ``CANDIDATES`` in which every byte of the file can be read, the likeliest first."""
    with open_bytes(file) as stream:
        start = stream.read(CHUNK)
    # Nearly all bytes are some UTF-16; the text of none is without a NUL, which other encodings never have.
    wide = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start
    return [name for name in CANDIDATES if (name == "utf-16") == wide and _decodes(file, _with_order(name, start))]


def _codec(file: Path, encoding: Encoding, start: bytes) -> tuple[str, int]:
    """The codec to read with, and the length of the byte order mark."""
    mark, marked = next(((bom, codec) for bom, codec in BOMS.items() if start.startswith(bom)), (b"", ""))
    if encoding == "auto":
        fitting = [] if marked else encodings_that_fit(file)
        return (marked, len(mark)) if marked else (_with_order(next(iter(fitting), "utf-8"), start), 0)
    if marked.startswith(encoding):
        return marked, len(mark)
    return _with_order(encoding, start), 0


def _with_order(encoding: str, start: bytes) -> str:
    """UTF-16 in the byte order of its mark, or without one in that in which more of the first units are Hangul or ASCII."""
    if encoding != "utf-16":
        return encoding
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16-le" if start.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    texts = {codec: start[: len(start) // 2 * 2].decode(codec, "ignore") for codec in ("utf-16-le", "utf-16-be")}
    return max(texts, key=lambda codec: sum(char.isascii() or "가" <= char <= "힣" for char in texts[codec]))


def _decodes(file: Path, codec: str) -> bool:
    decoder = codecs.getincrementaldecoder(codec)()
    with open_bytes(file) as stream:
        try:
            while chunk := stream.read(CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _raw_lines(stream: IO[bytes], codec: str) -> Iterator[bytes]:
    """The lines as bytes. In UTF-8 and CP949 the byte of LF never is part of another character; in UTF-16 it may be."""
    if not codec.startswith("utf-16"):
        yield from stream
        return
    newline = "\n".encode(codec)
    buffer, searched = bytearray(), 0
    while chunk := stream.read(CHUNK):
        buffer += chunk
        start = 0
        while (at := buffer.find(newline, searched)) != -1:
            if at % 2:  # the halves of two units
                searched = at + 1
                continue
            yield bytes(buffer[start : at + 2])
            start = searched = at + 2
        del buffer[:start]
        searched = max(len(buffer) - 1, 0)
    if buffer:
        yield bytes(buffer)


def _refuse(
    file: Path, codec: str, number: int, raw: bytes, offset: int, error: UnicodeDecodeError, on_error: str, report: Report
) -> None:
    if on_error == "skip":
        report.drop(f"line not {codec}", f"{file}, line {number}", raw.decode(codec, "replace"))
        return
    fitting = encodings_that_fit(file)
    if fitting:
        remedy = f"The whole file can be read as {' or '.join(fitting)}: try data.encoding={fitting[0]}."
    else:
        remedy = f"None of {', '.join(CANDIDATES)} fits the whole file; it may be damaged, or hold two encodings."
    raise DataError(
        f"{file} must be {codec.upper()}, but line {number} has the byte 0x{raw[error.start]:02x} at offset"
        f" {offset + error.start} of the file ({error.reason}). {remedy} {SKIP}"
    )


def without_newline(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The same without the ``\\n`` at their ends."""
    return ((number, line.removesuffix("\n")) for number, line in lines)
