"""The commands in a record: those that were typed, whatever made the runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cai.comparison.commands import training_commands
from cai.comparison.finding import find_runs
from cai.comparison.runs import read_runs
from cai.tuning.folder import Question
from tests.comparison.making import FACTS, make_run, make_sweep

pytestmark = pytest.mark.usefixtures("scratch")


def commands(*words: str) -> list[str]:
    return [" ".join(command) for command in training_commands(read_runs(find_runs(words)))]


def own(*packages: str) -> dict[str, object]:
    return FACTS["code"] | {"own": dict.fromkeys(packages, "0123")}


def facts_of_sweep(**changed: object) -> None:
    path = Path("sw/sweep.json")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changed), encoding="utf-8")


def test_single_runs_have_commands_of_their_own() -> None:
    make_run(Path("a"), overrides=["data=text", "data.path=내 글.txt"], config_dir="my conf")
    make_run(Path("b"), "seed=2", overrides=["seed=2"], code=own("my_model"))
    assert commands("a", "b") == [
        "cai train data=text data.path=내 글.txt --config-dir my conf",
        "cai train seed=2 trust=my_model",
    ]


def test_a_sweep_has_one_with_all_that_was_trusted() -> None:
    jobs = make_sweep(Path("sw"), [["seed=1"], ["seed=2"], ["seed=3"]])
    facts_of_sweep(overrides=["seed=1,2,3"], config_dir="conf")
    make_run(jobs[0], "seed=1", code=own("mine"))
    make_run(jobs[1], "seed=2", code=own("mine", "yours"))
    make_run(Path("sw/by_hand"), overrides=["seed=9"])
    assert commands("sw") == ["cai train -m seed=1,2,3 --config-dir conf trust=mine,yours", "cai train seed=9"]


@pytest.mark.parametrize("content", ["{", "[]", '{"jobs": []}', "[" * 100_000])
def test_without_a_list_that_can_be_read_each_job_has_its_own(content: str) -> None:
    jobs = make_sweep(Path("sw"), [["seed=1"], ["seed=2"]])
    for number, job in enumerate(jobs, 1):
        make_run(job, f"seed={number}", overrides=[f"seed={number}"])
    Path("sw/sweep.json").write_text(content, encoding="utf-8")
    assert commands("sw") == ["cai train seed=1", "cai train seed=2"]


def test_a_study_is_a_study() -> None:
    make_sweep(Path("sw"), [["optimizer.lr=0.01"], ["optimizer.lr=0.02"]])
    facts_of_sweep(overrides=["model=gpt2", "optimizer.lr=interval(0.01,0.1)"], config_dir="conf")
    question = Question({"optimizer.lr": "interval(0.01,0.1)"}, "val/loss", "minimize", {"seed": 1})
    question.save(Path("sw"))
    asked = "cai tune model=gpt2 optimizer.lr=interval(0.01,0.1) tune.metric=val/loss tune.direction=minimize tune.trials=2"
    assert commands("sw") == [f"{asked} tune.study=sw --config-dir conf"]
    Path("sw").rename(f"tune_{question.fingerprint}")  # as its config names it
    assert commands(f"tune_{question.fingerprint}") == [f"{asked} --config-dir conf"]
    Path(f"tune_{question.fingerprint}/tune.json").write_text("{")
    (command,) = commands(f"tune_{question.fingerprint}")
    assert command == "cai tune model=gpt2 optimizer.lr=interval(0.01,0.1) --config-dir conf"


def test_what_going_on_has_changed_is_a_command() -> None:
    twice = [
        {"step": 2, "changed": {}, "other": {}},
        {"step": 4, "changed": {"trainer.max_steps": 20, "trainer.prune": None}},
        {"step": 9, "changed": {"trainer.max_steps": 40}},
    ]
    make_run(Path("a"), overrides=["seed=1"], resumed=twice, code=own("mine"))
    assert commands("a") == [
        "cai train seed=1 trust=mine",
        "cai resume a trainer.max_steps=20 trainer.prune=null trust=mine",
        "cai resume a trainer.max_steps=40 trust=mine",
    ]


def test_a_sweep_that_was_gone_on_with_as_a_whole_has_one_command_for_it() -> None:
    jobs = make_sweep(Path("sw"), [["seed=1"], ["seed=2"]])
    longer = [{"step": 6, "changed": {"trainer.max_steps": 20}}]
    make_run(jobs[0], "seed=1", resumed=longer)
    other = make_run(jobs[1], "seed=2")
    assert commands("sw") == ["cai train -m", "cai resume sw/0_job trainer.max_steps=20"]
    facts = json.loads((other / "run.json").read_text(encoding="utf-8"))
    (other / "run.json").write_text(json.dumps(facts | {"resumed": longer}), encoding="utf-8")
    assert commands("sw") == ["cai train -m", "cai resume sw trainer.max_steps=20"]
