"""Which runs can be repeated: finished ones, wherever they lie, resumed ones too; and what a repetition may be told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import cai
from cai.cli import main
from tests.conftest import TINY, run_directories, train_tiny
from tests.resuming import content_of, cut_short, facts_of, metrics_of, train_cut

pytestmark = pytest.mark.usefixtures("scratch")


def test_a_run_copied_to_another_folder_is_repeated_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_tiny()
    elsewhere = tmp_path / "다른 곳"
    shutil.copytree(run, elsewhere / "a run")
    shutil.rmtree("outputs")
    monkeypatch.chdir(elsewhere)
    assert main(["reproduce", "a run", "output_dir=new"]) == 0
    assert "losses are equal to the bit" in capsys.readouterr().out
    (again,) = Path("new/run").iterdir()
    assert metrics_of(again) == metrics_of(Path("a run"))
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["optimizer.lr=1"], ["`optimizer.lr` must stay 0.004 as in the run, but is 1"]),
        (["trainer.max_steps=9", "seed=3"], ["`trainer.max_steps` must stay", "`seed` must stay"]),
        (["schedule=cosine"], ["`schedule` must be left out"]),
        (["data.pth=x"], ["`data.pth`"]),
        (["reproduce.chek_only=true"], ["Did you mean reproduce.check_only?"]),
        (["reproduce.tolerance=-1"], ["`reproduce.tolerance` must be at least 0"]),
        (["reproduce.tolerance=1,2"], ["`reproduce.tolerance` must have one value"]),
        (["reproduce.check_only=maybe"], ["`reproduce.check_only` must be true or false"]),
        (["-m"], ["`-m`"]),
    ],
)
def test_what_reproduce_does_not_take_is_one_message(
    capsys: pytest.CaptureFixture[str], words: list[str], parts: list[str], saved: Path
) -> None:
    assert main(["reproduce", str(saved), *words]) == 2
    said = capsys.readouterr().err
    assert all(part in said for part in parts)
    assert "Traceback" not in said


@pytest.fixture
def saved(scratch: Path) -> Path:
    """A run as far as these mistakes look at it."""
    cai.save_config(cai.compose([*TINY, "optimizer.lr=0.004"]), scratch / "config.yaml")
    (scratch / "run.json").write_text('{"status": "finished"}')
    return scratch


@pytest.mark.parametrize("word", ["--verbose", "-m", "nonsense", "seed=3", "reproduce.tolerance=x", "reproduce.chek=1"])
def test_reproduce_takes_a_directory_and_its_own_options_alone(
    word: str, saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cai.train.train", lambda config, run: pytest.fail("training began"))
    assert main(["reproduce", str(saved), word]) == 2
    assert word.partition("=")[0] in capsys.readouterr().err
    assert not (saved / "outputs").exists()


@pytest.mark.parametrize(
    ("words", "message"), [([], "must be given a run directory"), (["nowhere"], "must be a run directory")]
)
def test_reproduce_needs_a_run(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(["reproduce", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_an_unfinished_run_is_to_be_finished_first(capsys: pytest.CaptureFixture[str], saved: Path, status: str) -> None:
    (saved / "run.json").write_text(json.dumps({"status": status}))
    shown = "interrupted" if status == "running" else status
    assert main(["reproduce", str(saved)]) == 2
    assert f"must be a finished run, but is {shown}. Finish it: cai resume {saved}" in capsys.readouterr().err
    assert not Path("outputs").exists()


def test_a_run_that_was_resumed_is_repeated_as_if_it_had_not_been(capsys: pytest.CaptureFixture[str]) -> None:
    cut = train_cut(4, "trainer.save_every=2", tiny=TINY)
    assert main(["resume", str(cut)]) == 0
    assert main(["reproduce", str(cut)]) == 0
    said = capsys.readouterr().out
    assert "with other options" not in said
    assert "all 6 losses are equal to the bit" in said


def test_a_run_that_was_resumed_with_other_cadences_is_equal_where_both_were_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cut = train_cut(5, "trainer.save_every=4", tiny=TINY)
    assert main(["resume", str(cut), "trainer.log_every=1"]) == 0
    assert [entry["step"] for entry in metrics_of(cut)] == [0, 2, 3, 4, 5, 6]
    assert main(["reproduce", str(cut)]) == 0
    said = capsys.readouterr().out
    assert "note: it was resumed at step 4 with other options: {'trainer.log_every': 1}" in said
    (again,) = set(run_directories(Path("outputs"))) - {cut}
    assert [entry["step"] for entry in metrics_of(again)] == [0, 1, 2, 3, 4, 5, 6]
    assert "losses are equal to the bit" in said


def test_a_run_that_was_resumed_with_other_options_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    cut = train_cut(5, "trainer.save_every=4", tiny=TINY)
    assert main(["resume", str(cut), "trainer.max_steps=8"]) == 0
    assert main(["reproduce", str(cut), "reproduce.tolerance=0"]) == 4  # its schedule was another one up to step 4
    said = capsys.readouterr().out
    assert "note: it was resumed at step 4 with other options: {'trainer.max_steps': 8}" in said
    assert "the first to part is at step 6 train/loss" in said


def test_a_repetition_that_fails_is_a_failed_run_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    run = train_tiny()
    before = content_of(run)
    with cut_short(3, RuntimeError("a lightning")):
        assert main(["reproduce", str(run)]) == 1
    (again,) = set(run_directories(Path("outputs"))) - {run}
    assert facts_of(again)["error"] == "RuntimeError: a lightning"
    assert "a lightning" in capsys.readouterr().err
    assert content_of(run) == before
    with cut_short(3):
        assert main(["reproduce", str(run)]) == 130
