"""The answers at the end of a run: where they are told, and that a run that is stopped there ends like any other."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import cai
from cai.cli import main
from cai.config.roots import TrainConfig
from cai.data.cases import Case, case_of_example
from cai.data.contacts.unseen.examples import unseen_examples
from cai.evaluation import at_end
from cai.evaluation.answering import Answered
from cai.evaluation.at_end import greedy
from cai.evaluation.scores import Scores
from cai.generation import Generator
from cai.recorder import Recorder
from cai.runs import read_run
from cai.trainer.checkpoint import load_checkpoint
from tests.conftest import TINY, run_directories, train_tiny
from tests.processes import exit_code, printed, start, the_run
from tests.resuming import assert_equal_runs, cut_short, facts_of, metrics_of

ASKED = (*TINY, "trainer.answers=4", "model.dropout=0.1")

pytestmark = pytest.mark.usefixtures("scratch")


def answers_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "answers.jsonl").read_text(encoding="utf-8").splitlines()]


def figures_of(line: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in line.items() if key.startswith("answers/")}


def steps_with_answers(run: Path) -> list[float]:
    return [line["step"] for line in metrics_of(run) if figures_of(line)]


def test_answers_are_told_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    run = train_tiny(tiny=ASKED)
    *_, last = metrics_of(run)
    figures = figures_of(last)
    assert last["step"] == 6
    assert {"answers/tel", "answers/all_three", "answers/invented", "answers/closed"} <= figures.keys()
    assert figures_of(read_run(run)["metrics"]) == figures
    assert read_run(run)["metrics"].keys() >= {"val/loss", "train/loss"}

    cases = [case_of_example(example) for example in unseen_examples(4)]
    found = answers_of(run)
    assert [(one["question"], one["document"]) for one in found] == [(case.question, case.document) for case in cases]
    assert all(one["answer"].startswith("요약:\n-") for one in found)
    assert [one["right"].keys() for one in found] == [
        {label for label, value in case.fields.items() if value != "문서에 없음"} for case in cases
    ]
    events = EventAccumulator(str(run)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("answers/tel")] == [(6, figures["answers/tel"])]

    said, logged = capsys.readouterr().out, (run / "train.log").read_text(encoding="utf-8")
    for text in (said, logged):
        assert "answers to 4 questions about organisations never seen:\ntelephone copied right" in text
        assert "4 prompts were longer than the model's window and lost their beginning" in text
    assert "\nanswers   telephone 0.0 %, TEL+ADDR+WEB 0.0 %, invented" in said


def test_none_are_asked_for() -> None:
    run = train_tiny("trainer.answers=0", tiny=ASKED)
    assert steps_with_answers(run) == []
    assert not (run / "answers.jsonl").exists()
    assert "answered" not in facts_of(run)


def test_a_text_has_no_questions(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scratch / "a.txt").write_text("\n\n".join(f"문단 {i}번, 하늘은 푸르다." for i in range(300)), encoding="utf-8")
    run = train_tiny("data=text", "data.path=a.txt", tiny=[word for word in ASKED if not word.startswith("data.")])
    assert steps_with_answers(run) == []
    assert "answers" not in capsys.readouterr().out.split("Go on with")[0]


def test_data_without_an_unseen_world_asks_about_validation_documents(
    scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [{"name": f"기관{i}", "tel": f"02-555-{1000 + i}", "address": f"서울 중구 길 {i}"} for i in range(150)]
    (scratch / "a.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    words = [word for word in ASKED if not word.startswith("data.")]
    run = train_tiny("data=contacts_file", "data.path=a.jsonl", "data.val_ratio=0.2", tiny=words)
    assert "answers to 4 questions about validation documents:" in capsys.readouterr().out
    assert [one["document"] for one in answers_of(run)] == [
        case.document for case in cai.load_config(run / "config.yaml", TrainConfig).data.build().cases(4)
    ]


def seen(patch: pytest.MonkeyPatch, look: Callable[[Generator], object]) -> None:
    """Whatever answers is looked at first."""
    original = at_end.evaluate_answers

    def evaluate_answers(
        generator: Generator, cases: Sequence[Case], seed: int, **options: Any
    ) -> tuple[Scores, list[Answered]]:
        look(generator)
        return original(generator, cases, seed, **options)

    patch.setattr(at_end, "evaluate_answers", evaluate_answers)


def test_the_best_weights_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    weights: list[dict[str, Any]] = []
    seen(monkeypatch, lambda generator: weights.append({k: v.clone() for k, v in generator.model.state_dict().items()}))
    run = train_tiny("optimizer.lr=3.0", "schedule=constant", "schedule.warmup_steps=0", tiny=ASKED)
    assert read_run(run)["best_step"] < 6, "the last ones are worse"
    best, last = (load_checkpoint(run / "checkpoints" / f"{name}.safetensors").weights for name in ("best", "last"))
    (used,) = weights
    assert all(used[name].equal(tensor) for name, tensor in best.items())
    assert not all(used[name].equal(tensor) for name, tensor in last.items())


def test_nothing_drawn_or_forbidden_decides_a_score() -> None:
    chosen = ("generation=creative", "generation.repetition_penalty=1.3", "generation.no_repeat_ngram=3")
    options = cai.compose([*chosen, "generation.max_new_tokens=77", 'generation.stop=["끝"]', "generation.show=top5"])
    expected = cai.compose(["generation=greedy", "generation.max_new_tokens=77", 'generation.stop=["끝"]']).generation
    assert greedy(options.generation).model_copy(update={"top_k": 0}) == expected


# Stopped while it answers


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody has stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        return train_tiny(tiny=ASKED).absolute()


def assert_ended_like(run: Path, whole: Path) -> None:
    assert_equal_runs(run, whole)
    assert (run / "answers.jsonl").read_bytes() == (whole / "answers.jsonl").read_bytes()
    assert read_run(run)["status"] == "finished"
    assert figures_of(read_run(run)["metrics"]) == figures_of(read_run(whole)["metrics"])
    assert not list(run.rglob(".*.unfinished"))


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_interrupted_while_it_answers_it_answers_when_resumed(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        seen(patch, interrupt)
        assert main(["train", *ASKED]) == 130
        (run,) = run_directories(Path("outputs"))
        assert (read_run(run)["status"], read_run(run)["saved_step"]) == ("interrupted", 6)
        assert steps_with_answers(run) == []
        assert main(["resume", str(run)]) == 130
    assert main(["resume", str(run)]) == 0
    assert_ended_like(run, whole)
    assert main(["resume", str(run)]) == 0, "already finished"
    assert_ended_like(run, whole)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_interrupted_around_the_record_nothing_is_told_twice(
    moment: str, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = at_end.answer_at_end

    def answer_at_end(*arguments: Any) -> object:
        if moment == "after":
            original(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cai.train.answer_at_end", answer_at_end)
        assert main(["train", *ASKED]) == 130
    (run,) = run_directories(Path("outputs"))
    assert main(["resume", str(run)]) == 0
    assert_ended_like(run, whole)
    assert steps_with_answers(run) == [6]


def kill_at_record(before: bool) -> None:
    """In a child: SIGKILL itself where the answers' figures are recorded."""
    original = Recorder.metrics

    def metrics(self: Recorder, step: int, values: Mapping[str, float]) -> None:
        ends = any(tag.startswith("answers/") for tag in values)
        if not (ends and before):
            original(self, step, values)
        if ends:
            os.kill(os.getpid(), signal.SIGKILL)

    Recorder.metrics = metrics  # type: ignore[method-assign]


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False])
def test_killed_around_the_record_it_ends_as_if_never_killed(before: bool, whole: Path) -> None:
    assert exit_code(start("train", *ASKED, prepare=kill_at_record, arguments=(before,))) == -signal.SIGKILL, printed()
    run = the_run()
    assert len(steps_with_answers(run)) == (not before)
    assert main(["resume", str(run)]) == 0
    assert_ended_like(run, whole)
    assert steps_with_answers(run) == [6]


def test_the_answers_of_a_run_that_goes_on_to_more_steps_stay() -> None:
    run = train_tiny(tiny=ASKED)
    (before,) = (line for line in metrics_of(run) if figures_of(line))
    with cut_short(8):
        assert main(["resume", str(run), "trainer.max_steps=9"]) == 130
    assert steps_with_answers(run) == [6]
    assert not figures_of(read_run(run)["metrics"]), "those of an earlier end are not where it stands"
    assert main(["resume", str(run), "trainer.answers=5"]) == 0
    assert steps_with_answers(run) == [6, 9]
    assert before in metrics_of(run)
    assert len(answers_of(run)) == 5
    assert facts_of(run)["answered"]["step"] == 9


def test_a_repetition_gives_the_same_answers() -> None:
    run = train_tiny(tiny=ASKED)
    assert main(["reproduce", str(run)]) == 0
    (other,) = set(run_directories(Path("outputs"))) - {run}
    assert_ended_like(other, run)


@pytest.mark.slow
def test_a_sweep_answers_in_every_job() -> None:
    assert main(["train", "-m", *ASKED, "seed=1,2"]) == 0
    assert [steps_with_answers(run) for run in run_directories(Path("outputs"))] == [[6], [6]]
