"""What would make it another run is refused when it goes on, in one message, and nothing is touched."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from cai.cli import main
from tests.conftest import train_tiny
from tests.resuming import (
    TEN_STEPS,
    assert_equal_runs,
    copy_outputs,
    edit_facts,
    facts_of,
    refused,
    train_cut,
    write_text,
)

TEXT = ("data=text", "data.path=글/a.txt", *(word for word in TEN_STEPS if not word.startswith("data.")))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run cut at step 7, and on a text the same and a whole one; for tests to copy."""
    folder = tmp_path_factory.mktemp("prepared")
    write_text(folder / "글" / "a.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_cut(7).rename("outputs/run/cut")
        train_tiny(tiny=TEXT).rename("outputs/run/whole_text")
        train_cut(7, tiny=TEXT).rename("outputs/run/cut_text")
    return folder


@pytest.fixture
def cut(prepared: Path, scratch: Path) -> Path:
    copy_outputs(prepared, scratch)
    shutil.copytree(prepared / "글", "글")
    return Path("outputs/run/cut")


def test_a_text_of_other_content_is_refused_with_both_fingerprints(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = cut.with_name("cut_text")
    write_text(Path("b.txt"), "붉다")
    before = facts_of(cut)["fingerprints"]["ids"]
    assert main(["resume", str(cut), "data.path=b.txt"]) == 2
    said = capsys.readouterr().err
    assert "must go on with the data it began with" in said
    assert len({before, *re.findall(r"\b[0-9a-f]{16}\b", said)}) == 2


def test_after_a_text_of_other_content_the_right_one_goes_on(cut: Path) -> None:
    cut = cut.with_name("cut_text")
    write_text(Path("b.txt"), "붉다")
    assert main(["resume", str(cut), "data.path=b.txt"]) == 2
    assert main(["resume", str(cut), "data.path=글/a.txt"]) == 0
    assert_equal_runs(cut, cut.with_name("whole_text"))


@pytest.mark.xfail(strict=True, reason="Run saves config.yaml with the wrong path and run.json before confirm_data refuses")
@pytest.mark.parametrize(("name", "more"), [("cut_text", []), ("whole_text", ["trainer.max_steps=14"])])
def test_a_text_of_other_content_leaves_the_directory_as_it_was(
    cut: Path, capsys: pytest.CaptureFixture[str], name: str, more: list[str]
) -> None:
    write_text(Path("b.txt"), "붉다")
    refused(capsys, cut.with_name(name), "data.path=b.txt", *more)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["optimizer.lr=0.1", "seed=3", "model.n_layer=2"], ["`optimizer.lr`", "`seed` must stay 1337", "`model.n_layer`"]),
        (["data.samples=30"], ["`data.samples` must stay 120", "but is 30", "start a new run"]),
        (["data.seed=1"], ["`data.seed`"]),
        (["tokenizer.vocab_size=300", "generation.top_k=1"], ["`tokenizer.vocab_size`", "`generation.top_k`"]),
        (["trainer.batch_size=8"], ["`trainer.batch_size` must stay 4", "but is 8"]),
        (["trainer.patience=2"], ["`trainer.patience` must stay 0"]),
        (["trainer.max_steps=9"], ["`trainer.max_steps` may only be raised, but was 10 and is 9", "more than 10"]),
        (["name=other"], ["`name` must stay run"]),
        (["trainer.log_evry=1"], ["`trainer.log_evry`", "no such option", "Did you mean trainer.log_every?"]),
        (["schedule=linear", "model=gpt2"], ["`schedule` must stay", "`model` must stay"]),
        (["device.threads=1,2"], ["`device.threads` must be given one value"]),
        (["~schedule"], ["`schedule` must be given one value"]),
        (["-m", "trainer.log_every=1"], ["`-m`", "resume"]),
        (["hydra.job.name=x", "hydra.run.dir=y"], ["`hydra.job.name` must be left out", "`hydra.run.dir`"]),
        (["data.path=a (1),{b}=${seed}"], ["`data.path`", "no such option"]),
        (["device=gpu"], ["`device` must be one of auto, cpu, cuda, mps", "but is gpu"]),
        (["device=cuda"], ["`device.type` must be a device of this machine"]),
        (["trainer.log_every=0"], ["`trainer.log_every` must be greater than 0"]),
        (["trainer.micro_batch_size=3"], ["trainer.micro_batch_size must divide trainer.batch_size (4)"]),
        (["nonsense", "--quick"], ["`nonsense`", "`--quick`"]),
        (["optimizer.lr=0.1", "trainer.log_evry=1", "schedule=linear"], ["`trainer.log_evry`", "`schedule`"]),
    ],
)
def test_what_would_make_it_another_run_is_refused_in_one_message(
    cut: Path, capsys: pytest.CaptureFixture[str], words: list[str], parts: list[str]
) -> None:
    said = refused(capsys, cut, *words)
    for part in parts:
        assert part in said


@pytest.mark.xfail(strict=True, reason="apply_changes raises before check_changes is asked")
def test_wrong_words_and_forbidden_changes_are_told_together(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, cut, "optimizer.lr=0.1", "trainer.log_evry=1")
    assert "`optimizer.lr`" in said
    assert "`trainer.log_evry`" in said


def test_patience_counts_evaluations_which_therefore_keep_their_cadence(
    cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_cut(3, "trainer.patience=1")
    said = refused(capsys, run, "trainer.eval_every=1")
    assert "`trainer.eval_every` must stay 3 in a run with trainer.patience" in said


@pytest.mark.parametrize("target", ["os.system", "evil.EvilConfig"])
def test_the_directory_of_a_stranger_runs_no_code(
    cut: Path, capsys: pytest.CaptureFixture[str], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (cut / "evil.py", Path("evil.py")):
        place.write_text("raise SystemExit('imported')")
    text = (cut / "config.yaml").read_text().replace("cai.schedule.cosine.CosineConfig", target)
    assert target in text
    (cut / "config.yaml").write_text(text)
    assert f"must name a class of a trusted package (cai), but is {target}" in refused(capsys, cut)
    edit_facts(cut, status="finished")
    assert main(["reproduce", str(cut)]) == 2
    assert f"trust={target.partition('.')[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_a_folder_that_is_no_run_is_one_message(name: str, scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scratch / "empty").mkdir()
    assert main(["resume", name]) == 2
    said = capsys.readouterr().err
    assert f"but {name} holds no config.yaml" in said
    assert "Traceback" not in said
    assert not any((scratch / "empty").iterdir())


@pytest.mark.parametrize("words", [[], ["trainer.max_steps=20"], ["-m"]])
def test_a_run_must_be_named(words: list[str], scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", *words]) == 2
    assert "cai resume outputs/run/<date_time>" in capsys.readouterr().err


def test_a_sweep_is_refused_with_the_way_to_go_on(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = scratch / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_text("{}")
    assert main(["resume", "sweep"]) == 2
    assert "but sweep is a sweep. Give one of its jobs: cai resume sweep/<job>" in capsys.readouterr().err
    assert [path.name for path in sweep.iterdir()] == ["sweep.json"]
