"""The steps that all files go through: separators, cleaning, duplicates, chunks, copies, balance, mixtures."""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import cai
from cai.data.chunks import chunks
from cai.data.corpus import Corpus
from cai.data.jsonl import JsonlConfig
from cai.data.report import Report
from cai.data.shares import balanced, mixed
from cai.errors import ConfigError
from cai.markup import Tag, plain_text
from tests.data.options import AUGMENT, CLEAN, RECORDS
from tests.data.test_text import text_config, write


def texts(corpus: Corpus, report: Report | None = None) -> list[str]:
    return [plain_text(document.parts) for document in corpus.documents(report or Report())]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("가\n<|end|>\n나\n<|end|>\n", ["가", "나"]),
        ("가<|end|>나<|end|><|end|>다", ["가", "나", "다"]),
        ("가\n\n나 <|end|> 다\n라", ["가\n\n나 ", " 다\n라"]),
        ("<|end|>\n\n<|end|>", []),
        ("가", ["가"]),
    ],
)
def test_a_marker_of_ones_own_ends_documents(tmp_path: Path, content: str, expected: list[str]) -> None:
    corpus = text_config(write(tmp_path / "a.txt", content), "marker", marker="<|end|>").build()
    assert texts(corpus) == expected


@pytest.mark.parametrize(("separator", "marker"), [("marker", None), ("marker", ""), ("marker", "a\nb"), ("line", "x")])
def test_a_marker_goes_with_its_separator(separator: str, marker: str | None) -> None:
    with pytest.raises(ValidationError, match="marker"):
        text_config("a.txt", separator, marker=marker)


def test_tags_in_text_are_text_unless_the_text_is_trusted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "[QUESTION]가[/QUESTION]\n")
    for parse, expected in ((False, []), (True, ["[QUESTION]", "[/QUESTION]"])):
        (document,) = text_config(path, parse_tags=parse).build().documents(Report())
        assert [part for part in document.parts if isinstance(part, Tag)] == expected


def test_a_split_by_file_keeps_each_file_on_one_side(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / f"{number}.txt", "".join(f"{number} {line}\n" for line in range(5)))
    corpus = text_config(tmp_path, split_by="file").build()
    train, val = ({plain_text(d.parts).split()[0] for d in corpus.select(side)} for side in ("train", "val"))
    assert train
    assert val
    assert not train & val


def test_what_is_dropped_and_changed_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "가  나\n가  나\n다\n가 나\n\x07라\n")
    clean = CLEAN | {"whitespace": True, "control_characters": True, "duplicates": "exact"}
    report = Report()
    assert texts(text_config(path, clean=clean).build(), report) == ["가 나", "다", "라"]
    assert report.to_tree() == {
        "read": 5,
        "kept": 3,
        "changed": {"whitespace": 2, "control_characters": 1},
        "dropped": {"duplicate": 2},
    }


@given(text=st.text(st.sampled_from("가나 .\n🙂\u0301\u200d다"), max_size=400), size=st.integers(16, 60))
def test_every_character_is_in_a_chunk_of_the_asked_length(text: str, size: int) -> None:
    pieces = list(chunks(text, size))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= size for piece in pieces) or not text


def test_chunks_are_cut_at_the_best_place() -> None:
    text = "첫 문단의 문장이다. 둘째 문장이다.\n\n둘째 문단은 조금 더 길다. 끝.\n짧은 줄"
    assert next(chunks(text, 30)).endswith("\n\n")
    assert [len(piece) for piece in chunks("가" * 100, 30)] == [30, 30, 30, 10]
    assert next(chunks("가나다라마바사아자차카타파하e\u0301가나다", 15)) == "가나다라마바사아자차카타파하"


def test_chunks_of_a_document_stay_on_its_side(tmp_path: Path) -> None:
    content = "\n".join(f"{number}번 문서. " * 20 for number in range(40))
    whole, cut = (text_config(write(tmp_path / "a.txt", content), chunk=size).build() for size in (0, 50))
    for side in ("train", "val"):
        before = [plain_text(document.parts) for document in whole.select(side)]  # type: ignore[arg-type]
        pieces = [plain_text(document.parts) for document in cut.select(side)]  # type: ignore[arg-type]
        assert "".join(pieces) == "".join(before)
        assert len(pieces) > 3 * len(before) > 0


def record_corpus(folder: Path, counts: dict[str, int], **options: Any) -> Corpus:
    rows = [{"text": f"{name} 문서 {number:04}", "kind": name} for name, count in counts.items() for number in range(count)]
    path = write(folder / "a.jsonl", "\n".join(json.dumps(row) for row in rows))
    return JsonlConfig.model_validate(
        RECORDS | {"path": str(path), "balance_by": "kind", "val_ratio": 0.2} | options
    ).build()


def test_balancing_repeats_rare_categories_and_loses_nothing(tmp_path: Path) -> None:
    corpus = record_corpus(tmp_path, {"가": 900, "나": 300, "다": 30}, max_repeats=5.0)
    train = collections.Counter(document.group for document in corpus.select("train"))
    assert train["나"] / train["가"] == pytest.approx(1.0, rel=0.1)
    assert train["다"] / train["가"] == pytest.approx(5 * 30 / 900, rel=0.4)
    once = record_corpus(tmp_path, {"가": 900, "나": 300, "다": 30}, balance_by=None)
    assert {plain_text(d.parts) for d in corpus.select("train")} == {plain_text(d.parts) for d in once.select("train")}
    val = [plain_text(document.parts) for document in corpus.select("val")]
    assert val == [plain_text(document.parts) for document in once.select("val")]


def test_copies_of_a_document_lie_in_rounds_of_their_own(tmp_path: Path) -> None:
    corpus = record_corpus(tmp_path, {"가": 200, "나": 50}, max_repeats=4.0)
    first = [plain_text(document.parts) for document in corpus.select("train")]
    once = len(set(first))
    assert len(set(first[:once])) == once, "no document comes again before all have come"


def test_weights_are_shares_of_the_characters() -> None:
    assert mixed({"a": 100, "b": 100}, {"a": 3.0, "b": 1.0}, 4.0) == {"a": 3.0, "b": 1.0}
    assert mixed({"a": 1000, "b": 10}, {"a": 1.0, "b": 1.0}, 4.0) == pytest.approx({"a": 0.04, "b": 4.0})
    with pytest.raises(ConfigError, match=r"data\.weights.* b has none"):
        mixed({"a": 10}, {"a": 1.0, "b": 1.0}, 4.0)
    assert balanced({"a": 100, "b": 10, "c": 0}, 4.0) == {"a": 1.0, "b": 4.0, "c": 1.0}


def mixture(folder: Path, *words: str) -> Any:
    one = write(folder / "one.txt", "".join(f"하나 {number:03}\n" for number in range(300)))
    two = write(folder / "two.jsonl", "".join(f'{{"text": "둘의 {number:03}"}}\n' for number in range(300)))
    return cai.compose(
        [
            *("data=mix", "+data@data.sources.one=text", f"data.sources.one.path={one}", "data.sources.one.separator=line"),
            *("+data@data.sources.two=jsonl", f"data.sources.two.path={two}"),
            *("data.weights.one=2", "data.weights.two=1", *words),
        ]
    )


def test_a_mixture_has_its_shares_and_each_source_its_own_split(tmp_path: Path) -> None:
    config = mixture(tmp_path, "data.sources.two.val_ratio=0.3")
    config.data.check()
    corpus = config.data.build()
    train = collections.Counter(document.group for document in corpus.select("train"))
    val = collections.Counter(document.group for document in corpus.select("val"))
    assert train["one"] / train["two"] == pytest.approx(2, rel=0.1)
    assert val["two"] > 3 * val["one"] > 0
    texts_of = {side: {plain_text(d.parts) for d in corpus.select(side)} for side in ("train", "val")}
    assert not texts_of["train"] & texts_of["val"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data.weights.tow=1", r"`?data\.weights must name sources \(one, two\), but has tow"),
        ("data.sources.two.separator=line", r"data\.sources\.two\.separator` must be an option"),
        ("data.sources.one.encoding=utf8", r"data\.sources\.one\.encoding` must be one of"),
        ("data.weights.one=0", r"data\.weights\.one` must be greater than 0"),
    ],
)
def test_a_wrong_mixture_is_refused_with_the_path_of_the_source(tmp_path: Path, word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mixture(tmp_path, word)


def test_a_missing_file_of_a_source_is_told_under_its_own_path(tmp_path: Path) -> None:
    config = mixture(tmp_path, f"data.sources.one.path={tmp_path}/data.path/data.txt")
    with pytest.raises(
        ConfigError, match=r"^data\.sources\.one\.path must name .* but .*/data\.path/data\.txt does not exist"
    ):
        config.data.check()


def test_a_saved_mixture_loads_back_equal(tmp_path: Path) -> None:
    from cai.config.roots import TrainConfig
    from cai.config.saved import load_config, save_config

    config = mixture(tmp_path)
    save_config(config, tmp_path / "config.yaml")
    loaded = load_config(tmp_path / "config.yaml", TrainConfig)
    assert loaded == config
    assert loaded.data.build().fingerprint == config.data.build().fingerprint


def test_copies_vary_train_documents_only_and_deterministically(tmp_path: Path) -> None:
    rows = [{"question": f"기관{n} 전화번호 알려 주세요.", "answer": f"02-{n:04}"} for n in range(60)]
    path = write(tmp_path / "a.jsonl", "\n".join(json.dumps(row) for row in rows))
    options = RECORDS | {"path": str(path), "template": "question_answer"}
    plain = JsonlConfig.model_validate(options).build()
    varied = JsonlConfig.model_validate(options | {"augment": AUGMENT | {"copies": 2, "questions": True}}).build()
    assert list(varied.select("val")) == list(plain.select("val"))
    train, more = list(plain.select("train")), list(varied.select("train"))
    assert more[: len(train)] == train
    assert len(more) == 3 * len(train)
    assert len({plain_text(document.parts) for document in more}) > 1.8 * len(train)
    for original, copy in zip(train, more[len(train) :], strict=False):
        assert plain_text(copy.parts).split("[ANSWER]")[1] == plain_text(original.parts).split("[ANSWER]")[1]
    assert more == list(varied.select("train"))
    assert varied.fingerprint != plain.fingerprint


def test_an_empty_mixture_says_how_to_fill_it() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.sources must name at least one source, but is empty\. Try: \+data@data\.sour"
    ):
        cai.compose(["data=mix"])


@pytest.mark.parametrize(
    ("option", "package"),
    [({"duplicates": "near"}, "rensa"), ({"telephones": "format"}, "phonenumbers")],
    ids=["near", "telephones"],
)
def test_a_package_that_is_not_there_is_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: dict[str, str], package: str
) -> None:
    config = text_config(write(tmp_path / "a.txt", "가\n"), clean=CLEAN | option)
    config.check()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"data\.clean\.\w+=\w+ needs the package {package}.* Try: pip install"):
        config.check()
