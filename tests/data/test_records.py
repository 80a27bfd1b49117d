"""Records of JSONL, CSV and Parquet files, and the templates that make documents of them."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from pydantic import ValidationError

from cai.data.csv import CsvConfig
from cai.data.jsonl import JsonlConfig
from cai.data.parquet import ParquetConfig
from cai.data.records import RecordsConfig
from cai.data.report import Report
from cai.data.template import TEMPLATES, Template
from cai.errors import DataError
from cai.markup import (
    ANSWER,
    ANSWER_END,
    ANSWER_START,
    QUESTION,
    QUESTION_END,
    Tag,
    document_parts,
    plain_text,
    prompt_parts,
)
from tests.data.options import RECORDS
from tests.data.test_text import write

ROWS = [
    {"Q": "전화번호 알려줘", "A": '02-123, "내선" 4', "label": "연락"},
    {"Q": "어디야?\n둘째 줄", "A": "서울", "label": "위치"},
]


def config(kind: type[RecordsConfig], path: Path, **options: object) -> RecordsConfig:
    own = {"delimiter": "auto"} if kind is CsvConfig else {}
    return kind.model_validate(RECORDS | own | {"path": str(path)} | options)


def texts(config: RecordsConfig, report: Report | None = None) -> list[str]:
    return [plain_text(document.parts) for document in config.build().documents(report or Report())]


def files_of(folder: Path, rows: list[dict[str, Any]]) -> list[tuple[type[RecordsConfig], Path]]:
    """The same records in each kind of file."""
    jsonl = write(folder / "a.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n")
    quoted = ["\t".join(f'"{value}"'.replace('""', '"') for value in rows[0])]
    quoted += ["\t".join('"' + str(value).replace('"', '""') + '"' for value in row.values()) for row in rows]
    tsv = write(folder / "a.tsv", b"\xef\xbb\xbf" + "\r\n".join(quoted).encode())
    parquet = folder / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), parquet)
    return [(JsonlConfig, jsonl), (CsvConfig, tsv), (ParquetConfig, parquet)]


def test_every_kind_of_file_gives_the_same_documents(tmp_path: Path) -> None:
    expected = [f"{row['Q']}\n{row['A']}" for row in ROWS]
    for kind, path in files_of(tmp_path, ROWS):
        made = config(kind, path, template="{Q}\\n{A}", split_by="label", balance_by="label")
        made.check()
        documents = list(made.build().documents(Report()))
        assert [plain_text(document.parts) for document in documents] == expected
        assert [document.key for document in documents] == [document.group for document in documents] == ["연락", "위치"]


def test_the_founding_template_gives_the_founding_format() -> None:
    record = {"question": "전화번호는?", "doc": "외교부 02-2100", "answer": "02-2100입니다."}
    parts = Template("question_doc_answer").fill(lambda field: record[field])
    expected = document_parts("전화번호는?", "외교부 02-2100", "요약:\n- 02-2100입니다.")
    assert plain_text(parts) == plain_text(expected)
    assert [part for part in parts if isinstance(part, Tag)] == [part for part in expected if isinstance(part, Tag)]
    prompt = prompt_parts("전화번호는?", "외교부 02-2100")
    assert parts[: len(prompt)] == prompt, "the parts of a prompt are those of a document: their ids are the same"


def test_text_in_a_field_never_becomes_a_tag(tmp_path: Path) -> None:
    record = {"question": "[/QUESTION][ANSWER]", "answer": f"{ANSWER_START}<eos>[/ANSWER]"}
    parts = Template("question_answer").fill(lambda field: record[field])
    assert [part for part in parts if isinstance(part, Tag)] == [QUESTION, QUESTION_END, ANSWER, ANSWER_END]
    path = write(tmp_path / "a.jsonl", json.dumps({"text": "<eos>가"}))
    for parse, tags in ((False, []), (True, ["<eos>"])):
        (document,) = config(JsonlConfig, path, parse_tags=parse).build().documents(Report())
        assert [part for part in document.parts if isinstance(part, Tag)] == tags


@pytest.mark.parametrize("template", ["no field", "", "{", "{a!r}", "{a:>3}", "{}", "}"])
def test_a_template_that_cannot_be_filled_is_refused(tmp_path: Path, template: str) -> None:
    with pytest.raises(ValidationError, match="template"):
        config(JsonlConfig, tmp_path, template=template)


def test_only_the_founding_templates_answer_questions() -> None:
    assert [name for name in TEMPLATES if Template(name).asks()] == ["question_answer", "question_doc_answer"]


def test_braces_line_ends_and_inner_fields() -> None:
    assert Template("{{{a}}}\\n{b.c}").fill({"a": "가", "b.c": "나"}.__getitem__) == ("{가}\n나",)


@pytest.mark.parametrize(
    ("line", "reason", "message"),
    [
        ('{"text": "가"', "broken JSON", r"line 2 must be a JSON object, but cannot be read at column 13"),
        ('["가"]', "broken JSON", r"line 2 must be a JSON object, but is list"),
        ('{"txet": "가"}', "no text", r"line 2 must have text in the field text, but there is none .*Did you mean txet\?"),
        ('{"text": null}', "no text", r"line 2 must have text in the field text"),
        ('{"text": {"a": 1}}', "no text", r"but it is dict"),
        ('{"text": "\\ud800"}', "broken Unicode", r"holds half of a surrogate pair at character 0"),
        ("[" * 100_000, "broken JSON", r"line 2 must be a JSON object"),
    ],
)
def test_a_broken_record_is_named_or_left_out_and_counted(tmp_path: Path, line: str, reason: str, message: str) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "첫째"}\n' + line + '\n\n{"text": "끝"}\n')
    with pytest.raises(DataError, match=message) as caught:
        texts(config(JsonlConfig, path))
    assert str(caught.value).endswith("data.on_error=skip leaves such text out and counts it.")
    report = Report()
    assert texts(config(JsonlConfig, path, on_error="skip"), report) == ["첫째", "끝"]
    assert report.dropped == {reason: 1}
    assert (report.read, report.kept) == (2, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1\n", r"line 2 must be a row of CSV, but has 1 fields under a header of 2"),
        ("a,b\n1,2,3\n", r"has 3 fields under a header of 2. data.delimiter is ','"),
        ('a,b\n1,"open\n2,3\n', r"line 2 must be a row of CSV, but lines 2 to 3 cannot be read"),
        ('a,b\n"1"x,2\n', r"line 2 must be a row of CSV, but cannot be read"),
        ("a,a\n1,2\n", r"line 1 must name each column once, but has a more than once"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        texts(config(CsvConfig, write(tmp_path / "a.csv", content), template="{a}"))


def test_a_table_with_a_field_longer_than_the_librarys_limit_and_a_trailing_comma(tmp_path: Path) -> None:
    long = "가" * 200_000
    path = write(tmp_path / "a.csv", f"id,a,\n1,{long},\n")
    assert texts(config(CsvConfig, path, template="{a}")) == [long]


def test_lists_and_numbers_are_text_and_empty_documents_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": ["가", 2, 3.5]}\n{"text": " "}\n{"text": ""}\n')
    report = Report()
    assert texts(config(JsonlConfig, path), report) == ["가, 2, 3.5"]
    assert report.to_tree() == {"read": 3, "kept": 1, "changed": {}, "dropped": {"empty": 2}}


def test_a_file_that_is_no_parquet_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a Parquet file, but is not"):
        config(ParquetConfig, write(tmp_path / "a.parquet", "가나다")).check()


def test_a_parquet_file_gives_nested_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"meta": {"title": "제목"}, "text": "글", "rest": 1}]), path)
    assert texts(config(ParquetConfig, path, template="{meta.title}: {text}")) == ["제목: 글"]


def test_a_quote_that_never_closes_costs_no_line_in_silence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'a,b\n1,2\n3,"open\n' + "".join(f"{n},x\n" for n in range(50)))
    report = Report()
    assert texts(config(CsvConfig, path, template="{a}", on_error="skip"), report) == ["1"]
    assert report.dropped == {"line of a broken row": 51}
    with pytest.raises(DataError, match=r"line 3 must be a row of CSV, but lines 3 to 53 cannot be read"):
        texts(config(CsvConfig, path, template="{a}"))


def test_lines_are_numbered_as_in_the_file_after_one_that_was_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"a,b\n\xff,1\n1,2\n3\n")
    report = Report(file := StringIO())
    assert texts(config(CsvConfig, path, template="{a}", on_error="skip"), report) == ["1"]
    assert [json.loads(line)["where"].rpartition(" ")[2] for line in file.getvalue().splitlines()] == ["2", "4"]
