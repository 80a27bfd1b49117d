"""A run repeated from its directory: what is compared, what is said, and the exit code."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from cai.cli import main
from tests.conftest import TINY, run_directories, train_tiny
from tests.resuming import (
    assert_equal_runs,
    content_of,
    copy_prepared,
    cut_short,
    edit_facts,
    facts_of,
    metrics_of,
    steady_code,
    write_text,
)

TEXT = ("data=text", "data.path=글/a.txt", *(word for word in TINY if not word.startswith("data.")))


@pytest.fixture(autouse=True)
def _steady_code(monkeypatch: pytest.MonkeyPatch) -> None:
    steady_code(monkeypatch)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and one on a text, for tests to copy."""
    folder = tmp_path_factory.mktemp("prepared")
    write_text(folder / "글" / "a.txt")
    with pytest.MonkeyPatch.context() as patch:
        steady_code(patch)
        patch.chdir(folder)
        train_tiny().rename("outputs/run/whole")
        train_tiny(tiny=TEXT).rename("outputs/run/text")
    return folder


@pytest.fixture
def run(prepared: Path, scratch: Path) -> Path:
    """The run, which no repetition may touch."""
    return copy_prepared(prepared, scratch) / "whole"


@pytest.fixture
def text(run: Path) -> Path:
    return run.with_name("text")


def new_runs() -> list[Path]:
    old = {"whole", "text"}
    return [path for path in run_directories(Path()) if path.name not in old]


def reproduce(capsys: pytest.CaptureFixture[str], directory: Path | str, *words: str, code: int = 0) -> str:
    """What ``cai reproduce`` says; the run that is repeated stays as it is."""
    before = content_of(Path(directory))
    capsys.readouterr()
    assert main(["reproduce", str(directory), *words]) == code
    assert content_of(Path(directory)) == before
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.out + said.err


def check(capsys: pytest.CaptureFixture[str], directory: Path, *words: str, code: int) -> str:
    """The same without training."""
    with cut_short(0):
        said = reproduce(capsys, directory, *words, code=code)
    assert not new_runs()
    return said


def edit_losses(directory: Path, step: int, factor: float | None) -> None:
    """Multiply a loss in the record, or (``None``) take its line out."""
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    for entry in lines:
        if entry["step"] == step:
            entry["train/loss"] *= factor or 1
    kept = [entry for entry in lines if factor is not None or entry["step"] != step]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in kept))


@pytest.mark.slow
def test_every_loss_is_equal_to_the_bit(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = reproduce(capsys, run)
    assert "reproduced: all 6 losses are equal to the bit" in said
    (again,) = new_runs()
    assert again.parent == Path("outputs/run")
    assert_equal_runs(again, run)
    facts = facts_of(again)
    assert (facts["status"], facts["reproduces"], facts["overrides"]) == ("finished", str(run), list(TINY))


def test_a_table_compares_config_data_and_surroundings(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split() for line in reproduce(capsys, run).splitlines()]
    fingerprints, versions = facts_of(run)["fingerprints"], facts_of(run)["versions"]
    for row in (
        ["config.yaml", "equal", facts_of(run)["config"]],
        ["tokenizer.json", "equal", fingerprints["tokenizer"]],
        ["token", "ids", "equal", fingerprints["ids"]],
        ["torch", "equal", versions["torch"]],
        ["python", "equal", versions["python"]],
        ["threads", "equal", "1"],
        ["precision", "equal", "fp32"],
        ["micro_batch_size", "equal", "4"],
        ["ids", "fingerprint", "equal", fingerprints["ids"]],
        ["tokenizer", "fingerprint", "equal", fingerprints["tokenizer"]],
    ):
        assert row in lines
    assert not any("DIFFERENT" in line for line in lines)


def test_an_edited_config_is_shown_as_different(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, path = facts_of(run)["config"], run / "config.yaml"
    path.write_text(path.read_text().replace("warmup_steps: 2", "warmup_steps: 3"))
    said = check(capsys, run, "reproduce.check_only=true", code=4)
    assert f"config.yaml             DIFFERENT  was {before}, is " in said


def test_to_check_only_trains_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = check(capsys, run, "reproduce.check_only=true", code=0)
    assert "DIFFERENT" not in said
    assert "reproduced" not in said


def test_a_small_difference_is_within_tolerance_and_told_to_the_place(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_losses(run, 4, 1 + 1e-6)
    edit_losses(run, 6, 1 + 1e-5)
    said = reproduce(capsys, run, code=3)
    assert "reproduced within tolerance: of 6 losses the first to part is at step 4 train/loss was" in said
    assert "by 1e-06 of it" in said
    assert "the widest apart is at step 6" in said
    assert "by 1e-05 of it (reproduce.tolerance=0.001)" in said


@pytest.mark.parametrize(
    ("factor", "words", "part"),
    [
        (1.1, [], "by 0.091 of it"),
        (1 + 1e-6, ["reproduce.tolerance=0"], "by 1e-06 of it (reproduce.tolerance=0)"),
        (1 + 1e-6, ["reproduce.tolerance=1e-7"], "(reproduce.tolerance=1e-07)"),
        (None, [], "train/loss was missing and is"),
    ],
)
def test_losses_that_part_are_told_with_exit_code_4(
    run: Path, capsys: pytest.CaptureFixture[str], factor: float | None, words: list[str], part: str
) -> None:
    edit_losses(run, 4, factor)
    said = reproduce(capsys, run, *words, code=4)
    assert "not reproduced: of" in said
    assert "the first to part is at step 4 train/loss" in said
    assert part in said


def test_the_least_difference_is_one(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (loss,) = (entry["train/loss"] for entry in metrics_of(run) if entry["step"] == 4)
    text = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(text.replace(repr(loss), repr(math.nextafter(loss, math.inf))))
    assert "at step 4 train/loss" in reproduce(capsys, run, code=3)


def test_a_step_that_did_not_come_again_is_missing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "train/loss": 5.0}\n')
    said = reproduce(capsys, run, code=4)
    assert "at step 8 train/loss was 5.0 and is missing" in said


@pytest.mark.parametrize("damage", ["missing", "torn"])
def test_a_record_that_cannot_be_read_is_told_before_training(
    run: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    (run / "metrics.jsonl").unlink()
    if damage == "torn":
        (run / "metrics.jsonl").write_text('{"step": 0, "val/lo')
    assert "metrics.jsonl" in check(capsys, run, code=2)


def test_other_data_are_told_without_training(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text(Path("글/a.txt"), "붉다")
    said = check(capsys, text, code=4)
    ids = facts_of(text)["fingerprints"]["ids"]
    assert f"token ids               DIFFERENT  was {ids}, is " in said


def test_another_tokenizer_is_told_without_training(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(run.with_name("text") / "tokenizer.json", run)
    assert "tokenizer.json          DIFFERENT  was " in check(capsys, run, code=4)


def test_data_that_are_gone_are_one_message(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("글/a.txt").unlink()
    assert "data.path must" in check(capsys, text, code=2)


def test_the_same_text_may_lie_elsewhere(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("글/a.txt").rename(name := "b (1),{x}=${seed}.txt")
    said = reproduce(capsys, text, f"data.path={name}")
    assert "losses are equal to the bit" in said
    assert f"data.path               elsewhere  was 글/a.txt, is {name}" in said


def test_the_same_text_elsewhere_is_equal_for_a_mere_check_too(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("글/a.txt").rename("b.txt")
    check(capsys, text, "data.path=b.txt", "reproduce.check_only=true", code=0)


def test_another_version_is_shown_and_training_tells_more(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_facts(run, versions=facts_of(run)["versions"] | {"torch": "1.0"})
    assert "torch                   DIFFERENT  was 1.0, is" in check(capsys, run, "reproduce.check_only=true", code=4)
    said = reproduce(capsys, run)
    assert "torch                   DIFFERENT  was 1.0, is" in said
    assert "losses are equal to the bit" in said


@pytest.mark.parametrize(
    ("changed", "row"),
    [
        ({"commit": "0" * 40}, "commit                  DIFFERENT  was 0000"),
        ({"dirty": "maybe"}, "dirty                   DIFFERENT  was maybe"),
        ({"diff": "-a\n+b\n"}, "uncommitted changes     DIFFERENT  was -a"),
        ({"untracked": {"cai/new.py": "0123456789abcdef"}}, "untracked files         DIFFERENT  was {'cai/new.py'"),
    ],
)
def test_other_code_is_shown(run: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, object], row: str) -> None:
    edit_facts(run, code=facts_of(run)["code"] | changed)
    assert row in check(capsys, run, "reproduce.check_only=true", code=4)
