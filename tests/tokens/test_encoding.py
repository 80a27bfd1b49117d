"""Many files, an index, and preparation that goes on where a kill stopped it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cai.cache import PROGRESS
from cai.data.base import Document
from cai.data.corpus import Corpus
from cai.data.report import Report
from cai.markup import ANSWER, ANSWER_START, document_parts, plain_text
from cai.tokenizer.bpe import BPEConfig
from cai.tokens import encoding, shards, writing
from cai.tokens.shards import Shards, build_shards
from tests.data.test_split import corpus_of
from tests.tokens.test_shards import BYTE, expected_ids

TEXTS = [f"{number}번째 글입니다. {'가나다 ' * (number % 7)}" for number in range(400)]
ANSWERED = [Document(document_parts(f"질문 {n}", f"문서 {n}", f"요약:\n- 답 {n}"), key=str(n)) for n in range(60)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shard files and batches of a size at which a small corpus has many; progress noted after each batch."""
    for module in (writing, shards):
        monkeypatch.setattr(module, "SHARD_TOKENS", 1000)
    monkeypatch.setattr(encoding, "BATCH_DOCUMENTS", 16)
    monkeypatch.setattr(encoding, "SAVE_EVERY", 0.0)


def all_ids(made: Shards, split: str) -> list[int]:
    return made.read(split, 0, made.stats(split).tokens).tolist()  # type: ignore[arg-type, no-any-return]


@pytest.mark.usefixtures("small")
def test_ids_go_on_from_file_to_file(tmp_path: Path) -> None:
    corpus = corpus_of(TEXTS)
    made = build_shards(corpus, BYTE, tmp_path)
    for split in ("train", "val"):
        expected = expected_ids(corpus, split, BYTE)
        assert len(expected) > 4000
        files = sorted(made.folder.glob(f"{split}*.bin"), key=lambda path: len(path.name))
        assert len(files) == len(expected) // 1000 + 1
        assert all_ids(made, split) == expected
        for start, count in ((0, 1), (999, 2), (995, 2500), (len(expected) - 3, 3)):
            assert made.read(split, start, count).tolist() == expected[start : start + count]  # type: ignore[arg-type]


def test_a_file_that_is_not_what_it_was_is_refused(tmp_path: Path) -> None:
    made = build_shards(corpus_of(TEXTS), BYTE, tmp_path)
    with (made.folder / "train.bin").open("ab") as file:
        file.write(b"\0\0")
    with pytest.raises(ValueError, match="tokens, not"):
        made.read("train", 0, 4)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("documents", [TEXTS, ANSWERED], ids=["plain", "answered"])
def test_the_index_knows_where_documents_and_answers_begin(tmp_path: Path, documents: list[str | Document]) -> None:
    corpus = corpus_of(documents)
    made = build_shards(corpus, BYTE, tmp_path)
    for split in ("train", "val"):
        index, stats = made.documents(split), made.stats(split)  # type: ignore[arg-type]
        ends = [*index[1:, 0].tolist(), stats.tokens]
        answer_tokens = answer_bytes = 0
        for document, (start, answer), end in zip(corpus.select(split), index.tolist(), ends, strict=True):  # type: ignore[arg-type]
            text = plain_text(document.parts)
            assert BYTE.decode(made.read(split, start, end - start)) == f"{text}<eos>"  # type: ignore[arg-type]
            said = text.split(f"{ANSWER}{ANSWER_START}")[1] if ANSWER in text else ""
            assert BYTE.decode(made.read(split, answer, end - answer)) == (f"{said}<eos>" if said else "")  # type: ignore[arg-type]
            answer_tokens += end - answer
            answer_bytes += len(said.encode())
        assert (stats.answer_tokens, stats.answer_bytes) == (answer_tokens, answer_bytes)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("fail_after", [1, 17, 200, 399])
def test_what_is_done_when_it_stops_is_not_done_again(
    tmp_path: Path, fail_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = 0

    def documents(report: Report) -> Iterator[Document]:
        nonlocal passes
        passes += 1
        for number, text in enumerate(TEXTS):
            if passes == 2 and number == fail_after:  # after the look at the tokenizer, while ids are written
                raise OSError("network folder is gone")
            report.read += 1
            yield Document((text,))

    corpus = Corpus(documents, "hash", 0.3, fingerprint="stopped")
    with pytest.raises(OSError, match="network folder is gone"):
        build_shards(corpus, BYTE, tmp_path / "stopped")
    encoded: list[int] = []
    encode = encoding._encode

    def counting(batch: list[encoding.Divided], *arguments: Any, **options: Any) -> Any:
        encoded.append(len(batch))
        return encode(batch, *arguments, **options)

    monkeypatch.setattr(encoding, "_encode", counting)
    made = build_shards(corpus, BYTE, tmp_path / "stopped")
    assert sum(encoded) == len(TEXTS) - fail_after // 16 * 16
    whole = build_shards(replace(corpus, fingerprint="whole"), BYTE, tmp_path / "whole")
    assert made.content == whole.content
    assert (made.train, made.val, made.report) == (whole.train, whole.val, whole.report)
    for split in ("train", "val"):
        assert np.array_equal(made.documents(split), whole.documents(split))  # type: ignore[arg-type]
    assert not list(made.folder.glob(PROGRESS))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("damage", ["shorter", "gone", "page"])
def test_leftovers_that_are_not_what_was_noted_are_made_anew(tmp_path: Path, damage: str) -> None:
    passes = 0

    def documents(_: Report) -> Iterator[Document]:
        nonlocal passes
        passes += 1
        for number, text in enumerate(TEXTS):
            if passes == 2 and number == 300:
                raise OSError("gone")
            yield Document((text,))

    corpus = Corpus(documents, "hash", 0.3, fingerprint="damaged")
    with pytest.raises(OSError, match="gone"):
        build_shards(corpus, BYTE, tmp_path)
    (unfinished,) = (tmp_path / "tokens").glob(".*.unfinished")
    if damage == "shorter":
        (unfinished / "train.bin").write_bytes(b"12")
    elif damage == "gone":
        (unfinished / "val.index").unlink()
    else:
        (unfinished / PROGRESS).write_text("{")
    made = build_shards(corpus, BYTE, tmp_path)
    assert all_ids(made, "train") == expected_ids(corpus, "train", BYTE)
    assert all_ids(made, "val") == expected_ids(corpus, "val", BYTE)


@pytest.mark.parametrize(
    "text", ["가나다 라마 " * 90, "한 줄의 글\n" * 90, "문단\n\n  둘째 " * 60, "붙은글자" * 150], ids=len
)
def test_long_texts_are_cut_where_the_ids_stay_the_same(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(encoding, "PIECE", 100)
    tokenizer = BPEConfig(vocab_size=400, digits=1, merge_within="word", sample_mb=None, sample_seed=0).build(
        [text, "가나다 라마\n문단 12"]
    )
    pieces = list(encoding.in_pieces([text, ANSWER]))
    assert "".join(pieces) == text + ANSWER
    assert len(pieces) > 5
    assert all(len(piece) <= 100 for piece in pieces)
    if " " in text:
        assert tokenizer.encode_parts(pieces) == tokenizer.encode_parts([text, ANSWER])


def test_what_was_left_out_is_listed_beside_the_shards(tmp_path: Path) -> None:
    def documents(report: Report) -> Iterator[Document]:
        for number, text in enumerate(TEXTS):
            if number % 100:
                yield Document((text,))
            else:
                report.drop("duplicate", f"line {number}", text)

    made = build_shards(Corpus(documents, "hash", 0.3, fingerprint="dropped"), BYTE, tmp_path)
    assert made.report["dropped"] == {"duplicate": 4}
    assert len((made.folder / shards.DROPPED).read_text(encoding="utf-8").splitlines()) == 4
