"""Sweeps: every combination a job, all of them validated before the first, each in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cai.cli import main
from cai.composition import HydraSession, Job
from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.errors import ConfigError, TrainingError
from cai.overrides import parse_arguments
from cai.run import Run
from cai.runs import read_run
from tests.conftest import TINY, run_directories

HERE = "hydra/launcher=basic"
"""Hydra's own launcher, which runs the jobs in this process, where tests can put something in the place of training."""

pytestmark = pytest.mark.usefixtures("scratch")


def jobs_of(*words: str) -> list[Job[TrainConfig]]:
    with HydraSession("train", parse_arguments(words)) as session:
        return session.jobs(TrainConfig)


def swept(*words: str) -> list[tuple[str, ...]]:
    return [job.swept for job in jobs_of(*words)]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[TrainConfig], None]], list[int]]:
    """Puts a function in the place of training; returns the seeds of the jobs that began."""

    def replace(work: Callable[[TrainConfig], None]) -> list[int]:
        seeds: list[int] = []

        def train(config: TrainConfig, run: Run) -> None:
            seeds.append(config.seed)
            work(config)
            run.record(best_val_loss=float(config.seed), best_step=1)

        monkeypatch.setattr("cai.train.train", train)
        return seeds

    return replace


def test_every_combination_is_a_job_with_its_values() -> None:
    jobs = jobs_of("-m", "model.n_layer=4,6", "optimizer.lr=1e-4,3e-4", "model=gpt2_mini", "seed=7")
    values = [(job.config.model.n_layer, job.config.optimizer.lr) for job in jobs]  # type: ignore[attr-defined]
    assert values == [(4, 1e-4), (4, 3e-4), (6, 1e-4), (6, 3e-4)]
    assert [job.swept for job in jobs] == [
        ("model.n_layer=4", "optimizer.lr=0.0001"),
        ("model.n_layer=4", "optimizer.lr=0.0003"),
        ("model.n_layer=6", "optimizer.lr=0.0001"),
        ("model.n_layer=6", "optimizer.lr=0.0003"),
    ]
    assert {job.config.seed for job in jobs} == {7}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["schedule=cosine,linear"], [("schedule=cosine",), ("schedule=linear",)]),
        (["seed=range(1,4)"], [("seed=1",), ("seed=2",), ("seed=3",)]),
        (["seed=choice(5,3)"], [("seed=5",), ("seed=3",)]),
        (["model=glob([gpt2_m*,gpt2_n*])"], [("model=gpt2_mini",), ("model=gpt2_nano",)]),
        (["optimizer.betas=[0.9,0.95],[0.8,0.9]"], [("optimizer.betas=[0.9,0.95]",), ("optimizer.betas=[0.8,0.9]",)]),
        (["trainer.eval_max_tokens=null,64"], [("trainer.eval_max_tokens=null",), ("trainer.eval_max_tokens=64",)]),
        (["name=a,b", "data=text", "data.path=a,b.txt"], [()]),
        (["seed=3"], [()]),
    ],
)
def test_groups_ranges_and_choices_can_be_swept_and_texts_cannot(words: list[str], expected: list[tuple[str, ...]]) -> None:
    assert swept("-m", *words) == expected


def test_a_swept_group_brings_the_options_of_each_choice() -> None:
    cosine, constant = jobs_of("-m", "schedule=cosine,constant", "schedule.warmup_steps=3")
    assert {"min_lr_ratio"} == type(cosine.config.schedule).model_fields.keys() - type(constant.config.schedule).model_fields
    assert cosine.config.schedule.warmup_steps == constant.config.schedule.warmup_steps == 3


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("optimizer.lr=1e-3,3e-3", ["`optimizer.lr`", "1e-3,3e-3", "add -m", "'optimizer.lr=[1e-3,3e-3]'"]),
        ("schedule=cosine,linear", ["`schedule`", "cosine,linear", "add -m"]),
        ("seed=choice(1,2)", ["`seed`", "choice(1,2)", "add -m"]),
    ],
)
def test_several_values_without_the_flag_are_refused_with_the_flag(word: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        jobs_of(word, "trainer.max_step=1")
    first, second = sorted(caught.value.problems, key=lambda problem: "max_step" in problem)
    assert all(part in first for part in parts)
    assert "Did you mean trainer.max_steps?" in second


def test_a_sweep_that_the_sweeper_cannot_expand_is_one_message() -> None:
    with pytest.raises(ConfigError, match=r"(?i)interval"):
        jobs_of("-m", "optimizer.lr=interval(1e-4,1e-3)")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["seed=1,2", "optimizer.lr=1e-3,fast"], ["`optimizer.lr` must be a number, but is 'fast'."]),
        (["experiment=cai_m4,null"], ["`experiment`"]),
        (["seed=1,2", "schedule=cosine,linar"], ["`schedule`", "but is linar", "Did you mean linear?"]),
        (
            ["model=gpt2", "model.n_embd=16,30", "model.n_head=2,4"],
            ["multiple of model.n_head (4), but is 30. Try 28 or 32."],
        ),
        (
            ["model=gpt2", "model.n_head=2,3", "model.n_embd=16,32"],
            ["(3), but is 16. Try 15 or 18.", "(3), but is 32. Try 30 or 33."],
        ),
        (["seed=1,2,3", "trainer.max_step=1"], ["`trainer.max_step`"]),
        (["seed=1,2", "hydra.launcher.jobs=0"], ["`hydra.launcher.jobs` must be a whole number of at least 1, but is 0."]),
        (["seed=1,2", "hydra.launcher.jobs=two"], ["`hydra.launcher.jobs`", "but is two."]),
        (["seed=1,2", "hydra/sweeper=optuna"], ["`hydra/sweeper` must be basic, but is optuna.", "cai tune"]),
        (["seed=1,2", "trainer.prune=median", "trainer.eval_every=0"], ["trainer.prune looks at evaluations and is median"]),
        (["seed=1,2", "device=cpu,cuda"], ["`device.type`", "but is cuda"]),
        (["seed=1,2", "data=text", "data.path=nowhere.txt"], ["data.path must name", "but nowhere.txt does not exist"]),
        (["seed=1,-2", "optimizer.lr=fast", "model=gtp2"], ["`seed`", "`optimizer.lr`", "`model`"]),
    ],
)
def test_a_bad_value_in_any_corner_stops_the_sweep_before_anything_is_made(
    words: list[str],
    parts: list[str],
    trained: Callable[..., list[int]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    began = trained(lambda config: None)
    assert main(["train", "-m", *words]) == 2
    said = capsys.readouterr()
    assert (said.out, began, list(Path.cwd().iterdir())) == ("", [], [])
    for part in parts:
        assert said.err.count(part) == 1
    assert "Traceback" not in said.err


@pytest.mark.slow
def test_each_job_is_a_complete_run_in_a_folder_named_after_its_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *TINY, "-m", "trainer.max_steps=2", "optimizer.betas=[0.9,0.95],[0.8,0.9]", "name=견줌"]) == 0
    jobs = run_directories(Path("outputs/견줌"))
    assert [job.name for job in jobs] == ["0_optimizer.betas-0.9-0.95", "1_optimizer.betas-0.8-0.9"]
    for job, betas in zip(jobs, [(0.9, 0.95), (0.8, 0.9)], strict=True):
        config = load_config(job / "config.yaml", TrainConfig)
        assert config.optimizer.betas == betas  # type: ignore[attr-defined]
        assert read_run(job)["status"] == "finished"
        assert (job / "checkpoints" / "last.safetensors").is_file()
        assert f"optimizer.betas: [{betas[0]}, {betas[1]}]".replace(" ", "") in hydras_record(job).replace(" ", "")
    (sweep,) = Path("outputs/견줌").iterdir()
    listing = json.loads((sweep / "sweep.json").read_text(encoding="utf-8"))
    assert [entry["folder"] for entry in listing["jobs"]] == [job.name for job in jobs]
    assert [entry["config"]["optimizer"]["betas"] for entry in listing["jobs"]] == [[0.9, 0.95], [0.8, 0.9]]
    said = capsys.readouterr().out
    assert "2 of 2 jobs finished" in said
    assert all(job.name in said for job in jobs)


def hydras_record(job: Path) -> str:
    """The overrides that Hydra kept beside a job, as ``key: value``."""
    return (job / ".hydra" / "overrides.yaml").read_text(encoding="utf-8").replace("=", ":")


@pytest.mark.slow
@pytest.mark.parametrize("error", [RuntimeError("붐"), TrainingError("붐")])
def test_a_job_that_fails_is_recorded_and_the_others_finish(
    error: Exception, trained: Callable[..., list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    def work(config: TrainConfig) -> None:
        if config.seed == 2:
            raise error

    began = trained(work)
    assert main(["train", HERE, "-m", "seed=1,2,3"]) == 1
    assert began == [1, 2, 3]
    jobs = run_directories(Path("outputs/run"))
    assert [job.name for job in jobs] == ["0_seed-1", "1_seed-2", "2_seed-3"]
    assert [read_run(job)["status"] for job in jobs] == ["finished", "failed", "finished"]
    facts: dict[str, Any] = read_run(jobs[1])
    assert "붐" in facts["error"]
    assert "Traceback" in facts["traceback"]
    assert "Traceback" in (jobs[1] / "train.log").read_text(encoding="utf-8")
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert str(jobs[1]) in said.out + said.err
    assert "2 of 3 jobs finished" in said.out


@pytest.mark.slow
def test_when_every_job_fails_all_are_recorded(trained: Callable[..., list[int]]) -> None:
    def work(config: TrainConfig) -> None:
        raise ValueError(config.seed)

    assert trained(work) == []
    assert main(["train", HERE, "-m", "seed=1,2", "hydra.sweeper.max_batch_size=1"]) == 1
    assert [read_run(job)["status"] for job in run_directories(Path("outputs"))] == ["failed", "failed"]


@pytest.mark.slow
def test_fail_fast_begins_no_other_job_under_hydras_own_launcher_either(
    trained: Callable[..., list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    def work(config: TrainConfig) -> None:
        if config.seed == 2:
            raise ValueError("붐")

    began = trained(work)
    assert main(["train", HERE, "sweep.fail_fast=true", "-m", "seed=1,2,3"]) == 1
    assert began == [1, 2]
    said = capsys.readouterr()
    assert "1 of 3 jobs finished, 1 failed, 1 waiting" in said.out
    assert "Traceback" not in said.out + said.err


@pytest.mark.slow
def test_ctrl_c_ends_the_sweep_and_keeps_what_is_done(trained: Callable[..., list[int]]) -> None:
    def work(config: TrainConfig) -> None:
        if config.seed == 2:
            raise KeyboardInterrupt

    began = trained(work)
    assert main(["train", HERE, "-m", "seed=1,2,3"]) == 130
    assert began == [1, 2]
    assert [read_run(job)["status"] for job in run_directories(Path("outputs"))] == ["finished", "interrupted"]
    (listing,) = Path("outputs").glob("*/*/sweep.json")
    assert len(json.loads(listing.read_text(encoding="utf-8"))["jobs"]) == 3


@pytest.mark.slow
def test_a_mistake_is_told_when_nothing_is_left_to_be_done_too(
    trained: Callable[..., list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    trained(lambda config: None)
    assert main(["train", HERE, "-m", "seed=1,2"]) == 0
    (sweep,) = Path("outputs/run").iterdir()
    assert main(["resume", str(sweep), "optimizer.lr=1.0"]) == 2
    assert "`optimizer.lr` must stay" in capsys.readouterr().err
    assert main(["resume", str(sweep), "sweep.retry=false"]) == 0
    assert "sweep.retry=false changes nothing, as no job is to be done" in capsys.readouterr().out


@pytest.mark.slow
def test_two_sweeps_of_the_same_second_do_not_share_a_directory(trained: Callable[..., list[int]]) -> None:
    trained(lambda config: None)
    for _ in range(2):
        assert main(["train", HERE, "-m", "seed=1,2"]) == 0
    assert len(list(Path("outputs/run").iterdir())) == 2
    assert len(run_directories(Path("outputs"))) == 4


def test_a_job_records_its_own_values_in_place_of_the_lists_typed() -> None:
    from cai.job import job_overrides

    typed = ["trainer=smoke", "+model.n_layer=4,6", "optimizer.lr=1e-4,3e-4", "name=a,b"]
    assert job_overrides(typed, ["model.n_layer=6", "optimizer.lr=0.0001"]) == [
        "trainer=smoke",
        "model.n_layer=6",
        "optimizer.lr=0.0001",
        "name=a,b",
    ]
