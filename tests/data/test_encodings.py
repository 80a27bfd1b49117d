"""Files as people have them: other encodings, marks, line ends, compression, damage."""

from __future__ import annotations

import gzip
import json
from io import StringIO
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.data.lines import encodings_that_fit, read_lines
from cai.data.report import Report
from cai.errors import DataError
from cai.markup import plain_text
from tests.data.test_text import text_config, write

TEXT = "외교부 전화번호는 02-2100-2114입니다.\n㈜가온솔 ― “인용”\n"
WIDE = "뷁 똠방각하\u2028한 줄\x0b같은 줄\x0c또 같은 줄\n둘째 줄\n"


def lines(path: Path, encoding: str = "utf-8", on_error: str = "stop", report: Report | None = None) -> list[str]:
    return [line for _, line in read_lines(path, encoding, on_error, report or Report())]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("codec", "asked"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("cp949", "cp949"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16"),
        ("utf-16-be", "utf-16"),
        *((codec, "auto") for codec in ("utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le", "utf-16-be")),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_encoding_gives_the_same_lines(tmp_path: Path, codec: str, asked: str, newline: str) -> None:
    path = write(tmp_path / "a.txt", TEXT.replace("\n", newline).encode(codec))
    assert lines(path, asked) == TEXT.splitlines(keepends=True)


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "utf-16-be"])
def test_only_line_feeds_end_a_line(tmp_path: Path, codec: str) -> None:
    path = write(tmp_path / "a.txt", WIDE.encode(codec))
    assert lines(path, "auto") == ["뷁 똠방각하\u2028한 줄\x0b같은 줄\x0c또 같은 줄\n", "둘째 줄\n"]


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\ufeff"), max_size=60))
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_cut_at_units_and_never_between(tmp_path_factory: pytest.TempPathFactory, codec: str, text: str) -> None:
    mark = "\ufeff"
    path = write(tmp_path_factory.getbasetemp() / f"{codec}.txt", (mark + text).encode(codec))
    assert "".join(lines(path, "utf-16")) == text
    assert lines(path, "utf-16") == [line + "\n" for line in text.split("\n")[:-1]] + [text.split("\n")[-1]] * (
        text.split("\n")[-1] != ""
    )


def test_a_long_line_in_utf_16_comes_whole(tmp_path: Path) -> None:
    text = "상" * 3_000_000  # its code, C0 C1, holds no line feed; 0A 0A does
    path = write(tmp_path / "a.txt", f"{text}\u0a0a\n끝\n".encode("utf-16"))
    assert lines(path, "utf-16") == [f"{text}\u0a0a\n", "끝\n"]


def test_a_single_line_of_megabytes_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "가나다라 " * 300_000)
    assert [len(line) for line in lines(path)] == [1_500_000]


def test_the_message_names_the_encoding_that_fits(tmp_path: Path) -> None:
    for codec, name in (("cp949", "cp949"), ("utf-16", "utf-16"), ("utf-16-be", "utf-16")):
        path = write(tmp_path / f"{codec}.txt", TEXT.encode(codec))
        assert encodings_that_fit(path) == [name]
        with pytest.raises(DataError, match=rf"try data\.encoding={name}\. data\.on_error=skip leaves"):
            lines(path, "utf-8" if name == "cp949" else "cp949")


def test_two_encodings_in_one_file_are_named_with_the_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "가나\n".encode() + "뷁다\n".encode("cp949") + "라\n".encode())
    assert encodings_that_fit(path) == []
    for encoding in ("utf-8", "auto"):
        with pytest.raises(DataError, match=r"line 2 has the byte 0x.. at offset 7 .*hold two encodings"):
            lines(path, encoding)


def test_skipped_lines_are_counted_and_written_down(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "가\n".encode() + b"\xff\xfe tail\n" + "나\n".encode() + "다".encode()[:-1])
    file = StringIO()
    report = Report(file)
    assert lines(path, on_error="skip", report=report) == ["가\n", "나\n"]
    assert report.dropped == {"line not utf-8": 2}
    entries = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [entry["where"] for entry in entries] == [f"{path}, line 2", f"{path}, line 4"]
    assert "tail" in entries[0]["text"]


def test_compressed_files_are_read_as_what_they_hold(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain" / "a.txt", TEXT)
    zipped = write(tmp_path / "zipped" / "a.txt.gz", gzip.compress(TEXT.encode()))
    frames = b"".join(zstd.compress(half.encode()) for half in (TEXT[:20], TEXT[20:]))
    zst = write(tmp_path / "zst" / "a.txt.zst", frames)
    for path in (zipped, zst):
        assert lines(path) == lines(plain)
        text_config(path).check()
    documents = [plain_text(d.parts) for d in text_config(zst, "file").build().documents(Report())]
    assert documents == [TEXT]


@pytest.mark.parametrize("keep", [0, 5, 30])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, keep: int) -> None:
    content = gzip.compress(TEXT.encode())
    path = write(tmp_path / "a.txt.gz", content[:keep] if keep else b"not gzip at all")
    with pytest.raises(DataError, match=r"must be a whole gzip file, but is not"):
        lines(path)


@pytest.mark.parametrize("content", [b"not zstandard", zstd.compress(TEXT.encode())[:-5]], ids=["other", "cut short"])
def test_a_damaged_zstandard_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "a.txt.zst", content)
    with pytest.raises(DataError, match=r"must be a whole zst file, but is not"):
        lines(path)
