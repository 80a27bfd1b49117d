"""A corpus as two flat files of ids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cai.data.base import Document
from cai.data.contacts import ContactsConfig
from cai.data.corpus import Corpus
from cai.data.report import Report
from cai.errors import DataError
from cai.markup import QUESTION, plain_text
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.byte import ByteConfig
from cai.tokenizer.char import CharConfig
from cai.tokens.batches import TokenDataset
from cai.tokens.encoding import BATCH_DOCUMENTS
from cai.tokens.shards import Shards, SplitStats, build_shards, load_shards
from tests.data.options import ROWS
from tests.data.test_split import corpus_of
from tests.data.test_text import text_config, write
from tests.tokens.conftest import IGNORE

BYTE = ByteConfig().build([])
TEXTS = [f"글 {number}\n둘째 줄" for number in range(100)]
WIDE = [chr(number) for number in [*range(0x4E00, 0xA000), *range(0xAC00, 0xD7A4), *range(0x20000, 0x20000 + 40_000)]]
"""More different characters than 16 bits can count."""


def ids_of(shards: Shards, split: str) -> list[int]:
    ids: list[int] = np.fromfile(shards.folder / f"{split}.bin", dtype=shards.dtype).tolist()
    return ids


def expected_ids(corpus: Corpus, split: str, tokenizer: Tokenizer) -> list[int]:
    documents = corpus.select(split)  # type: ignore[arg-type]
    return [number for d in documents for number in [*tokenizer.encode_parts(d.parts), tokenizer.eos_id]]


@pytest.mark.parametrize("split", ["hash", "tail"])
def test_each_side_holds_its_documents_with_an_end_of_text_after_each(tmp_path: Path, split: str) -> None:
    corpus = ContactsConfig.model_validate(
        ROWS | {"samples": 60, "questions": 3, "wild": 0.0, "seed": 1, "split": split, "val_ratio": 0.3}
    ).build()
    shards = build_shards(corpus, BYTE, tmp_path)
    for side, stats in (("train", shards.train), ("val", shards.val)):
        ids = ids_of(shards, side)
        assert ids == expected_ids(corpus, side, BYTE)
        assert ids[-1] == BYTE.eos_id
        assert ids.count(BYTE.eos_id) == ids.count(BYTE.tag_ids[QUESTION]) == stats.documents


def test_the_page_about_the_shards_counts_right(tmp_path: Path) -> None:
    texts = [*TEXTS, "낯선 글자 🙂🙂"]
    corpus = replace(corpus_of(texts, "tail", 0.3), fingerprint="counts")
    tokenizer = CharConfig().build(TEXTS)
    shards = build_shards(corpus, tokenizer, tmp_path)
    train, val = (list(corpus.select(side)) for side in ("train", "val"))
    assert shards.train == SplitStats(
        documents=len(train),
        bytes=sum(len(plain_text(document.parts).encode()) for document in train),
        tokens=sum(len(plain_text(document.parts)) + 1 for document in train),
        unknown=0,
    )
    assert shards.val.unknown == sum(character not in "".join(TEXTS) for character in texts[-1]) == 5
    assert shards.val.tokens == len(ids_of(shards, "val"))
    assert shards.val.bytes == sum(len(plain_text(document.parts).encode()) for document in val)
    page = json.loads((shards.folder / "meta.json").read_text(encoding="utf-8"))
    assert page["dtype"] == shards.dtype == "uint16"
    assert page["vocab_size"] == shards.vocab_size == tokenizer.vocab_size
    assert page["fingerprint"] == shards.fingerprint == shards.folder.name
    assert load_shards(shards.folder) == shards


def test_more_documents_than_are_encoded_at_once_lose_none(tmp_path: Path) -> None:
    texts = [str(number) for number in range(2 * BATCH_DOCUMENTS + 700)]
    corpus = corpus_of(texts, "tail", 0.1)
    shards = build_shards(corpus, BYTE, tmp_path)
    text = "".join(BYTE.decode(ids_of(shards, side)) for side in ("train", "val"))
    pieces = [plain_text(document.parts) for side in ("train", "val") for document in corpus.select(side)]
    assert text == "".join(f"{piece}<eos>" for piece in pieces)
    assert "".join(pieces) == "".join(texts)


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_535, "uint16"), (65_536, "uint16"), (65_537, "uint32")])
def test_ids_take_two_bytes_as_long_as_they_fit(tmp_path: Path, vocab_size: int, dtype: str) -> None:
    alphabet = WIDE[: vocab_size - CharConfig().build([]).vocab_size]
    tokenizer = CharConfig().build(["".join(alphabet)])
    assert tokenizer.vocab_size == vocab_size
    text = "".join(alphabet[-40:])
    shards = build_shards(corpus_of([text], "tail", 0.5), tokenizer, tmp_path)
    assert shards.dtype == dtype
    assert (shards.folder / "train.bin").stat().st_size == shards.train.tokens * np.dtype(dtype).itemsize
    ids = ids_of(shards, "train") + ids_of(shards, "val")
    assert max(ids) == vocab_size - 1
    assert tokenizer.decode(ids) == f"{text[:20]}<eos>{text[20:]}<eos>"


def test_ids_above_65535_survive_the_file_and_the_batches(tmp_path: Path) -> None:
    tokenizer = CharConfig().build(["".join(WIDE)])
    assert tokenizer.vocab_size > 70_000
    text = "".join(WIDE[-41:])
    shards = build_shards(corpus_of([text], "tail", 0.5), tokenizer, tmp_path)
    dataset = TokenDataset(shards, block_size=20, seed=0, ignore_index=IGNORE)
    (x, y), ((val_x, val_y),) = dataset.batch(0, 1), dataset.val_batches(4)
    assert min(x.min(), y[0, :-1].min(), val_x[0].min()) > 65_535
    assert tokenizer.decode([x[0, 0], *y[0]]) == f"{text[:20]}<eos>"
    assert tokenizer.decode([val_x[0, 0], *val_y[val_y != IGNORE].tolist()]) == f"{text[20:]}<eos>"


def test_the_same_corpus_and_tokenizer_find_the_same_folder_and_build_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\n".join(TEXTS))
    first = build_shards(text_config(path).build(), BYTE, tmp_path / "cache")
    files = sorted(first.folder.iterdir())
    times = [file.stat().st_mtime_ns for file in files]
    again = build_shards(text_config(path).build(), ByteConfig().build([]), tmp_path / "cache")
    assert again == first
    assert [file.stat().st_mtime_ns for file in files] == times
    assert [file.name for file in files] == ["meta.json", "train.bin", "train.index", "val.bin", "val.index"]


def test_other_text_another_split_and_another_tokenizer_have_folders_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\n\n".join(TEXTS))
    more = write(tmp_path / "b.txt", "\n\n".join([*TEXTS, "하나 더"]))
    folders = {
        build_shards(config.build(), tokenizer, tmp_path / "cache").folder
        for config, tokenizer in [
            (text_config(path), BYTE),
            (text_config(path, val_ratio=0.2), BYTE),
            (text_config(path, split="tail"), BYTE),
            (text_config(path, separator="blank_line"), BYTE),
            (text_config(more), BYTE),
            (text_config(path), CharConfig().build(TEXTS)),
        ]
    }
    assert len(folders) == 6


@pytest.mark.parametrize(
    ("texts", "ratio", "side"),
    [(["글"], 0.001, "validation"), (["글"], 0.999, "training"), ([], 0.5, "training")],
)
def test_an_empty_side_is_refused_with_the_ways_out(tmp_path: Path, texts: list[str], ratio: float, side: str) -> None:
    corpus = corpus_of(texts, "hash", ratio)
    with pytest.raises(DataError, match=f"at least one {side} document") as caught:
        build_shards(corpus, BYTE, tmp_path)
    for word in ("data.split=hash", f"data.val_ratio={ratio}", "data.split=tail", "data.separator", "blank_line"):
        assert word in str(caught.value)
    assert not (tmp_path / "tokens").joinpath(corpus.fingerprint).exists()


@pytest.mark.parametrize("fail_after", [0, 1, 1500])
def test_a_build_that_fails_in_the_middle_leaves_nothing_and_the_next_builds_properly(
    tmp_path: Path, fail_after: int
) -> None:
    texts = [f"글 {number}" for number in range(2000)]
    failing = True

    def documents(_: Report) -> Iterator[Document]:
        for number, text in enumerate(texts):
            if failing and number == fail_after:
                raise OSError("network folder is gone")
            yield Document((text,))

    corpus = Corpus(documents, "hash", 0.3, fingerprint="flaky")
    with pytest.raises(OSError, match="network folder is gone"):
        build_shards(corpus, BYTE, tmp_path)
    assert [path.name for path in (tmp_path / "tokens").iterdir() if not path.name.startswith(".")] == []
    failing = False
    shards = build_shards(corpus, BYTE, tmp_path)
    assert shards.train.documents + shards.val.documents == 2000
    assert ids_of(shards, "train") == expected_ids(corpus, "train", BYTE)
    assert ids_of(shards, "val") == expected_ids(corpus, "val", BYTE)


def test_a_failure_between_the_two_sides_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpus_of(TEXTS)
    with monkeypatch.context() as broken:
        broken.setattr("cai.tokens.shards.json.dumps", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_shards(corpus, BYTE, tmp_path)
    assert not any(path.name[0] != "." for path in (tmp_path / "tokens").iterdir())
    assert build_shards(corpus, BYTE, tmp_path).train.documents > 0
