"""Parquet tables, as Hugging Face datasets are written by ``to_parquet``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cai.data.files import find_files, readable
from cai.data.records import Record, RecordsConfig
from cai.data.report import Report
from cai.data.template import Template
from cai.errors import ConfigError, DataError

ROWS = 1024
"""Rows read at once."""


class ParquetConfig(RecordsConfig):
    """The rows of Parquet files; only the columns that are needed are read."""

    def check(self) -> None:
        super().check()
        for file in find_files(self.path):
            _open(file)

    def records(self, file: Path, report: Report) -> Iterator[tuple[str, Record]]:
        with readable(file):
            table = _open(file)
            needed = {*Template(self.template).fields, self.split_by, self.balance_by} - {None}
            columns = [name for name in table.schema_arrow.names if name in needed or f"{name}." in _starts(needed)]
            number = 0
            for batch in table.iter_batches(batch_size=ROWS, columns=columns or None):
                for record in batch.to_pylist():
                    number += 1
                    yield f"{file}, row {number}", record


def _starts(fields: set[Any]) -> set[str]:
    return {f"{field.partition('.')[0]}." for field in fields if "." in field}


def _open(file: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError('data=parquet needs the package pyarrow. Try: pip install "cai[parquet]"') from None
    try:
        return pyarrow.parquet.ParquetFile(file)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{file} must be a Parquet file, but is not: {error}. Name only Parquet files.") from None
