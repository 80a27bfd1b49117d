"""``cai prepare`` and ``cai inspect data``: what would be trained on, without training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cai.cli import main
from tests.data.test_text import write

LINES = "".join(f"{number}번째 기관의 전화는 02-{number:04}입니다.\n" for number in range(300))


def train_words(path: Path) -> list[str]:
    return ["data=text", f"data.path={path}", "data.separator=line", "tokenizer.vocab_size=400", "device=cpu"]


@pytest.mark.slow
def test_what_is_prepared_is_what_training_takes(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = train_words(write(scratch / "a.txt", LINES))
    assert main(["prepare", *words]) == 0
    said = capsys.readouterr().out
    (folder,) = (path for path in (scratch / "outputs/cache/tokens").iterdir() if not path.name.startswith("."))
    assert f"shards     {Path('outputs/cache/tokens') / folder.name}" in said
    assert "every text comes back exactly" in said
    before = (folder / "train.bin").stat().st_mtime_ns
    small = ["trainer=smoke", "model.n_embd=16", "model.block_size=32", "device.threads=1"]
    assert main(["train", *words, *small]) == 0
    assert (folder / "train.bin").stat().st_mtime_ns == before
    assert [path.name for path in folder.parent.iterdir() if not path.name.startswith(".")] == [folder.name]


def test_the_report_tells_what_was_left_out_and_where_it_is_listed(
    scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(scratch / "a.txt", LINES.encode() + b"\xff\n" + LINES[:40].encode())
    words = [*train_words(path), "data.on_error=skip", "data.clean.duplicates=exact"]
    assert main(["prepare", *words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 line not utf-8" in said
    assert "1 duplicate" in said
    (listed,) = (scratch / "outputs/cache/tokens").glob("*/dropped.jsonl")
    reasons = [json.loads(line)["reason"] for line in listed.read_text(encoding="utf-8").splitlines()]
    assert sorted(reasons) == ["duplicate", "line not utf-8"]


@pytest.mark.slow
def test_the_gate_is_passed_once_for_all_runs_on_the_same_shards(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = train_words(write(scratch / "a.txt", LINES))
    assert main(["prepare", *words]) == 0
    monkeypatch.setattr("cai.tokens.shards.inspect_tokenizer", lambda *_: pytest.fail("it was read again"))
    assert main(["train", *words, "trainer=smoke", "model.n_embd=16", "model.block_size=32", "device.threads=1"]) == 0


def test_several_are_prepared_at_once_and_problems_come_first(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = train_words(write(scratch / "a.txt", LINES))
    assert main(["prepare", "-m", *words, "tokenizer.vocab_size=300,400"]) == 0
    said = capsys.readouterr().out
    assert "tokenizer.vocab_size=300" in said
    assert "tokenizer.vocab_size=400" in said
    assert main(["prepare", *train_words(scratch / "none.txt")]) == 2
    assert "data.path must name a file, folder or glob" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "extra", "expected"),
    [
        ("read", [], "0번째  기관"),
        ("cleaned", ["data.clean.whitespace=true"], "0번째 기관"),
        ("tokens", [], "tokens\n"),
        ("rows", ["model.block_size=64"], "row 0 of "),
    ],
)
def test_every_stage_can_be_looked_at(
    scratch: Path, capsys: pytest.CaptureFixture[str], stage: str, extra: list[str], expected: str
) -> None:
    words = train_words(write(scratch / "a.txt", LINES.replace("번째 ", "번째  ")))
    assert main(["inspect", "data", *words, f"stage={stage}", "count=2", *extra]) == 0
    said = capsys.readouterr().out
    assert expected in said
    assert said.count("--- ") == 2


def test_varied_copies_are_shown_beside_their_original(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": f"기관{n} 전화번호 알려 주세요.", "answer": f"02-{n:04}"} for n in range(60)]
    path = write(scratch / "a.jsonl", "\n".join(json.dumps(row) for row in rows))
    words = ["data=jsonl", f"data.path={path}", "data.template=question_answer", "stage=varied", "count=3"]
    assert main(["inspect", "data", *words, "data.augment.copies=2"]) == 0
    said = capsys.readouterr().out
    assert "--- copy 1" in said
    assert "--- copy 2" in said
    assert main(["inspect", "data", *words]) == 2
    assert "data.augment.copies is 0. Try data.augment.copies=2." in capsys.readouterr().err


def test_rows_mark_what_is_no_target(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data.samples=150", "data.val_ratio=0.1", "data.loss=answer", "data.packing=documents", "tokenizer=byte"]
    assert main(["inspect", "data", *words, "model.block_size=1024", "stage=rows", "count=1"]) == 0
    said = capsys.readouterr().out
    assert "⟦" in said
    shown = said.replace("⟦", "").replace("⟧", "")
    assert "[QUESTION]" in shown
    assert "⟧" in said.split("[ANSWER]")[1].split("체크리스트")[0]
