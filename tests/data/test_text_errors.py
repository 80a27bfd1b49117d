"""Text that cannot be used is refused with its place, the rule and a remedy."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cai.data.report import Report
from cai.data.text import TextConfig
from cai.errors import DataError
from cai.tokenizer.byte import ByteConfig
from cai.tokens.shards import build_shards
from tests.data.test_text import text_config, write


def refusal(config: TextConfig, path: Path | str) -> str:
    """How ``config`` is refused, at the latest when its documents are read: naming the place, the rule and the fact."""
    with pytest.raises(DataError) as caught:  # noqa: PT012
        config.check()
        list(config.build().documents(Report()))
    message = str(caught.value)
    assert str(path) in message
    assert re.search(r"\bmust\b.*\bbut\b", message, re.DOTALL), f"no rule in: {message}"
    return message


@pytest.fixture
def locked_file() -> Iterator[Path]:
    """A file that this process may not read, even where tests run as root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    file = write(folder / "locked.txt", "가\n")
    file.chmod(0)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        yield file
    finally:
        if was_root:
            os.seteuid(0)
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["없음.txt", "no/such/folder/a.txt", "*.md", "**/nothing-*", "[1.txt"])
def test_a_path_that_leads_nowhere_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.txt", "가\n")
    config = text_config(tmp_path / name)
    assert f"does not exist. Paths count from {Path.cwd()}" in refusal(config, tmp_path / name)
    for act in (config.check, config.build):
        with pytest.raises(DataError):
            act()


def test_a_folder_without_visible_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / ".hidden", "가\n")
    assert "is a folder without files" in refusal(text_config(tmp_path), tmp_path)


def test_a_glob_that_matches_folders_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub.txt").mkdir()
    refusal(text_config(tmp_path / "*.txt"), tmp_path / "*.txt")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "")
    for target in (path, tmp_path, tmp_path / "*"):
        assert "empty" in refusal(text_config(target), target)


def test_an_empty_file_beside_a_filled_one_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "")
    write(tmp_path / "b.txt", "가\n")
    config = text_config(tmp_path)
    config.check()
    assert [document.parts for document in config.build().documents(Report())] == [("가",)]


@pytest.mark.parametrize("content", [" \n\t\n\r\n", "\ufeff", "\u3000\n"])
@pytest.mark.parametrize("separator", ["line", "blank_line", "file"])
def test_white_space_alone_is_no_document_and_refused_before_training(tmp_path: Path, content: str, separator: str) -> None:
    corpus = text_config(write(tmp_path / "a.txt", content), separator).build()
    assert list(corpus.documents(Report())) == []
    with pytest.raises(DataError, match=r"data must give at least one training document.* Use more text"):
        build_shards(corpus, ByteConfig().build([]), tmp_path / "cache")


def test_an_empty_path_is_refused_instead_of_reading_the_current_folder(scratch: Path) -> None:
    write(scratch / "secret.txt", "가\n")
    with pytest.raises(ValueError, match="path"):  # of pydantic or of CAI
        text_config("").check()


def test_a_home_folder_of_nobody_is_refused() -> None:
    refusal(text_config("~no_such_user_of_cai/a.txt"), "~no_such_user_of_cai/a.txt")


def test_text_given_in_place_of_a_path_is_refused() -> None:
    refusal(text_config("외교부의 전화번호는 무엇인가요? " * 40), "외교부의 전화번호는")


@pytest.mark.parametrize(
    ("content", "line", "byte", "offset"),
    [
        (b"\xff", 1, "ff", 0),
        (b"abc\xff\n", 1, "ff", 3),
        ("가나\n다".encode() + b"\x80", 2, "80", 10),
        (b"\xef\xbb\xbf\xfe", 1, "fe", 3),
        (b"\xef\xbb\xbf" + "가\n".encode() + b"ab\xc0\x80", 2, "c0", 9),
        (b"\xef\xbb\xbfa\r\nb\r\n\r\n\xf8", 4, "f8", 11),
        ("전화: 02-1234".encode("cp949"), 1, "c0", 0),
        ("tel\n\n전화".encode("cp949"), 3, "c0", 5),
        ("가나".encode()[:-1], 1, "eb", 3),
        ("가\n🙂".encode()[:-2], 2, "f0", 4),
        (b"ok\xed\xa0\x80", 1, "ed", 2),
        ("가\n".encode() * 50_000 + b"\x9f", 50_001, "9f", 200_000),
        ("가".encode("utf-16"), 1, "ff", 0),
    ],
)
@pytest.mark.parametrize("separator", ["line", "blank_line", "file"])
def test_a_bad_byte_is_named_by_file_line_and_offset(
    tmp_path: Path, separator: str, content: bytes, line: int, byte: str, offset: int
) -> None:
    write(tmp_path / "1 good.txt", "가\n")
    bad = write(tmp_path / "2 bad.txt", content)
    config = text_config(tmp_path, separator)
    config.check()
    assert content[offset] == int(byte, 16)
    message = refusal(config, bad)
    assert f"line {line} has the byte 0x{byte} at offset {offset} of the file" in message
    assert message.endswith("data.on_error=skip leaves such text out and counts it.")
    fits = [name for name in ("cp949", "utf-16") if f"data.encoding={name}" in message]
    for encoding in fits:
        content.decode(encoding)


@pytest.mark.parametrize("split", ["hash", "tail"])
@pytest.mark.parametrize("side", ["train", "val"])
def test_a_bad_byte_stops_the_reading_of_either_side(tmp_path: Path, split: str, side: str) -> None:
    config = text_config(write(tmp_path / "a.txt", "가\n나\n".encode() * 9 + b"\xff"), split=split)
    with pytest.raises(DataError, match="line 19"):
        list(config.build().select(side))  # type: ignore[arg-type]


def test_a_file_without_permission_is_refused(locked_file: Path) -> None:
    for target in (locked_file, locked_file.parent):
        assert "permission" in refusal(text_config(target), locked_file).lower()


def test_a_file_that_disappears_after_the_check_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "가\n")
    corpus = text_config(path).build()
    path.unlink()
    with pytest.raises(DataError, match=rf"must be readable, but {path} is not: No such file"):
        list(corpus.documents(Report()))


@pytest.mark.parametrize("case", ["missing", "empty folder", "empty file", "bad byte", "no permission"])
def test_every_refusal_ends_with_a_remedy(tmp_path: Path, request: pytest.FixtureRequest, case: str) -> None:
    (tmp_path / "empty folder").mkdir()
    write(tmp_path / "empty file", "")
    write(tmp_path / "bad byte", b"\xff")
    path: Path = request.getfixturevalue("locked_file") if case == "no permission" else tmp_path / case
    message = refusal(text_config(path), path)
    assert re.search(r"[.)] [A-Z][a-z]+ ", message), f"a remedy is a sentence of its own; there is none in: {message}"
