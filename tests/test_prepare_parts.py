"""``cai prepare prepare.out=...``: a corpus put into a store in parts, and the manifest that joins them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cai.cli import main
from cai.store import LocalStore
from cai.tokens import parts
from cai.tokens.manifest import read_manifest
from cai.tokens.prepared import Prepared
from cai.tokens.writing import SPLITS
from tests.data.test_text import write

FILES = 5
SMALL = ("tokenizer=bpe", "tokenizer.vocab_size=300", "device=cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of different sizes."""
    folder = tmp_path_factory.mktemp("corpus")
    for file in range(FILES):
        lines = (f"{file}번째 글의 {number}번째 기관, 전화 02-{7 * number:04}\n" for number in range(20 + 15 * file))
        write(folder / f"{file}.txt", "".join(lines))
    return folder


def words(corpus: Path, out: str | Path, shard: str, *more: str) -> list[str]:
    data = ["data=text", f"data.path={corpus}", "data.separator=line", "data.val_ratio=0.2"]
    return ["prepare", *data, *SMALL, f"prepare.out={out}", f"prepare.shard={shard}", *more]


def ids_of(store: Path) -> dict[str, list[int]]:
    """All ids of a prepared corpus, as its manifest lists them."""
    page = read_manifest((store / "manifest.json").read_bytes(), "here")
    files = {split: [store / file.path for file in page.stored(split).files] for split in SPLITS}
    return {
        split: np.concatenate([np.fromfile(file, page.dtype) for file in paths]).tolist() for split, paths in files.items()
    }


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus prepared by one machine."""
    folder = tmp_path_factory.mktemp("whole")
    assert main([*words(corpus, folder / "store", "1/1"), f"output_dir={folder}/outputs"]) == 0
    return folder / "store"


def test_one_machine_makes_what_train_would(corpus: Path, whole: Path, scratch: Path) -> None:
    assert main([word for word in words(corpus, "", "1/1") if not word.startswith("prepare.")]) == 0
    (folder,) = (path for path in (scratch / "outputs/cache/tokens").iterdir() if path.is_dir())
    for split in SPLITS:
        assert np.fromfile(folder / f"{split}.bin", "uint16").tolist() == ids_of(whole)[split]
    page = json.loads((folder / "meta.json").read_text())
    manifest = json.loads((whole / "manifest.json").read_text())
    assert {name: manifest[name] for name in ("content", "report", "gate")} == {
        name: page[name] for name in ("content", "report", "gate")
    }
    assert manifest["train"]["stats"] == page["train"]


@pytest.mark.parametrize("order", [(1, 2), (3, 1, 2), (5, 4, 3, 2, 1)], ids=str)
def test_parts_in_any_order_are_the_same_ids_and_the_last_writes_the_manifest(
    corpus: Path, whole: Path, scratch: Path, order: tuple[int, ...]
) -> None:
    for number in order:
        assert not (scratch / "store/manifest.json").exists()
        # Each machine has a cache of its own.
        assert main(words(corpus, "store", f"{number}/{len(order)}", f"output_dir=machine_{number}")) == 0
    assert ids_of(scratch / "store") == ids_of(whole)
    one, several = (Prepared(str(place), None) for place in (whole, scratch / "store"))
    counted = ("read", "kept", "changed", "dropped")
    assert [several.manifest.report[name] for name in counted] == [one.manifest.report[name] for name in counted]
    for split in SPLITS:
        assert several.manifest.stored(split).stats == one.manifest.stored(split).stats
        shards = [each.shards(each.tokenizer, scratch / "cache") for each in (one, several)]
        assert shards[0].documents(split).tolist() == shards[1].documents(split).tolist()
        count = shards[0].stats(split).tokens
        assert shards[1].read(split, 0, count).tolist() == ids_of(whole)[split]


def test_what_was_killed_or_is_missing_leaves_no_manifest(
    corpus: Path, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(corpus, "store", "1/3")) == 0
    assert "missing    2 of 3 parts: 2, 3" in capsys.readouterr().out
    assert main(words(corpus, "store", "3/3")) == 0
    (scratch / "store/parts/0003-of-0003/meta.json").unlink()  # as a kill leaves it: the page is written last
    assert main(words(corpus, "store", "2/3")) == 0
    assert not (scratch / "store/manifest.json").exists()
    assert main(["train", "data=prepared", "data.path=store", "trainer=smoke"]) == 2
    assert "data.path must name a prepared corpus, but store has no manifest.json" in capsys.readouterr().err
    assert main(words(corpus, "store", "3/3")) == 0
    assert "cai train data=prepared data.path=store" in capsys.readouterr().out


def test_a_part_that_is_there_is_not_made_again(corpus: Path, scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(corpus, "store", "1/2")) == 0
    before = {path: path.stat().st_mtime_ns for path in (scratch / "store").rglob("*")}
    shutil.rmtree("outputs")
    assert main(words(corpus, "store", "1/2")) == 0
    assert "1 of 2: 3 of 5 files; was there already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (scratch / "store").rglob("*")} == before
    assert not list(Path("outputs").rglob("*.bin"))


def test_nothing_else_is_mixed_in(corpus: Path, scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = scratch / "mine"
    shutil.copytree(corpus, mine)
    assert main(words(mine, "store", "1/2")) == 0
    before = sorted((scratch / "store").rglob("*"))
    write(mine / "0.txt", (mine / "0.txt").read_text(encoding="utf-8").replace("전화", "번호"))  # of the same size
    refusals = {
        "`prepare.shard` must be one of 2 parts, as in store": words(mine, "store", "1/3"),
        "its tokenizer was asked for with other options": words(mine, "store", "2/2", "tokenizer.vocab_size=290"),
        "the options of data": words(mine, "store", "2/2", "data.val_ratio=0.3"),
        "its files are others than those that this part was made of": words(mine, "store", "1/2"),
    }
    for message, command in refusals.items():
        assert main(command) == 2
        assert message in capsys.readouterr().err
    shutil.copy(mine / "1.txt", mine / "one_more.txt")
    assert main(words(mine, "store", "2/2")) == 2
    assert "another prepare.out" in capsys.readouterr().err
    assert sorted((scratch / "store").rglob("*")) == before


def test_parts_that_slipped_in_are_seen_before_they_are_joined(
    corpus: Path, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two machines with different text may begin in the same instant."""
    for name, ratio in (("one", 0.2), ("other", 0.3)):
        assert main(words(corpus, name, "1/2", f"data.val_ratio={ratio}")) == 0
    shutil.copytree("other/parts", "one/parts", dirs_exist_ok=True)
    assert main(words(corpus, "one", "2/2")) == 2
    assert "some of its parts were made of something else" in capsys.readouterr().err
    assert not Path("one/manifest.json").exists()


def test_whoever_is_overtaken_takes_what_is_there_or_is_refused_at_once(
    corpus: Path, scratch: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine begins with another tokenizer, and is done with it, while this one learns its own."""
    learn = parts.learn_tokenizer

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(parts, "learn_tokenizer", learn)
        learned = learn(*arguments)
        write_json = LocalStore.write

        def last(store: LocalStore, name: str, content: bytes) -> None:
            write_json(store, name, content)
            if name == parts.PREPARATION:
                monkeypatch.setattr(LocalStore, "write", write_json)
                assert main(words(corpus, "other", "1/2", "tokenizer.vocab_size=290")) == 0
                for each in (parts.PREPARATION, "tokenizer.json"):
                    shutil.copy(f"other/{each}", f"store/{each}")

        monkeypatch.setattr(LocalStore, "write", last)
        return learned

    monkeypatch.setattr(parts, "learn_tokenizer", overtaken)
    assert main(words(corpus, "store", "2/2")) == 2
    assert "its tokenizer was asked for with other options" in capsys.readouterr().err
    assert not Path("store/parts").exists()


def test_a_tokenizer_that_was_changed_is_not_used(corpus: Path, scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(corpus, "store", "1/2")) == 0
    page = Path("store/tokenizer.json")
    page.write_text(page.read_text() + " ")
    assert main(words(corpus, "store", "2/2")) == 2
    assert "tokenizer.json is another than the one that the corpus was prepared with" in capsys.readouterr().err


def test_a_side_may_be_empty_in_a_part_but_not_in_all(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        write(scratch / f"corpus/{number}.txt", f"하나뿐인 글 {number}" * (number + 1))
    for number in (1, 2):
        code = main([*words(Path("corpus"), "store", f"{number}/2"), "data.val_ratio=0.000001"])
        assert code == (2 if number == 2 else 0)
    assert "at least one validation document, but all 2 parts together have none" in capsys.readouterr().err
    assert not Path("store/manifest.json").exists()


def test_what_cannot_be_is_told_before_anything_is_made(
    corpus: Path, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {
        "but is '3'. Try prepare.shard=3/64": words(corpus, "store", "3"),
        "but is '4/3'": words(corpus, "store", "4/3"),
        "but is '0/3'": words(corpus, "store", "0/3"),
        "prepare.out is null. Add prepare.out=s3://bucket/corpus": words(corpus, "null", "1/3"),
        "there must be as many files as parts": words(corpus, "store", "1/6"),
        "divides data that is read from files": ["prepare", *SMALL, "prepare.out=store", "prepare.shard=1/2"],
    }
    for message, command in wrong.items():
        assert main(command) == 2
        assert message in capsys.readouterr().err
    assert not Path("store").exists()


def test_duplicates_of_two_parts_are_told_and_stay_on_one_side(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "".join(f"같은 글 {number}\n" for number in range(60))
    for name in ("a", "b"):
        write(scratch / f"corpus/{name}.txt", lines + lines)
    for number in (1, 2):
        assert main([*words(Path("corpus"), "store", f"{number}/2"), "data.clean.duplicates=exact"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "duplicates are looked for within a part alone" in said
    assert "240 read, 120 kept; left out: 120 duplicate" in said
    prepared = Prepared("store", None)
    val = [document.parts for document in prepared.documents()]
    assert len(val) == 2 * len(set(val)) > 0
    assert prepared.manifest.train.stats.documents + len(val) == 120


@pytest.mark.parametrize(
    "damage",
    [
        lambda page: page | {"format": 2},
        lambda page: page | {"dtype": "object"},
        lambda page: {name: value for name, value in page.items() if name != "gate"},
        lambda page: page | {"val": page["train"] | {"stats": page["val"]["stats"]}},
        lambda page: page | {"train": page["train"] | {"files": [page["train"]["files"][0] | {"path": "../secret"}]}},
        lambda page: page | {"train": page["train"] | {"files": [page["train"]["files"][0] | {"path": "/etc/passwd"}]}},
    ],
    ids=["format", "type of ids", "lacks", "counts", "outside", "absolute"],
)
def test_a_manifest_that_is_none_is_refused(
    whole: Path, scratch: Path, damage: object, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, "store")
    page = json.loads(Path("store/manifest.json").read_text())
    Path("store/manifest.json").write_text(json.dumps(damage(page)))  # type: ignore[operator]
    assert main(["train", "data=prepared", "data.path=store", "trainer=smoke"]) == 2
    assert "store/manifest.json must be a page that `cai prepare" in capsys.readouterr().err


def test_forms_that_dominate_most_parts_dominate_the_whole() -> None:
    from cai.tokens.manifest import _join_reports

    def report(kept: int, *forms: tuple[str, float]) -> dict[str, object]:
        facts = [{"share": share, "count": 100, "what": "questions", "how": "are", "form": form} for form, share in forms]
        return {"read": kept, "kept": kept, "changed": {"nfc": 1}, "dropped": {}, "one_sided": facts}

    joined = _join_reports([report(10, ("가", 0.6), ("나", 0.9)), report(30, ("가", 0.8)), report(15)])
    assert (joined["read"], joined["changed"]) == (55, {"nfc": 3})
    assert [(facts["form"], facts["share"], facts["count"]) for facts in joined["one_sided"]] == [("가", 0.75, 200)]
