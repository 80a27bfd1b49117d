"""Where documents end is marked, unless the user wants the bare text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cai.data.corpus import Corpus
from cai.tokenizer.char import CharConfig
from cai.tokens.shards import Shards, build_shards
from tests.data.test_text import text_config, write
from tests.tokens.test_shards import BYTE, ids_of

TEXT = "".join(f"{number}번째 줄입니다.\n\n" for number in range(101))


def corpus_of(path: Path, end_of_text: bool, separator: str = "blank_line", split: str = "hash") -> Corpus:
    return text_config(path, separator, split=split, val_ratio=0.3, end_of_text=end_of_text).build()


def shards_of(folder: Path, end_of_text: bool, **options: str) -> tuple[Corpus, Shards]:
    corpus = corpus_of(write(folder / "a.txt", TEXT), end_of_text, **options)
    return corpus, build_shards(corpus, BYTE, folder / "cache")


@pytest.mark.parametrize("split", ["hash", "tail"])
@pytest.mark.parametrize("separator", ["line", "blank_line", "file"])
def test_without_the_mark_the_shards_are_the_same_ids_but_for_it(tmp_path: Path, separator: str, split: str) -> None:
    if (separator, split) == ("file", "hash"):
        split = "tail"  # one file is one document, which cannot be on both sides
    marked, bare = (shards_of(tmp_path, mark, separator=separator, split=split)[1] for mark in (True, False))
    for side, of_marked, of_bare in (("train", marked.train, bare.train), ("val", marked.val, bare.val)):
        with_marks = ids_of(marked, side)
        assert with_marks.count(BYTE.eos_id) == of_marked.documents == of_bare.documents > 0
        assert with_marks[-1] == BYTE.eos_id
        assert ids_of(bare, side) == [number for number in with_marks if number != BYTE.eos_id]
        assert of_bare.tokens == len(ids_of(bare, side)) == of_marked.tokens - of_marked.documents
        assert of_bare.bytes == of_marked.bytes


def test_each_has_shards_of_its_own(tmp_path: Path) -> None:
    found = [shards_of(tmp_path, mark) for mark in (True, False, True)]
    prints = [corpus.fingerprint for corpus, _ in found]
    folders = [shards.folder for _, shards in found]
    assert prints[0] == prints[2] != prints[1]
    assert folders[0] == folders[2] != folders[1]


@pytest.mark.parametrize("ratio", [0.1, 0.05, 1 / 3])
def test_a_file_that_is_cut_at_its_tail_without_the_mark_is_the_data_of_nanogpt(tmp_path: Path, ratio: float) -> None:
    config = text_config(write(tmp_path / "a.txt", TEXT), "file", split="tail", val_ratio=ratio, end_of_text=False)
    tokenizer = CharConfig().build([TEXT])
    shards = build_shards(config.build(), tokenizer, tmp_path / "cache")
    cut = int(len(TEXT) * (1 - ratio))  # data/shakespeare_char/prepare.py
    for side, expected in (("train", TEXT[:cut]), ("val", TEXT[cut:])):
        ids = np.fromfile(shards.place(side), dtype=shards.dtype).tolist()  # type: ignore[arg-type]
        assert len(ids) == len(expected)
        assert tokenizer.decode(ids) == expected
