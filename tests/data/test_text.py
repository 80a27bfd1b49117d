"""One's own text: which files, which documents."""

from __future__ import annotations

import os
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from cai.data.report import Report
from cai.data.text import TextConfig
from cai.errors import DataError
from cai.markup import plain_text
from tests.data.options import FILES

Separator = Literal["blank_line", "line", "file"]


def text_config(path: Path | str, separator: str = "line", **options: object) -> TextConfig:
    own = {"path": str(path), "separator": separator, "marker": None, "split_by": "document"}
    return TextConfig.model_validate(FILES | own | options)


def documents(path: Path | str, separator: str = "line") -> list[str]:
    return [plain_text(document.parts) for document in text_config(path, separator).build().documents(Report())]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("separator", "content", "expected"),
    [
        ("line", "가\n나\n\n 다 \n", ["가", "나", " 다 "]),
        ("line", "가\n나", ["가", "나"]),
        ("line", "\n\n \t\n\n가\n \n", ["가"]),
        ("blank_line", "가\n나\n\n다\n", ["가\n나", "다"]),
        ("blank_line", "\n\n가\n\n\n \t\n나", ["가", "나"]),
        ("blank_line", "  가\n\t나\n\n", ["  가\n\t나"]),
        ("blank_line", "가", ["가"]),
        ("file", "\n가\n\n나\n", ["\n가\n\n나\n"]),
        ("file", "가", ["가"]),
        ("file", " \n\n", []),
    ],
)
def test_separators(tmp_path: Path, separator: Separator, content: str, expected: list[str]) -> None:
    assert documents(write(tmp_path / "a.txt", content), separator) == expected


@pytest.mark.parametrize("separator", ["line", "blank_line", "file"])
def test_crlf_becomes_lf_and_a_byte_order_mark_is_dropped(tmp_path: Path, separator: Separator) -> None:
    unix = write(tmp_path / "unix.txt", "가\n나\n\n다\n\n라")
    windows = write(tmp_path / "windows.txt", b"\xef\xbb\xbf" + "가\r\n나\r\n\r\n다\r\n\r\n라".encode())
    assert documents(windows, separator) == documents(unix, separator)


@pytest.mark.parametrize("separator", ["line", "blank_line", "file"])
def test_only_lf_and_crlf_end_a_line(tmp_path: Path, separator: Separator) -> None:
    text = "a\rb\u2028c\u2029d\x0be\x0cf\x85g\x1ch\0i\ufeffj\r"
    assert documents(write(tmp_path / "a.txt", text), separator) == [text]


def test_only_the_first_byte_order_mark_of_each_file_is_dropped(tmp_path: Path) -> None:
    for name in ("1.txt", "2.txt"):
        write(tmp_path / name, "\ufeff\ufeff가\n\ufeff나\n")
    assert documents(tmp_path) == ["\ufeff가", "\ufeff나"] * 2


def test_a_syllable_across_the_buffer_boundary_of_a_reader_is_whole(tmp_path: Path) -> None:
    text = "a" + "가" * 200_000
    for separator in ("line", "blank_line", "file"):
        assert documents(write(tmp_path / "a.txt", text), separator) == [text]


def test_documents_come_out_composed(tmp_path: Path) -> None:
    config = text_config(write(tmp_path / "a.txt", unicodedata.normalize("NFD", "한글\n전화\n주소\n누리집")))
    corpus = config.build()
    texts = [plain_text(d.parts) for side in ("train", "val") for d in corpus.select(side)]
    assert sorted(texts) == sorted(["한글", "전화", "주소", "누리집"])


@pytest.mark.parametrize("ratio", [0.1, 0.25, 1 / 3, 0.5])
def test_a_tail_split_of_a_file_is_the_cut_of_nanogpt(tmp_path: Path, ratio: float) -> None:
    text = "".join(f"{number}번째 줄입니다.\n\n" for number in range(101))
    corpus = text_config(write(tmp_path / "a.txt", text), "file", split="tail", val_ratio=ratio).build()
    (train,), (val,) = corpus.select("train"), corpus.select("val")
    assert train.parts == (text[: int(len(text) * (1 - ratio))],)
    assert val.parts == (text[int(len(text) * (1 - ratio)) :],)


def test_a_folder_is_read_recursively_in_sorted_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("나/둘.txt", "가/하나.md", "가/b c.txt", "z", ".hidden", "가/.hidden.txt", ".git/config"):
        write(tmp_path / name, f"{name}\n")
    (tmp_path / "empty").mkdir()
    assert documents(tmp_path) == sorted(["나/둘.txt", "가/하나.md", "가/b c.txt", "z"], key=lambda n: n.split("/"))


def test_a_folder_below_a_hidden_one_is_read_when_it_is_named(tmp_path: Path) -> None:
    write(tmp_path / ".cache" / "corpus" / "a.txt", "가\n")
    assert documents(tmp_path / ".cache" / "corpus") == ["가"]


def test_a_glob_takes_files_at_any_depth_and_no_folders(tmp_path: Path) -> None:
    for name in ("a.txt", "가/b.txt", "가/나/c.txt", "가/d.md"):
        write(tmp_path / name, f"{name}\n")
    (tmp_path / "folder.txt").mkdir()
    assert sorted(documents(tmp_path / "**" / "*.txt")) == ["a.txt", "가/b.txt", "가/나/c.txt"]
    assert documents(tmp_path / "*.txt") == ["a.txt"]
    assert documents(tmp_path / "가" / "[bd].*") == ["가/b.txt", "가/d.md"]


@pytest.mark.parametrize(
    "name", ["a [1].txt", "제주 연락처.txt", "k=v,w.txt", "a*b?.txt", "{a,b}.txt", "$HOME.txt", "#가&나;.txt"]
)
def test_a_file_with_an_unusual_name_is_taken_literally(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "가\n")
    write(tmp_path / "a 1.txt", "틀림\n")
    assert documents(tmp_path / name) == ["가"]


def test_a_folder_with_brackets_in_its_name_is_taken_literally(tmp_path: Path) -> None:
    write(tmp_path / "corpus [v1]" / "a [1].txt", "가\n")
    assert documents(tmp_path / "corpus [v1]") == ["가"]


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "글" / "a.txt", "가\n")
    assert documents("~/글/a.txt") == documents("~/글") == documents("~/글/*.txt") == ["가"]


def test_a_relative_path_is_looked_up_from_the_current_folder(scratch: Path) -> None:
    write(scratch / "글" / "a.txt", "가\n")
    assert documents("글/a.txt") == documents("글") == documents("**/*.txt") == ["가"]


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "가\n")
    os.symlink("a.txt", tmp_path / "b.txt")
    assert documents(tmp_path / "b.txt") == ["가"]


def test_reading_twice_gives_the_same_documents(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"{number}.txt", f"{number}\n\n{number}\n")
    corpus = text_config(tmp_path, "blank_line").build()
    assert list(corpus.documents(Report())) == list(corpus.documents(Report()))
    assert len(list(corpus.documents(Report()))) == 10


def test_the_first_documents_come_before_the_rest_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "가\n\n나\n\n".encode() + b"\xff\n")
    for separator in ("line", "blank_line"):
        stream = text_config(path, separator).build().documents(Report())
        assert [next(stream).parts, next(stream).parts] == [("가",), ("나",)]
        with pytest.raises(DataError):
            next(stream)


@pytest.mark.parametrize(("separator", "split"), [("line", "hash"), ("blank_line", "tail")])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, separator: Separator, split: str) -> None:
    block = "".join(f"{'가나다라마바사아자차 ' * 80}{number}\n\n" for number in range(100)).encode()
    path = tmp_path / "big.txt"
    with path.open("wb") as file:
        for _ in range(20_000_000 // len(block) + 1):
            file.write(block)
    config = text_config(path, separator, split=split, val_ratio=0.1)
    tracemalloc.start()
    try:
        corpus = config.build()
        count = sum(1 for _ in corpus.select("train"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count > 0.85 * 100 * (path.stat().st_size // len(block))
    assert peak < 2_000_000 < path.stat().st_size / 10


def fingerprint(path: Path, **options: object) -> str:
    return text_config(path, **{"separator": "line"} | options).build().fingerprint


def test_the_fingerprint_does_not_tell_names(tmp_path: Path) -> None:
    one = write(tmp_path / "one.txt", "가나다\n라마바\n")
    same = write(tmp_path / "another folder" / "다른 이름.md", one.read_bytes())
    assert fingerprint(one) == fingerprint(one) == fingerprint(same) == fingerprint(same.parent)


def test_the_fingerprint_tells_every_byte_and_every_option(tmp_path: Path) -> None:
    one = write(tmp_path / "one.txt", "가나다\n라마바\n")
    write(tmp_path / "twice" / "1", one.read_bytes())
    write(tmp_path / "twice" / "2", one.read_bytes())
    prints = [
        fingerprint(one),
        fingerprint(one, separator="blank_line"),
        fingerprint(one, split="tail"),
        fingerprint(one, val_ratio=0.4),
        fingerprint(write(tmp_path / "byte.txt", "가나다\n라마사\n")),
        fingerprint(write(tmp_path / "blank.txt", "가나다\n라마바\n ")),
        fingerprint(tmp_path / "twice"),
        fingerprint(write(tmp_path / "joined.txt", one.read_bytes() * 2)),
    ]
    assert len(set(prints)) == len(prints)


def test_a_changed_byte_changes_the_fingerprint_even_if_time_and_size_do_not(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "가나다\n")
    before, times = fingerprint(path), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    write(path, "가나라\n")
    os.utime(path, ns=times)
    assert fingerprint(path) != before


def test_the_fingerprint_tells_the_order_of_files(tmp_path: Path) -> None:
    for order in ("가나", "나가"):
        for number, text in enumerate(order):
            write(tmp_path / order / str(number), text)
    assert fingerprint(tmp_path / "가나") != fingerprint(tmp_path / "나가")
