"""JSON Lines: an object in each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from cai.data.lines import Encoding, read_lines
from cai.data.records import Record, RecordsConfig
from cai.data.report import Report


class JsonlConfig(RecordsConfig):
    """One JSON object a line; blank lines are passed over."""

    def records(self, file: Path, report: Report) -> Iterator[tuple[str, Record]]:
        return read_jsonl(file, self.encoding, self.on_error, report)


def read_jsonl(file: Path, encoding: Encoding, on_error: str, report: Report) -> Iterator[tuple[str, Record]]:
    """The objects of a file, each with its place. A line that is none is refused, or left out as ``on_error`` says."""
    for number, line in read_lines(file, encoding, on_error, report):
        where = f"{file}, line {number}"
        if not line.strip():
            continue
        try:
            record = json.loads(line.removesuffix("\n"))
            if isinstance(record, dict):
                yield where, record
                continue
            fact = f"is {type(record).__name__}"
        except json.JSONDecodeError as error:
            fact = f"cannot be read at column {error.colno} ({error.msg})"
        except RecursionError:
            fact = "is nested too deeply"
        report.refuse(on_error, f"{where} must be a JSON object, but {fact}.", "broken JSON", where, line)
