"""What a run found where its config says auto: used again when it goes on and when it is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import cai
from cai.cli import main
from cai.recorded import Fact, as_recorded, compare_facts
from cai.trainer.update import Batch, Update, Updater
from tests.conftest import run_directories, train_tiny
from tests.resuming import (
    TEN_STEPS,
    assert_equal_runs,
    content_of,
    copy_prepared,
    cut_short,
    edit_facts,
    facts_of,
    metrics_of,
    train_cut,
)

OPEN = tuple(word for word in TEN_STEPS if not word.startswith("device"))
"""The device, its precision and threads are left open."""


@contextmanager
def machine(*, bf16: bool, threads: int, memory: int = 4) -> Iterator[list[tuple[Any, ...]]]:
    """A computer of so many threads, whose memory holds so many sequences. Gives what each update computed with."""
    seen: list[tuple[Any, ...]] = []
    original, accumulate = Updater.update, Updater.accumulate

    def update(self: Updater, step: int) -> Update:
        done = original(self, step)
        seen.append((self.device.type, self.device.precision, torch.get_num_threads(), self.micro_batch.size))
        return done

    def limited(self: Updater, batch: Batch, step: int) -> torch.Tensor:
        if self.micro_batch.size > memory:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
        return accumulate(self, batch, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cai.device.cpu_has_bf16", lambda: bf16)
        patch.setattr("cai.device.default_threads", lambda: threads)
        patch.setattr(Updater, "update", update)
        patch.setattr(Updater, "accumulate", limited)
        yield seen


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of an open config on a computer with bf16, one thread and room for two sequences."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch, machine(bf16=True, threads=1, memory=2):
        patch.chdir(folder)
        train_tiny(tiny=OPEN).rename("outputs/run/whole")
        train_cut(7, tiny=OPEN).rename("outputs/run/cut")
        train_cut(3, tiny=OPEN).rename("outputs/run/early")
    return folder


@pytest.fixture
def whole(prepared: Path, scratch: Path) -> Path:
    return copy_prepared(prepared, scratch) / "whole"


@pytest.mark.slow
def test_a_run_records_what_it_found_and_saves_what_was_chosen(whole: Path) -> None:
    facts = facts_of(whole)
    assert facts["device"] == {"type": "cpu", "precision": "bf16", "threads": 1}
    assert facts["micro_batch_size"] == 2
    text = (whole / "config.yaml").read_text()
    for line in ("type: auto", "precision: auto", "threads: 0", "micro_batch_size: auto"):
        assert f"\n  {line}\n" in text


@pytest.mark.parametrize("name", ["cut", "early"])
def test_resume_computes_as_recorded_on_another_machine(whole: Path, name: str) -> None:
    run = whole.with_name(name)
    with machine(bf16=False, threads=2) as seen:
        assert main(["resume", str(run)]) == 0
    assert set(seen) == {("cpu", "bf16", 1, 2)}
    assert_equal_runs(run, whole)


def test_reproduce_computes_as_recorded_on_another_machine(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(run_directories(Path("outputs")))
    with machine(bf16=False, threads=2) as seen:
        assert main(["reproduce", str(whole)]) == 0
    (again,) = set(run_directories(Path("outputs"))) - before
    assert set(seen) == {("cpu", "bf16", 1, 2)}
    assert_equal_runs(again, whole)
    assert facts_of(again)["device"] == facts_of(whole)["device"]
    assert "DIFFERENT  was bf16" not in capsys.readouterr().out


@pytest.mark.slow
def test_what_is_chosen_anew_counts_more_than_what_was_recorded(whole: Path) -> None:
    run = whole.with_name("cut")
    with machine(bf16=False, threads=1) as seen:
        assert main(["resume", str(run), "device.precision=fp32", "device.threads=2"]) == 0
    assert {entry[:3] for entry in seen} == {("cpu", "fp32", 2)}
    assert facts_of(run)["device"] == {"type": "cpu", "precision": "fp32", "threads": 2}


@pytest.mark.slow
def test_what_is_left_open_anew_is_found_anew(whole: Path) -> None:
    run = whole.with_name("cut")
    with machine(bf16=False, threads=1), cut_short(6):
        assert main(["resume", str(run), "device.precision=fp32", "device.threads=2"]) == 130
    with machine(bf16=True, threads=1) as seen:
        assert main(["resume", str(run), "device.precision=auto", "device.threads=0"]) == 0
    assert {entry[:3] for entry in seen} == {("cpu", "bf16", 1)}


def test_reproduce_shows_a_device_chosen_anew_as_different(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with machine(bf16=False, threads=1):
        assert main(["reproduce", str(whole), "device.precision=fp32", "reproduce.tolerance=1"]) == 3
    said = capsys.readouterr().out
    assert "device.precision        DIFFERENT  was auto, is fp32" in said
    assert "precision               DIFFERENT  was bf16, is fp32" in said


def test_a_run_of_a_device_that_is_not_there_goes_on_with_another(whole: Path) -> None:
    run = whole.with_name("cut")
    edit_facts(run, device={"type": "cuda", "precision": "fp16", "threads": 2})
    before = content_of(run)
    assert main(["resume", str(run)]) == 2
    assert content_of(run) == before
    with machine(bf16=False, threads=1) as seen:
        assert main(["resume", str(run), "device=cpu"]) == 0
    assert {entry[:2] for entry in seen} == {("cpu", "fp32")}
    assert metrics_of(run)[-1]["step"] == 10


@pytest.mark.parametrize(("verb", "name"), [("resume", "cut"), ("reproduce", "whole")])
def test_the_remedy_for_a_device_that_is_not_there_works(
    whole: Path, capsys: pytest.CaptureFixture[str], verb: str, name: str
) -> None:
    run = whole.with_name(name)
    edit_facts(run, device={"type": "cuda", "precision": "fp16", "threads": 2})
    with machine(bf16=True, threads=1) as seen:
        assert main([verb, str(run)]) == 2
        remedy = capsys.readouterr().err.partition("Try ")[2].split()[0].rstrip(".")
        assert remedy == "device=auto"
        assert main([verb, str(run), remedy]) == 0
    assert set(seen) == {("cpu", "bf16", 1, 2)}


@pytest.mark.parametrize(
    ("overrides", "found", "chosen", "expected"),
    [
        ([], {"type": "cpu", "precision": "bf16", "threads": 3}, [], ("cpu", "bf16", 3)),
        ([], {}, [], ("auto", "auto", 0)),
        (["device=cpu"], {"type": "cpu", "precision": "fp32", "threads": 3}, ["device.type"], ("cpu", "fp32", 3)),
        (["device=cpu"], {"type": "cuda", "precision": "fp16", "threads": 3}, ["device.type"], ("cpu", "auto", 3)),
        ([], {"type": "cuda", "precision": "fp16", "threads": 3}, ["device.type"], ("auto", "auto", 3)),
        (["device.precision=fp32"], {"type": "cpu", "precision": "bf16", "threads": 3}, [], ("cpu", "fp32", 3)),
        (["device.threads=5"], {"type": "cpu", "precision": "bf16", "threads": 3}, [], ("cpu", "bf16", 5)),
        ([], {"type": "cpu", "precision": "bf16", "threads": 3}, ["device.threads"], ("cpu", "bf16", 0)),
    ],
)
def test_what_was_left_open_is_as_found_unless_chosen_anew(
    overrides: list[str], found: dict[str, Any], chosen: list[str], expected: tuple[str, str, int]
) -> None:
    config = cai.compose(overrides)
    before = config.model_dump()
    device = as_recorded(config, {"device": found}, chosen).device
    assert (device.type, device.precision, device.threads) == expected
    assert config.model_dump() == before


def test_recorded_versions_that_are_others_now_are_told(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = whole.with_name("cut")
    edit_facts(cut, versions=facts_of(cut)["versions"] | {"torch": "1.0"})
    assert main(["resume", str(cut)]) == 0
    said = capsys.readouterr().out
    assert f"note: torch is another than before, {torch.__version__}: losses may differ in their last digits" in said
    assert facts_of(cut)["resumed"][0]["other"]["torch"] == torch.__version__


def test_facts_are_compared_one_by_one_and_what_one_has_not_is_none() -> None:
    before = {"code": {"commit": "a", "diff": ""}, "versions": {"torch": "1", "old": "1"}}
    now = {"code": {"commit": "a", "diff": "+x\n" * 50, "untracked": {}}, "versions": {"torch": "2"}, "machine": {"cpu": 2}}
    facts = {fact.name: fact for fact in compare_facts(before, now)}
    assert {name for name, fact in facts.items() if fact.same} == {"commit", "untracked files"}
    assert facts["torch"] == Fact("torch", "1", "2")
    assert facts["old"].now == facts["cpu"].before == facts["uncommitted changes"].before == "none"
    assert "50 lines" in facts["uncommitted changes"].now


def test_two_long_texts_of_the_same_length_are_told_apart() -> None:
    texts = [("-a\n+b\n" * 40), ("-a\n+c\n" * 40)]
    (fact,) = compare_facts({"code": {"diff": texts[0]}}, {"code": {"diff": texts[1]}})
    assert not fact.same
    (fact,) = compare_facts({"code": {"diff": texts[0]}}, {"code": {"diff": texts[0]}})
    assert fact.same
