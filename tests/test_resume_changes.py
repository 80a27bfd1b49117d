"""What a run may be given anew when it goes on, what that costs, and what would make it another run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from cai.cli import main
from cai.trainer.update import Update, Updater
from tests.conftest import TINY, train_tiny
from tests.resuming import (
    TEN_STEPS,
    assert_equal_runs,
    copy_prepared,
    cut_short,
    facts_of,
    metrics_of,
    prepared_runs,
    refused,
    steady_code,
    tensors_of,
    train_cut,
)

ODD = "다른 곳/b (1),{x}=${seed} [y]'\".txt"


@pytest.fixture(autouse=True)
def _steady_code(monkeypatch: pytest.MonkeyPatch) -> None:
    steady_code(monkeypatch)


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Path:
    return copy_prepared(prepared_runs(tmp_path_factory.getbasetemp()), scratch) / "whole"


@pytest.fixture
def cut(whole: Path) -> Path:
    return whole.with_name("cut")


def config_of(directory: Path) -> Any:
    return OmegaConf.load(directory / "config.yaml")


@pytest.mark.parametrize(
    ("word", "path", "value"),
    [
        ("trainer.log_every=1", "trainer.log_every", 1),
        ("trainer.eval_every=5", "trainer.eval_every", 5),
        ("trainer.sample_every=0", "trainer.sample_every", 0),
        ("trainer.save_every=1", "trainer.save_every", 1),
        ("trainer.keep=2", "trainer.keep", 2),
        ("trainer.on_nonfinite=skip", "trainer.on_nonfinite", "skip"),
        ("trainer.max_skipped=3", "trainer.max_skipped", 3),
        ("output_dir=anders", "output_dir", "anders"),
    ],
)
def test_what_changes_no_loss_may_change_and_costs_nothing(
    cut: Path, whole: Path, capsys: pytest.CaptureFixture[str], word: str, path: str, value: object
) -> None:
    assert main(["resume", str(cut), word]) == 0
    assert tensors_of(cut) == tensors_of(whole)
    assert OmegaConf.select(config_of(cut), path) == value
    assert facts_of(cut)["resumed"][0]["changed"] == {path: value}
    assert facts_of(cut)["overrides"] == list(TEN_STEPS)
    assert "last digits" not in capsys.readouterr().out


def test_new_cadences_are_kept_from_there_on(cut: Path) -> None:
    assert main(["resume", str(cut), "trainer.log_every=1", "trainer.eval_every=5", "trainer.keep=2"]) == 0
    logged = [entry["step"] for entry in metrics_of(cut) if "train/loss" in entry]
    evaluated = [entry["step"] for entry in metrics_of(cut) if "val/loss" in entry]
    assert (logged, evaluated) == ([2, 4, 5, 6, 7, 8, 9, 10], [0, 3, 5, 10])
    assert (cut / "checkpoints" / "step_00000008.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["device.precision=fp64"], "device.precision was fp32 and is fp64"),
        (["device.precision=bf16"], "device.precision was fp32 and is bf16"),
        (["device.threads=2"], "device.threads was 1 and is 2"),
        (["device=cpu"], "device.threads was 1 and is 0"),
        (["trainer.micro_batch_size=2"], "trainer.micro_batch_size was auto and is 2"),
        (["trainer.chunked_loss=true"], "trainer.chunked_loss was auto and is True"),
        (["trainer.gradient_checkpointing=true"], "trainer.gradient_checkpointing was False and is True"),
    ],
)
def test_what_computes_may_change_and_that_exactness_ends_is_said(
    cut: Path, whole: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(["resume", str(cut), *words]) == 0
    assert f"{told}: losses may differ in their last digits from here on" in capsys.readouterr().out
    pairs = zip(metrics_of(cut), metrics_of(whole), strict=True)
    assert all(found == pytest.approx(wanted, rel=2e-2) for found, wanted in pairs)
    assert facts_of(cut)["status"] == "finished"


@pytest.mark.parametrize("words", [["device.threads=2", "device=cpu"], ["device=cpu", "device.threads=2"]])
def test_a_chosen_device_and_its_options_go_in_any_order(cut: Path, words: list[str]) -> None:
    assert main(["resume", str(cut), *words]) == 0
    assert config_of(cut).device.threads == 2
    assert facts_of(cut)["device"]["threads"] == 2


def test_the_new_micro_batch_is_the_one_computed_with(cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = Updater.update

    def update(self: Updater, step: int) -> Update:
        seen.append(self.micro_batch.size)
        return original(self, step)

    monkeypatch.setattr(Updater, "update", update)
    assert main(["resume", str(cut), "trainer.micro_batch_size=2"]) == 0
    assert set(seen) == {2}
    assert facts_of(cut)["micro_batch_size"] == 2


@pytest.mark.parametrize("place", ["elsewhere/b.txt", ODD])
def test_the_same_text_may_lie_elsewhere(whole: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    cut = whole.with_name("cut_text")
    Path(place).parent.mkdir()
    Path("글/a.txt").rename(place)
    assert main(["resume", str(cut)]) == 2
    assert "data.path must" in capsys.readouterr().err
    assert main(["resume", str(cut), f"data.path={place}"]) == 0
    assert metrics_of(cut) == metrics_of(whole.with_name("whole_text"))
    assert tensors_of(cut) == tensors_of(whole.with_name("whole_text"))
    assert config_of(cut)._get_node("data")._get_node("path")._value() == place


def test_more_steps_compute_the_schedule_anew_and_say_so(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(cut), "trainer.max_steps=14"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "computed anew from here on, for 14 steps instead of 10" in said
    old, new = map(float, re.findall(r"was ([\d.]+) of its peak and goes on at ([\d.]+)\.", said)[0])
    assert 0 < old < new <= 1
    assert config_of(cut).trainer.max_steps == 14
    assert (facts_of(cut)["steps"], facts_of(cut)["max_steps"]) == (14, 14)
    assert metrics_of(cut)[-1]["step"] == 14


def test_a_finished_run_may_be_given_more_steps(whole: Path) -> None:
    before = (whole / "metrics.jsonl").read_bytes(), (whole / "samples.md").read_bytes()
    assert main(["resume", str(whole), "trainer.max_steps=14"]) == 0
    assert (whole / "metrics.jsonl").read_bytes().startswith(before[0])
    assert (whole / "samples.md").read_bytes().startswith(before[1])
    assert [entry["step"] for entry in metrics_of(whole)] == [0, 2, 3, 4, 6, 8, 9, 10, 12, 14]
    assert config_of(whole).trainer.max_steps == 14
    (entry,) = facts_of(whole)["resumed"]
    assert entry.keys() == {"step", "at", "changed", "other"}
    assert (entry["step"], entry["changed"]) == (10, {"trainer.max_steps": 14})
    with cut_short(14):
        assert main(["resume", str(whole), "trainer.log_every=1"]) == 0


def test_more_steps_that_are_cut_are_the_same_in_the_end(cut: Path, whole: Path) -> None:
    assert main(["resume", str(cut), "trainer.max_steps=14"]) == 0
    again = train_cut(7)
    for at, words in ((6, ["trainer.max_steps=14"]), (11, [])):
        with cut_short(at):
            assert main(["resume", str(again), *words]) == 130
    assert main(["resume", str(again)]) == 0
    assert_equal_runs(again, cut)


def test_more_epochs_are_more_steps(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = [word for word in TINY if not word.startswith("trainer.max_steps")]
    run = train_tiny("trainer.max_steps=null", "trainer.max_epochs=0.02", tiny=short)
    steps = facts_of(run)["steps"]
    assert main(["resume", str(run), "trainer.max_epochs=0.04"]) == 0
    assert facts_of(run)["steps"] > steps
    assert f"instead of {steps}" in " ".join(capsys.readouterr().out.split())
    assert config_of(run).trainer.max_epochs == 0.04
    assert "`trainer.max_epochs` may only be raised, but was 0.04" in refused(capsys, run, "trainer.max_epochs=0.01")
    assert "exactly one of trainer.max_steps and trainer.max_epochs" in refused(capsys, run, "trainer.max_steps=50")


@pytest.mark.parametrize("words", [[], ["trainer.max_steps=null", "trainer.max_epochs=0.02"]])
def test_what_a_finished_run_tells_to_type_for_more_steps_works(
    scratch: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    run = train_tiny(*words)
    steps = facts_of(run)["steps"]
    assert main(["resume", str(run)]) == 0
    command = capsys.readouterr().out.partition("For more steps: cai ")[2].split()
    assert command[:2] == ["resume", str(run)]
    assert main(command) == 0
    assert facts_of(run)["steps"] > steps
