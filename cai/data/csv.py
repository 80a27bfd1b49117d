"""Tables as text: comma- or tab-separated values with a header line."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cai.data.files import plain_suffix
from cai.data.lines import Encoding, read_lines
from cai.data.records import Record, RecordsConfig
from cai.data.report import Report
from cai.errors import DataError


class CsvConfig(RecordsConfig):
    """Comma-separated values (RFC 4180): quoted fields may hold delimiters and line ends."""

    delimiter: Annotated[str, Field(pattern=r"^(auto|.|\t)$")]

    def records(self, file: Path, report: Report) -> Iterator[tuple[str, Record]]:
        return read_csv(file, self.encoding, self.on_error, self.delimiter, report)


def read_csv(file: Path, encoding: Encoding, on_error: str, delimiter: str, report: Report) -> Iterator[tuple[str, Record]]:
    """The rows under the header as records, each with its place. ``delimiter`` ``auto``: a tab in ``.tsv``, else a comma.

    A row that has too few or too many fields, or whose quotes do not close, is refused or left out.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the library's own limit is 128 KiB
    if delimiter == "auto":
        delimiter = "\t" if plain_suffix(file) == ".tsv" else ","
    taken: list[tuple[int, str]] = []  # the lines of the row at hand

    def lines() -> Iterator[str]:
        for number, line in read_lines(file, encoding, on_error, report):
            taken.append((number, line))
            yield line

    rows = csv.reader(lines(), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        taken.clear()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            # A quote that does not close takes all lines up to the end with it: each is counted and written down.
            first, last = taken[0][0], taken[-1][0]
            which = f"lines {first} to {last} cannot" if last > first else "cannot"
            message = f"{file}, line {first} must be a row of CSV, but {which} be read ({error})."
            report.refuse(on_error, message, "line of a broken row", f"{file}, line {first}", taken[0][1])
            for number, line in taken[1:]:
                report.drop("line of a broken row", f"{file}, line {number}", line)
            continue
        where = f"{file}, line {taken[0][0]}"
        if not row:
            continue
        if header is None:
            header = _header(row, where)
        elif len(row) != len(header):
            fact = f"has {len(row)} fields under a header of {len(header)}"
            message = f"{where} must be a row of CSV, but {fact}. data.delimiter is {delimiter!r}."
            report.refuse(on_error, message, "broken row", where, delimiter.join(row))
        else:
            yield where, dict(zip(header, row, strict=True))


def _header(row: list[str], where: str) -> list[str]:
    names = [name.strip() for name in row]
    if doubled := sorted({name for name in names if name and names.count(name) > 1}):
        raise DataError(f"{where} must name each column once, but has {', '.join(doubled)} more than once. Rename one.")
    return names
