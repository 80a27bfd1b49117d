"""A run that was cut short goes on in its own directory, and ends as if it never had been."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import cai
from cai.cli import main
from cai.config.roots import TrainConfig
from cai.run import Run
from cai.runs import read_run
from cai.trainer.update import Update, Updater
from tests.conftest import train_tiny
from tests.resuming import (
    TEN_STEPS,
    assert_equal_runs,
    content_of,
    copy_prepared,
    cut_short,
    edit_facts,
    facts_of,
    metrics_of,
    prepared_runs,
    steady_code,
    tensors_of,
    train_cut,
)

EVENTS = "events.out.tfevents.*"


@pytest.fixture(autouse=True)
def _steady_code(monkeypatch: pytest.MonkeyPatch) -> None:
    steady_code(monkeypatch)


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Path:
    return copy_prepared(prepared_runs(tmp_path_factory.getbasetemp()), scratch) / "whole"


@pytest.fixture
def cut(whole: Path) -> Path:
    return whole.with_name("cut")


def resume(directory: Path | str, *words: str) -> None:
    assert main(["resume", str(directory), *words]) == 0


@pytest.mark.slow
def test_an_interrupted_run_ends_as_if_it_never_had_been(cut: Path, whole: Path) -> None:
    before = facts_of(cut)
    assert [entry["step"] for entry in metrics_of(cut)][-1] == 6  # records after the checkpoint of step 4 come again
    resume(cut)
    assert_equal_runs(cut, whole)
    facts = facts_of(cut)
    assert (before["status"], facts["status"], facts["steps"]) == ("interrupted", "finished", 10)
    assert facts["started"] == before["started"] < before["ended"] < facts["ended"]
    assert facts["overrides"] == list(TEN_STEPS)
    (entry,) = facts["resumed"]
    assert (entry["step"], entry["changed"], entry["other"]) == (4, {}, {})
    for key in ("best_val_loss", "best_step", "fingerprints", "parameters", "device", "micro_batch_size", "max_steps"):
        assert facts[key] == facts_of(whole)[key]
    assert facts["metrics"]["val/loss"] == facts_of(whole)["metrics"]["val/loss"]


def test_a_failed_run_goes_on_and_its_error_is_gone(cut: Path, whole: Path) -> None:
    failed = train_cut(9, error=RuntimeError("a lightning"))
    assert facts_of(failed)["error"] == "RuntimeError: a lightning"
    resume(failed)
    assert_equal_runs(failed, whole)
    assert facts_of(failed)["status"] == "finished"
    assert not {"error", "traceback"} & facts_of(failed).keys()
    assert facts_of(failed)["resumed"][0]["step"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp64", "bf16"])
def test_every_precision_goes_on_to_the_bit(scratch: Path, precision: str) -> None:
    words = (f"device.precision={precision}", "schedule=wsd", "trainer.micro_batch_size=2")
    whole, cut = train_tiny(*words, tiny=TEN_STEPS), train_cut(7, *words)
    resume(cut)
    assert_equal_runs(cut, whole)


def test_while_it_goes_on_it_is_running_without_an_end(cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_facts(cut, status="failed", error="x", traceback="y")
    seen = []
    original = Updater.update

    def update(self: Updater, step: int) -> Update:
        seen.append(read_run(cut))
        return original(self, step)

    monkeypatch.setattr(Updater, "update", update)
    resume(cut)
    assert [facts["status"] for facts in seen] == ["running"] * 6
    assert not {"ended", "error", "traceback"} & seen[0].keys()


def test_tensorboard_gets_one_more_file_without_second_hyperparameters(cut: Path) -> None:
    (first,) = cut.glob(EVENTS)
    before = first.read_bytes()
    assert b"_hparams_/session_start_info" in before
    resume(cut)
    (second,) = set(cut.glob(EVENTS)) - {first}
    assert before.startswith(first.read_bytes()), "cut back to the checkpoint"
    assert first.stat().st_size > 0
    assert b"_hparams_" not in second.read_bytes()
    assert b"train/loss" in second.read_bytes()
    accumulator = EventAccumulator(str(cut)).Reload()
    for tag in ("train/loss", "val/loss"):
        wanted = [(entry["step"], pytest.approx(entry[tag])) for entry in metrics_of(cut) if tag in entry]
        assert [(event.step, event.value) for event in accumulator.Scalars(tag)] == wanted


def test_a_finished_run_is_left_as_it_is(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content_of(whole)
    resume(whole)
    assert "already finished" in capsys.readouterr().out
    assert content_of(whole) == before


def test_last_is_the_newest_run_which_begins_anew_in_place_if_nothing_was_saved(whole: Path) -> None:
    early = whole.with_name("early")
    before = {name: content_of(whole.with_name(name)) for name in ("whole", "cut")}
    assert [entry["step"] for entry in metrics_of(early)] == [0, 2, 3]
    old = {path.name for path in early.glob(EVENTS)}
    resume("last")
    assert_equal_runs(early, whole)
    (events,) = early.glob(EVENTS)
    assert events.name not in old
    assert b"_hparams_/session_start_info" in events.read_bytes()
    assert facts_of(early)["resumed"][0]["step"] == 0
    assert {name: content_of(whole.with_name(name)) for name in before} == before


def test_a_run_cut_while_it_was_prepared_begins(scratch: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("cai.train.learn_tokenizer", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(["train", *TEN_STEPS, "name=early"]) == 130
    (early,) = Path("outputs/early").iterdir()
    resume(early)
    assert metrics_of(early) == metrics_of(whole)
    assert tensors_of(early) == tensors_of(whole)


def test_a_directory_with_a_config_alone_begins(whole: Path) -> None:
    target = Path("outputs/run/new")
    target.mkdir()
    shutil.copy(whole / "config.yaml", target)
    resume(target)
    assert_equal_runs(target, whole)
    assert facts_of(target)["status"] == "finished"
    assert "resumed" in facts_of(target)


def test_a_job_of_a_sweep_goes_on_alone(scratch: Path, whole: Path) -> None:
    with cut_short(7):
        assert main(["train", "hydra/launcher=basic", "-m", *TEN_STEPS, "name=sweep", "seed=1337,2"]) == 130
    (job,) = (path.parent for path in Path("outputs/sweep").glob("*/0_*/run.json"))
    resume(job)
    assert metrics_of(job) == metrics_of(whole)
    assert tensors_of(job) == tensors_of(whole)


def test_a_run_that_another_holds_is_refused_untouched(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = cai.load_config(cut / "config.yaml", TrainConfig)
    with Run(cut, config, resumes={"changed": {}, "other": {}}):
        before = content_of(cut)
        assert main(["resume", str(cut)]) == 2
        assert content_of(cut) == before
    assert "another process is writing" in capsys.readouterr().err


def test_it_can_be_cut_again_and_again(cut: Path, whole: Path) -> None:
    for at in (4, 9):  # at once after the checkpoint, and past the next one
        with cut_short(at):
            assert main(["resume", str(cut)]) == 130
        assert facts_of(cut)["status"] == "interrupted"
    resume(cut)
    assert_equal_runs(cut, whole)
    assert [entry["step"] for entry in facts_of(cut)["resumed"]] == [4, 4, 8]


@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_run_killed_after_its_last_checkpoint_becomes_finished(whole: Path, scratch: Path, status: str) -> None:
    shutil.copytree(whole, "untouched")
    edit_facts(whole, status=status)
    with cut_short(10), cut_short(0):
        resume(whole)
    assert_equal_runs(whole, Path("untouched"))
    assert facts_of(whole)["status"] == "finished"
    assert facts_of(whole)["steps"] == 10


def test_a_run_that_had_stopped_early_does_not_train_on(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patient = ("trainer.patience=1", "optimizer.lr=50", "trainer.grad_clip=0", "trainer.max_steps=60")
    directory = train_tiny(*patient, tiny=TEN_STEPS)
    steps = facts_of(directory)["steps"]
    assert steps < 60
    shutil.copytree(directory, "untouched")
    edit_facts(directory, status="running")
    with cut_short(steps):
        resume(directory)
        assert_equal_runs(directory, Path("untouched"))
        assert f"stopped at step {steps}, as it improved no more" in capsys.readouterr().out
        before = content_of(directory)
        for words in ([], ["trainer.max_steps=90"]):
            resume(directory, *words)
            said = capsys.readouterr().out
            assert f"already finished: {directory} stopped early at step {steps}, as it improved no more" in said
            assert "trainer.patience=1" in said
            assert "cai resume" not in said
    assert content_of(directory) == before


def test_another_folder_can_be_the_current_one(cut: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere := cut.absolute().parents[2] / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    resume(Path("../outputs/run/cut"))
    assert_equal_runs(Path("..") / cut, Path("..") / whole)


def test_it_says_where_it_goes_on_and_how_after_its_end(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resume(cut)
    said = capsys.readouterr().out
    assert f"resuming {cut} from last.safetensors" in said
    assert "resumes    at step 4 of 10" in said
    assert "computed anew" not in said
    assert f"cai reproduce {cut}" in said
    assert f"cai train -m {TEN_STEPS[0]}" in said
    log = (cut / "train.log").read_text(encoding="utf-8")
    assert log.index("step 0: val loss") < log.index("resumes") < log.index("step 10: val loss")
