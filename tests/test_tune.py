"""``cai tune`` as it is typed: what it runs, what it refuses, how it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cai.cli import main
from cai.composition import HydraSession
from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.errors import CaiError
from cai.interruption import Interrupted
from cai.overrides import parse_arguments
from cai.runs import lock_of, read_run
from cai.sweeps import Sweep
from cai.tune_space import read_search
from cai.tuning.space import Choice, Dimension, Real, Whole
from tests.conftest import TINY

pytestmark = pytest.mark.usefixtures("scratch")

LR = "optimizer.lr=tag(log,interval(1e-3,1e-1))"
SPACE = (LR, "model.n_layer=choice(1,2)")
Score = Callable[[Mapping[str, Any]], Iterator[tuple[int, float]]]
"""From a config to step and bits per byte of each evaluation; it may raise, or return at any of them."""


def steady(config: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
    """Lower with a rate closer to 0.01 and with more layers."""
    for step in (0, 500, 1000):
        yield step, 9.0 - step / 1000 + abs(config["optimizer"]["lr"] - 0.01) - config["model"]["n_layer"] / 100


def raising(error: BaseException | type[BaseException]) -> Score:
    def score(_: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
        raise error
        yield

    return score


class FakeJob:
    """In the place of a process: takes one step towards its end whenever somebody looks."""

    score: Score = staticmethod(steady)
    begun: list[tuple[str, ...]]
    at_once: list[int]
    alive = 0

    def __init__(self, sweep: Sweep, number: int, words: tuple[str, ...], **_: Any) -> None:
        self.number, self.label, self.folder = number, _["label"], sweep.folder(number)
        self.folder.mkdir(exist_ok=True)
        self.words, self.code = words, 0
        self.steps = type(self).score(sweep.jobs[number].config)
        self.over = False
        type(self).begun.append(sweep.jobs[number].overrides)
        type(self).alive += 1
        type(self).at_once.append(type(self).alive)
        (self.folder / "metrics.jsonl").write_text("")
        self.write("interrupted", max_steps=1000)  # nobody holds its lock

    def write(self, status: str, **facts: Any) -> None:
        (self.folder / "run.json").write_text(json.dumps({"status": status, "started": "", **facts}))

    def ended(self) -> bool:
        if not self.over:
            try:
                step, value = next(self.steps)
                with (self.folder / "metrics.jsonl").open("a") as file:
                    file.write(json.dumps({"step": step, "val/bits_per_byte": value}) + "\n")
            except StopIteration:
                self.end("finished", 0)
            except (CaiError, RuntimeError) as error:
                self.end("failed", 1, error=str(error))
            except ProcessLookupError:
                self.end("interrupted", -signal.SIGKILL)
        return self.over

    def end(self, status: str, code: int, **facts: Any) -> None:
        self.over, self.code = True, code
        type(self).alive -= 1
        self.write(status, max_steps=1000, **facts)

    def ask_to_stop(self, number: int) -> None:
        if not self.over:
            self.end("interrupted", 128 + number)

    def close(self) -> int:
        if not self.over:
            self.ask_to_stop(signal.SIGTERM)
        return self.code


@contextmanager
def pretending() -> Iterator[type[FakeJob]]:
    """Inside, trials only pretend to train."""
    kind = type("Job", (FakeJob,), {"begun": [], "at_once": []})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cai.jobs.JobProcess", kind)
        patch.setattr("cai.tune_trials.PAUSE", 0.0)
        yield kind


@pytest.fixture
def jobs() -> Iterator[type[FakeJob]]:
    with pretending() as kind:
        yield kind


def tune(*words: str, space: tuple[str, ...] = SPACE, trials: int = 4, name: str | None = "x") -> int:
    study = [f"tune.study={name}"] if name else []
    return main(["tune", *TINY, *space, f"tune.trials={trials}", "tune.startup=2", *study, *words])


STUDY = Path("outputs/run/tune_x")


def statuses(study: Path = STUDY) -> list[str]:
    sweep = Sweep.load(study)
    return [sweep.status(number) for number in range(len(sweep.jobs))]


def overrides(study: Path = STUDY) -> list[tuple[str, ...]]:
    return [job.overrides for job in Sweep.load(study).jobs]


@pytest.fixture(scope="module")
def in_one_go(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, ...]]:
    """What a study of seven trials tries that nobody interrupts."""
    with pretending(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        assert tune(trials=7) == 0
        return overrides()


def test_every_trial_is_a_run_of_a_sweep_and_the_best_is_linked(
    jobs: type[FakeJob], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune() == 0
    sweep = Sweep.load(STUDY)
    assert statuses() == ["finished"] * 4
    assert [job.folder.partition("_")[0] for job in sweep.jobs] == ["0", "1", "2", "3"]
    assert all(job.folder.endswith(f"_model.n_layer-{job.config['model']['n_layer']}") for job in sweep.jobs)
    for number, job in enumerate(sweep.jobs):
        config = sweep.config(number, TrainConfig)
        assert job.overrides == (f"optimizer.lr={config.optimizer.lr}", f"model.n_layer={config.model.n_layer}")  # type: ignore[attr-defined]
        assert config.trainer.max_steps == 6
    assert sweep.overrides[-2:] == SPACE
    assert set(sweep.overrides[:-2]) == {word for word in TINY if not word.startswith("model.n_layer")}

    def score(job: Any) -> float:
        return list(steady(job.config))[-1][1]

    best = min(sweep.jobs, key=score)
    assert os.readlink(STUDY / "best") == best.folder
    said = capsys.readouterr().out
    rows = [line.split() for line in said.split("at step")[1].splitlines()[1:5]]
    assert [float(row[2]) for row in rows] == [pytest.approx(value, abs=1e-4) for value in sorted(map(score, sweep.jobs))]
    assert rows[0][0] == best.folder.partition("_")[0]
    assert "trials      4: 4 finished" in said
    command = next(line.strip() for line in said.splitlines() if line.startswith("  cai train"))
    assert command.endswith(" ".join(best.overrides))
    assert "tune." not in command
    assert f"cai compare {STUDY}" in said


def test_the_printed_commands_do_what_they_say(jobs: type[FakeJob], capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    assert tune("name=이 름", name=None) == 0
    said = capsys.readouterr().out.splitlines()
    train, again = (
        next(shlex.split(line) for line in said if line.startswith(f"  cai {verb}")) for verb in ("train", "tune")
    )
    (study,) = Path("outputs/이 름").iterdir()
    assert study.name.startswith("tune_")
    with HydraSession("train", parse_arguments(train[2:])) as session:
        config = session.jobs(TrainConfig)[0].config
    best = os.readlink(study / "best")
    sweep = Sweep.load(study)
    (number,) = (number for number, job in enumerate(sweep.jobs) if job.folder == best)
    assert config == sweep.config(number, TrainConfig)
    assert again[-1] == "tune.trials=8"
    assert main(again[1:]) == 0
    assert len(overrides(study)) == 8


def test_the_same_command_does_nothing_more_and_more_trials_are_those_of_one_go(
    jobs: type[FakeJob], in_one_go: list[tuple[str, ...]]
) -> None:
    assert tune(trials=3) == 0
    before = {path: path.stat().st_mtime_ns for path in STUDY.rglob("run.json")}
    assert tune(trials=3) == 0
    assert len(jobs.begun) == 3
    assert tune(trials=7) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert overrides() == in_one_go
    assert len(jobs.begun) == 7


def test_an_interrupted_trial_is_gone_on_with_first(
    jobs: type[FakeJob], in_one_go: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    def stop_in_the_third(config: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
        for step, value in steady(config):
            if len(jobs.begun) == 3 and step == 500:
                raise Interrupted(signal.SIGTERM)
            yield step, value

    jobs.score = staticmethod(stop_in_the_third)  # type: ignore[assignment]
    assert tune(trials=5) == 143
    assert statuses() == ["finished", "finished", "interrupted"]
    said = capsys.readouterr().out
    assert "2 finished, 1 open" in said
    assert "tune.trials=5" in said.split("Go on with:")[1]
    third = jobs.begun[2]
    jobs.score = staticmethod(steady)  # type: ignore[assignment]
    assert tune(trials=5) == 0
    assert jobs.begun[3] == third
    assert statuses() == ["finished"] * 5
    assert overrides() == in_one_go[:5]


@pytest.mark.parametrize("place", ["cai.sweeps.Sweep.save", "cai.tune_trials.Trials._begin", "cai.tune_trials.Trials._tell"])
def test_killed_anywhere_it_ends_as_if_it_had_not_been(
    place: str, jobs: type[FakeJob], in_one_go: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    calls = []

    def die(*_: object) -> None:
        calls.append(place)
        if len(calls) == 2:  # the first save is that of the empty list
            raise Killed
        original(*_)

    module, _, attribute = place.rpartition(".")
    owner, kind = (sys.modules[module.rpartition(".")[0]], module.rpartition(".")[2])
    original = getattr(getattr(owner, kind), attribute)
    with monkeypatch.context() as patch:
        patch.setattr(getattr(owner, kind), attribute, die)
        with pytest.raises(Killed):
            tune(trials=3)
    assert tune(trials=3) == 0
    assert statuses() == ["finished"] * 3
    assert overrides() == in_one_go[:3]


def test_what_was_completed_by_resume_is_not_run_again(jobs: type[FakeJob]) -> None:
    def stop(config: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
        yield 0, 2.0
        raise KeyboardInterrupt

    jobs.score = staticmethod(stop)  # type: ignore[assignment]
    assert tune(trials=2) == 130
    sweep = Sweep.load(STUDY)
    (sweep.folder(0) / "run.json").write_text(json.dumps({"status": "finished", "steps": 6}))
    jobs.score = staticmethod(steady)  # type: ignore[assignment]
    assert tune(trials=2) == 0
    assert len(jobs.begun) == 2
    assert os.readlink(STUDY / "best") == sweep.jobs[0].folder


def test_a_trial_that_another_process_runs_is_left_alone(jobs: type[FakeJob], capsys: pytest.CaptureFixture[str]) -> None:
    jobs.score = staticmethod(raising(KeyboardInterrupt))  # type: ignore[assignment]
    assert tune(trials=2) == 130
    folder = Sweep.load(STUDY).folder(0)
    (folder / "run.json").write_text(json.dumps({"status": "running"}))
    with lock_of(folder).acquire(timeout=0):
        assert tune(trials=2) == 2
    assert f"{folder} must be free" in capsys.readouterr().err


def test_trials_that_fail_do_not_end_the_study(jobs: type[FakeJob], capsys: pytest.CaptureFixture[str]) -> None:
    def fail_or_not(config: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
        number = len(jobs.begun)
        if number == 1:
            raise RuntimeError("the loss is not finite")
        if number == 2:
            raise ProcessLookupError  # the process is killed
        yield from steady(config) if number != 3 else ()  # nothing is recorded

    jobs.score = staticmethod(fail_or_not)  # type: ignore[assignment]
    assert tune(trials=5) == 0
    said = capsys.readouterr().out
    assert "trials      5: 3 failed, 2 finished" in said
    for reason in ("the loss is not finite", "was killed (SIGKILL)", "metrics.jsonl has no val/bits_per_byte"):
        assert reason in said.split("at step")[1]
    assert tune(trials=5) == 0
    assert len(jobs.begun) == 5, "none of them is run again"


def test_no_trial_that_is_well_is_exit_code_1(jobs: type[FakeJob]) -> None:
    jobs.score = staticmethod(raising(RuntimeError("boom")))  # type: ignore[assignment]
    assert tune(trials=2) == 1
    assert statuses() == ["failed", "failed"]
    assert not (STUDY / "best").exists()


def test_fail_fast_ends_it(jobs: type[FakeJob], capsys: pytest.CaptureFixture[str]) -> None:
    jobs.score = staticmethod(raising(RuntimeError("boom")))  # type: ignore[assignment]
    assert tune("sweep.fail_fast=true", trials=4) == 1
    assert statuses() == ["failed"]
    assert "sweep.fail_fast: trial 0 failed" in capsys.readouterr().out


def test_points_that_make_no_valid_config_are_passed_over_and_do_not_count(
    jobs: type[FakeJob], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(space=("model.n_head=int(interval(1,16))", LR), trials=4) == 0  # of 16
    assert {job.config["model"]["n_head"] for job in Sweep.load(STUDY).jobs} <= {1, 2, 4, 8, 16}
    assert statuses() == ["finished"] * 4
    said = capsys.readouterr().out
    assert "trials      4: 4 finished; " in said
    assert "points passed over" in said


def test_a_space_without_a_valid_point_is_a_mistake(jobs: type[FakeJob], capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(space=("model.n_head=choice(3,5,7)",)) == 2
    said = capsys.readouterr().err
    assert "must have a point that makes a valid config" in said
    assert "model.n_embd must be a multiple" in said
    assert jobs.begun == []


def test_no_point_is_tried_twice_and_a_space_that_is_used_up_ends_it(
    jobs: type[FakeJob], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(space=("model.n_layer=1,2", "seed=range(1,4)"), trials=50) == 0
    assert len(set(jobs.begun)) == len(jobs.begun) == 6
    said = capsys.readouterr().out
    assert "no other point was found" in said
    assert "cai tune" not in said.split("Go on with:")[1]
    assert tune(space=("model.n_layer=1,2", "seed=range(1,4)"), trials=60) == 0
    assert len(jobs.begun) == 6


def test_a_bad_trial_is_stopped_and_counts_as_pruned(jobs: type[FakeJob], capsys: pytest.CaptureFixture[str]) -> None:
    def worse_and_worse(config: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
        number = len(jobs.begun)
        for step in (0, 500, 1000):
            yield step, 1.0 + number / 10

    jobs.score = staticmethod(worse_and_worse)  # type: ignore[assignment]
    prune = ("tune.prune_startup=2", "trainer.prune_warmup=10")
    assert tune(*prune, trials=4) == 0
    assert statuses() == ["finished", "finished", "pruned", "pruned"]
    sweep = Sweep.load(STUDY)
    facts = read_run(sweep.folder(2))
    assert facts["pruned"] == "pruned at step 500, as val/bits_per_byte 1.3000 is worse than the median of others"
    assert len((sweep.folder(2) / "metrics.jsonl").read_text().splitlines()) == 2, "it did not come to its end"
    said = capsys.readouterr().out
    assert "[trial 2] pruned at step 500" in said
    assert "trials      4: 2 finished, 2 pruned" in said
    assert tune(*prune, trials=4) == 0
    assert len(jobs.begun) == 4, "pruned counts as done"
    assert tune(*prune, "tune.prune=null", trials=4, name="unpruned") == 0
    assert statuses(STUDY.with_name("tune_unpruned")) == ["finished"] * 4


def test_a_trial_at_its_last_evaluation_is_left_to_end(jobs: type[FakeJob]) -> None:
    def bad_at_the_end(config: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
        yield 1000, float(len(jobs.begun))
        yield 1000, float(len(jobs.begun))

    jobs.score = staticmethod(bad_at_the_end)  # type: ignore[assignment]
    assert tune("tune.prune_startup=1", "trainer.prune_warmup=0", trials=4) == 0
    assert statuses() == ["finished"] * 4


def test_trials_run_side_by_side(jobs: type[FakeJob]) -> None:
    assert tune("tune.jobs=3", trials=5) == 0
    assert max(jobs.at_once) == 3
    assert statuses() == ["finished"] * 5
    assert Sweep.load(STUDY).at_once == 3


def test_more_right_answers_are_better(jobs: type[FakeJob], monkeypatch: pytest.MonkeyPatch) -> None:
    original = FakeJob.end

    def end(self: FakeJob, status: str, code: int, **facts: Any) -> None:
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": 1000, "answers/tel": [0.2, 0.9, 0.5][self.number]}) + "\n")
        original(self, status, code, **facts)

    monkeypatch.setattr(FakeJob, "end", end)
    assert tune("tune.metric=answers/tel", "trainer.answers=5", trials=3) == 0
    assert os.readlink(STUDY / "best") == Sweep.load(STUDY).jobs[1].folder


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["tune must be told what to search", "Try: cai tune 'optimizer.lr=tag(log,"]),
        (["optimizer.lrr=interval(1,2)"], ["`optimizer.lrr` must be an option of optimizer", "Did you mean optimizer.lr?"]),
        (["optimiser.lr=1,2"], ["`optimiser`", "no such option"]),
        (["schedule=cosine,linar"], ["`schedule` must be one of", "but is linar. Did you mean linear?"]),
        (["optimizer.lr=0.1,fast"], ["`optimizer.lr` must be a number, but is 'fast'."]),
        (["optimizer.lr=interval(-1,1)"], ["`optimizer.lr` must be greater than 0.0, but is -1.0."]),
        (["model.n_layer=interval(0.5,3)"], ["`model.n_layer` must be a whole number, but is 0.5."]),
        (["optimizer.lr=interval(2,1)"], ["`optimizer.lr` must have two ends, the lower one first, but is interval(2,1)."]),
        (["optimizer.lr=tag(log,interval(0,1))"], ["`optimizer.lr` must begin above 0"]),
        (["optimizer.lr=tag(fast,interval(1,2))"], ["no tag but log (it has fast)"]),
        (["seed=tag(log,choice(1,2))"], ["`seed` must be an interval where it is tagged log"]),
        (["seed=range(5,1)"], ["`seed` must hold a number"]),
        (["seed=range(1,5,0)"], ["`seed` must be range(start,stop,step) with a step other than 0"]),
        (["tune.trials=1,2"], ["`tune.trials` must have one value"]),
        (["sweep.retry=true,false"], ["`sweep.retry` must have one value"]),
        ([LR, "tune.trial=3"], ["`tune.trial`", "Did you mean tune.trials?"]),
        ([LR, "tune.trials=0"], ["`tune.trials` must be greater than 0, but is 0."]),
        ([LR, "tune.metric=val/bpb"], ["`tune.metric` must be one of val/bits_per_byte, val/loss, ", "but is val/bpb."]),
        ([LR, "tune.metric=answers/tel"], ["tune.metric=answers/tel needs answers, but trainer.answers is 0."]),
        ([LR, "tune.metric=val/loss", "tokenizer.vocab_size=400,500"], ["`tune.metric` must be val/bits_per_byte where"]),
        ([LR, "tune.study=a/b"], ["`tune.study` must be the end of a folder's name", "'a/b'"]),
        ([LR, "tune.prune=asha"], ["`tune.prune` must be one of 'median', but is 'asha'."]),
        ([LR, "-m"], ["`-m` must be left out"]),
        ([LR, "hydra/launcher=basic"], ["`hydra/launcher` must be left out", "tune.jobs"]),
        ([LR, "trainer.max_step=3", "seed=-1"], ["`trainer.max_step`", "`seed` must be at least 0"]),
        ([LR, "tune.space={seed: [1, 2]}"], ["`seed` must have several values, but is [1, 2].", "choice(a,b)"]),
        ([LR, "tune.space={seed: 'choice('}"], ["`seed` must have several values"]),
        ([LR, "data=text", "data.path=nowhere.txt"], ["data.path must name", "nowhere.txt"]),
        (["seed=1,2,x", "optimizer.lr=a,b"], ["`seed` must be a whole number", "`optimizer.lr` must be a number"]),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_made(
    words: list[str], parts: list[str], jobs: type[FakeJob], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "trainer.answers=0", *words]) == 2
    said = capsys.readouterr()
    for part in parts:
        assert part in said.err, said.err
    assert "Traceback" not in said.err
    assert (said.out, jobs.begun, list(Path.cwd().iterdir())) == ("", [], [])


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["tune", LR]) == 1
    assert capsys.readouterr().err.strip() == 'cai tune needs Optuna, which is not installed. Try: pip install "cai[sweep]"'


def space_of(*words: str) -> dict[str, Dimension]:
    with HydraSession("tune", parse_arguments([*TINY, *words])) as session:
        return dict(read_search(session).space)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (LR, Real(1e-3, 1e-1, log=True)),
        ("trainer.grad_clip=interval(1,4)", Real(1.0, 4.0)),
        ("model.n_layer=interval(1,4)", Whole(1, 4)),
        ("model.n_layer=tag(log,int(interval(1,4)))", Whole(1, 4, log=True)),
        ("trainer.max_epochs=null,2", Choice(("null", "2"))),
        ("model.n_head=interval(1,4)", Whole(1, 4)),
        ("trainer.eval_max_tokens=interval(100,200)", Whole(100, 200)),
        ("model.n_layer=range(1,4)", Whole(1, 3)),
        ("schedule=cosine,linear", Choice(("cosine", "linear"))),
        ("optimizer=glob([a*,l*])", Choice(("adamw", "lion"))),
        ("+model.n_layer=1,2", Choice(("1", "2"))),
        ("tune.space.seed=interval(1,4)", Whole(1, 4)),
        ("tune.space={optimizer: {weight_decay: 'range(1,4)'}}", Whole(1, 3)),
    ],
)
def test_hydras_sweep_syntax_is_a_space(word: str, expected: Dimension) -> None:
    words = ["trainer.max_steps=null"] if "max_epochs" in word else []
    assert list(space_of(word, *words).values()) == [expected]


def test_an_option_may_be_that_of_a_group_which_is_searched_too() -> None:
    words = ("schedule=linear,wsd", "schedule.decay_ratio=interval(0.1,0.5)", "schedule.warmup_steps=2")
    assert space_of(*words)["schedule.decay_ratio"] == Real(0.1, 0.5)


def test_the_rest_may_need_what_is_searched() -> None:
    assert space_of("model.n_embd=30", "model.n_head=choice(3,5)").keys() == {"model.n_head"}


EXPERIMENT = """\
# @package _global_
# What to search.
optimizer:
  weight_decay: 0.05
tune:
  trials: 3
  study: yaml
  space:
    optimizer.lr: tag(log, interval(1e-3, 1e-1))
    model:
      n_layer: choice(1,2)
    seed: range(1,4)
"""


def test_the_space_may_stand_in_a_yaml_and_what_is_typed_counts_before_it(
    jobs: type[FakeJob], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("my_conf/experiment").mkdir(parents=True)
    Path("my_conf/experiment/search.yaml").write_text(EXPERIMENT)
    tiny = [word for word in TINY if not word.startswith("model.n_layer")]
    words = ["tune", *tiny, "--config-dir", "my_conf", "experiment=search", "seed=5", "model.n_layer=choice(1,2,3)"]
    assert main(words) == 0
    sweep = Sweep.load(Path("outputs/run/tune_yaml"))
    assert len(sweep.jobs) == 3
    assert {job.config["seed"] for job in sweep.jobs} == {5}
    assert {job.config["optimizer"]["weight_decay"] for job in sweep.jobs} == {0.05}
    assert all([word.partition("=")[0] for word in job.overrides] == ["optimizer.lr", "model.n_layer"] for job in sweep.jobs)
    assert "model.n_layer=choice(1,2,3)" in sweep.overrides
    assert "tune" not in sweep.jobs[0].config
    said = capsys.readouterr().out
    assert "cai reproduce outputs/run/tune_yaml/best --config-dir my_conf" in said, "train would not take tune.space"
    Path("my_conf/experiment/search.yaml").write_text(EXPERIMENT.replace("0.05", "0.06"))
    assert main(words) == 2
    assert "`optimizer.weight_decay` must stay 0.05 as in the study, but is 0.06" in capsys.readouterr().err


@pytest.mark.slow
def test_another_question_or_another_process_is_refused(jobs: type[FakeJob], capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(trials=1) == 0
    assert tune("trainer.batch_size=8", trials=2) == 2
    assert "`trainer.batch_size` must stay 4 as in the study, but is 8" in capsys.readouterr().err
    assert tune(space=(LR,), trials=2) == 2
    assert "`model.n_layer` must stay searched over choice(1,2)" in capsys.readouterr().err
    with lock_of(STUDY).acquire(timeout=0):
        assert tune(trials=2) == 2
        assert "another process is at work on that study" in capsys.readouterr().err
    assert len(jobs.begun) == 1
    assert tune("device.precision=bf16", trials=2) == 0, "what computes it may be another"


@pytest.mark.slow
def test_the_same_words_find_their_study_and_others_begin_one(jobs: type[FakeJob]) -> None:
    for words in ([], [], ["device.threads=2"], ["trainer.batch_size=8"]):
        assert tune(*words, trials=1, name=None) == 0
    assert len(list(Path("outputs/run").iterdir())) == 2


@pytest.mark.slow
def test_trust_is_given_to_every_trial(jobs: type[FakeJob], monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, ...]] = []
    original = FakeJob.__init__

    def init(self: FakeJob, sweep: Sweep, number: int, words: tuple[str, ...], **options: Any) -> None:
        given.append(words)
        original(self, sweep, number, words, **options)

    monkeypatch.setattr(FakeJob, "__init__", init)
    assert tune("trust=my_package,other", trials=2) == 0
    assert given == [("trust=my_package,other",)] * 2


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, Path("log.txt").read_text()
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
def test_killed_with_its_trial_it_goes_on_with_it_and_prunes_what_is_worse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In real processes: one trial that is killed and resumed, one that is pruned."""
    tiny = [word for word in TINY if not word.startswith(("trainer.", "schedule."))]
    long = [
        "trainer=smoke",
        "trainer.max_steps=600",
        "trainer.eval_every=100",
        "trainer.save_every=100",
        "trainer.answers=0",
    ]
    space = ["optimizer.lr=choice(0.02,1e-6)", "seed=2"]  # of which the better comes first
    prune = ["tune.prune_startup=1", "trainer.prune_warmup=0", "trainer.eval_max_tokens=256", "schedule.warmup_steps=0"]
    words = [sys.executable, "-m", "cai", "tune", *tiny, *long, *space, *prune, "tune.trials=2", "tune.study=x"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
    with open("log.txt", "wb") as log:
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        try:
            wait_until(lambda: list(STUDY.glob("0_*/checkpoints/last.*")))
        finally:
            process.kill()
            process.wait()
    wait_until(lambda: statuses() == ["interrupted"])  # the job sees that it has no parent any more
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main(words[3:]) == 0
    sweep = Sweep.load(STUDY)
    assert [job.overrides for job in sweep.jobs] == [("optimizer.lr=0.02",), ("optimizer.lr=1e-06",)]
    assert statuses() == ["finished", "pruned"]
    first, other = (read_run(sweep.folder(number)) for number in range(2))
    assert first["resumed"][0]["step"] >= 40
    assert first["steps"] == 600
    assert other["steps"] < 600
    assert other["pruned"].startswith("pruned at step ")
    assert load_config(STUDY / "best" / "config.yaml", TrainConfig).optimizer.lr == 0.02
    assert "1 finished, 1 pruned" in capsys.readouterr().out
    assert main(["resume", str(STUDY)]) == 0
    assert "0 of 2 jobs are to be done" in capsys.readouterr().out
