"""Jobs that give up: judged by nothing but their siblings' files, and never the best of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest

from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.pruning import LEAST, Pruner
from cai.trainer.trainer import Trainer
from tests.trainer.making import make_trainer, metrics

Curves = Mapping[str, Sequence[float]]

FIVE: Curves = {
    "a": [3.0, 2.0, 1.0],
    "b": [3.1, 2.1, 1.1],
    "c": [3.2, 2.2, 1.2],
    "d": [3.3, 2.3, 1.3],
    "e": [3.4, 2.4, 1.4],
}


def sweep_of(directory: Path, curves: Curves, every: int = 10) -> Path:
    """A sweep whose jobs were evaluated every ``every`` steps, and were logged between."""
    jobs = [{"folder": folder, "overrides": [], "config": {}} for folder in {**curves, "job": []}]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sweep.json").write_text(json.dumps({"overrides": [], "jobs": jobs}), encoding="utf-8")
    for folder, values in curves.items():
        lines = [{"step": 1, "train/loss": 9.0}]
        lines += [{"step": every * n, "val/loss": 5.0, "val/bits_per_byte": value} for n, value in enumerate(values, 1)]
        (directory / folder).mkdir()
        (directory / folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return directory


def verdict(
    directory: Path, step: int, value: float, rule: Literal["median", "asha"] = "median", warmup: int = 0, job: str = "job"
) -> str | None:
    return Pruner(directory / job, rule, warmup).verdict(step, value)


def test_worse_than_the_median_stops_and_at_or_below_it_goes_on(tmp_path: Path) -> None:
    sweep_of(tmp_path, FIVE)
    assert verdict(tmp_path, 20, 2.2) is None
    assert verdict(tmp_path, 20, 1.0) is None
    said = verdict(tmp_path, 20, 2.2001)
    assert said is not None
    assert all(part in said for part in ("step 20", "2.2001", "2.2000", "5 siblings", "trainer.prune=null"))


def test_siblings_count_at_the_same_step_alone(tmp_path: Path) -> None:
    sweep_of(tmp_path, {**FIVE, "c": [3.2], "d": [3.3], "e": []})
    assert verdict(tmp_path, 20, 9.0) is None, "two have come so far"
    assert verdict(tmp_path, 10, 9.0) is not None
    assert verdict(tmp_path, 15, 9.0) is None


@pytest.mark.parametrize("count", range(6))
def test_nobody_is_judged_by_too_few(tmp_path: Path, count: int) -> None:
    sweep_of(tmp_path, dict(list(FIVE.items())[:count]))
    assert (verdict(tmp_path, 10, 9.0) is None) == (count < LEAST)


def test_nothing_happens_before_the_warmup_nor_outside_of_a_sweep(tmp_path: Path) -> None:
    sweep_of(tmp_path, FIVE)
    assert verdict(tmp_path, 20, 9.0, warmup=21) is None
    assert verdict(tmp_path, 20, 9.0, warmup=20) is not None
    (tmp_path / "sweep.json").unlink()
    assert verdict(tmp_path, 20, 9.0) is None


@pytest.mark.parametrize("rule", ["median", "asha"])
def test_the_best_so_far_never_stops_however_it_does_now(tmp_path: Path, rule: Literal["median", "asha"]) -> None:
    sweep_of(tmp_path, {**FIVE, "job": [0.5]})
    assert verdict(tmp_path, 20, 9.0, rule, warmup=20) is None, "its own best is the best of all"
    (tmp_path / "a" / "metrics.jsonl").write_text(json.dumps({"step": 20, "val/bits_per_byte": 0.4}) + "\n")
    assert verdict(tmp_path, 20, 9.0, rule, warmup=20) is not None


def test_jobs_on_other_text_are_no_siblings(tmp_path: Path) -> None:
    sweep_of(tmp_path, FIVE)
    listing = json.loads((tmp_path / "sweep.json").read_text())
    for job in listing["jobs"]:
        job["config"] = {"data": {"path": "hard" if job["folder"] in "abc" else "easy"}, "trainer": {}}
    (tmp_path / "sweep.json").write_text(json.dumps(listing))
    assert verdict(tmp_path, 20, 9.0) is None, "two are left"
    listing["jobs"][0]["config"]["data"]["path"] = "easy"
    (tmp_path / "sweep.json").write_text(json.dumps(listing))
    assert "3 siblings" in (verdict(tmp_path, 20, 9.0) or "")


@pytest.mark.parametrize(
    "text", [b"\0\0\0", b'{"val/bits_per_byte": 1}\n', b'["val/bits_per_byte"]\n', b"\xff val/bits_per_byte\n"]
)
def test_the_trouble_of_a_sibling_is_not_that_of_the_job(tmp_path: Path, text: bytes) -> None:
    sweep_of(tmp_path, FIVE)
    (tmp_path / "a" / "metrics.jsonl").write_bytes(text)
    assert "4 siblings" in (verdict(tmp_path, 20, 9.0) or "")
    (tmp_path / "sweep.json").write_bytes(text)
    assert verdict(tmp_path, 20, 9.0) is None


def test_what_a_sibling_is_just_writing_is_passed_over(tmp_path: Path) -> None:
    sweep_of(tmp_path, FIVE)
    with (tmp_path / "a" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "val/bits_per_byte": 0.')
    assert verdict(tmp_path, 20, 9.0) is not None
    (tmp_path / "b" / "metrics.jsonl").write_text('{"step": 20, "val/bits_per_byte": null}\n')
    assert "4 siblings" in (verdict(tmp_path, 20, 9.0) or "")


def test_asha_judges_at_its_rungs_alone_and_keeps_a_third(tmp_path: Path) -> None:
    curves = {
        name: [value - n / 10 for n in range(9)] for name, value in zip("abcde", (3.0, 3.1, 3.2, 3.3, 3.4), strict=True)
    }
    sweep_of(tmp_path, {**curves, "job": []})
    own = tmp_path / "job" / "metrics.jsonl"
    for step in range(10, 100, 10):
        value = 3.15 - (step - 10) / 100
        verdicts = verdict(tmp_path, step, value, "asha", warmup=10)
        assert (verdicts is not None) == (step in (10, 30, 90)), "third of six: a third of them are two"
        assert verdict(tmp_path, step, value - 0.05, "asha", warmup=10) is None, "as good as the second"
        with own.open("a") as file:
            file.write(json.dumps({"step": step, "val/bits_per_byte": value}) + "\n")


def test_asha_judges_at_the_first_evaluation_beyond_a_rung(tmp_path: Path) -> None:
    sweep_of(tmp_path, {**FIVE, "job": [3.5, 3.5]})
    assert verdict(tmp_path, 30, 3.5, "asha", warmup=25) is not None
    assert verdict(tmp_path, 30, 3.5, "asha", warmup=15) is None, "the rung at 15 was judged at 20, the next is 45"


def in_a_sweep(directory: Path, others: float, *overrides: str) -> Trainer:
    """A trainer of the job ``job``, whose five siblings found ``others`` at every step."""
    sweep_of(directory, {**{name: [others] * 10 for name in "abcde"}, "job": []}, every=5)
    return make_trainer(directory / "job", "trainer.eval_every=5", *overrides)


def test_a_pruned_job_stops_there_saves_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    trainer = in_a_sweep(tmp_path, 0.01, "trainer.prune=median", "trainer.prune_warmup=8")
    trainer.samples = lambda: pytest.fail("nobody reads samples of a pruned job")
    result = trainer.fit()
    assert (result.step, result.pruned, result.stopped_early) == (10, True, False), "5 is within the warmup"
    assert "step 10: pruned" in caplog.text
    saved = load_checkpoint(tmp_path / "job" / "checkpoints" / "last.safetensors")
    assert (saved.state["step"], saved.state["pruned"]) == (10, True)


def test_a_job_that_does_better_and_one_that_is_not_to_be_pruned_go_on(tmp_path: Path) -> None:
    good = in_a_sweep(tmp_path / "good", 99.0, "trainer.prune=median")
    assert (good.fit().pruned, good.progress.step) == (False, 20)
    off = in_a_sweep(tmp_path / "off", 0.01, "trainer.prune=null")
    assert (off.fit().pruned, off.progress.step) == (False, 20)
    curves = (metrics(tmp_path / name / "job") for name in ("good", "off"))
    assert len({tuple(line["train/loss"] for line in curve if "train/loss" in line) for curve in curves}) == 1, (
        "looking at siblings changes no loss"
    )


def test_a_pruned_job_is_over_when_resumed_unless_it_is_told_not_to_be_pruned(tmp_path: Path) -> None:
    in_a_sweep(tmp_path, 0.01, "trainer.prune=median").fit()
    last = tmp_path / "job" / "checkpoints" / "last.safetensors"
    again = make_trainer(tmp_path / "job", "trainer.eval_every=5", "trainer.prune=median")
    again.restore(last)
    assert (again.fit().pruned, again.progress.step) == (True, 10)
    on = make_trainer(tmp_path / "job", "trainer.eval_every=5", "trainer.prune=null")
    on.restore(last)
    assert (on.fit().pruned, on.progress.step) == (False, 20)
