"""``cai evaluate``: what it says, what it keeps, and what it leaves alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cai.cli import main
from cai.data.cases import case_of_example
from cai.data.contacts.unseen.examples import unseen_examples
from cai.evaluation.answering import told_of_window
from cai.runs import lock_of, read_run
from tests.conftest import TINY, train_tiny
from tests.generating import copy_run
from tests.resuming import content_of, write_text

CPU = ("device=cpu", "device.precision=fp32", "device.threads=1")
FAST = (*CPU, "generation.max_new_tokens=4", "answers=3")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny run whose last evaluation saw all of the validation text."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder / train_tiny("trainer.eval_max_tokens=null", "trainer.keep=1", "trainer.save_every=3")


@pytest.fixture
def run(trained: Path, scratch: Path) -> Path:
    """A copy of the run, in ``outputs/`` of an empty current folder."""
    return copy_run(trained, scratch)


def evaluate(*words: str, code: int = 0) -> None:
    assert main(["evaluate", *FAST, *words]) == code


def pages_of(run: Path) -> list[dict[str, Any]]:
    paths = sorted((run / "evaluations").glob("*"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def page_of(run: Path) -> dict[str, Any]:
    (page,) = pages_of(run)
    return page


def write_questions(*lines: dict[str, Any]) -> str:
    Path("questions.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return "file=questions.jsonl"


ASKED = (
    {"question": "전화는?", "context": "전화 02-123-4567", "answers": ["02-123-4567"]},
    {"question": "?", "answers": []},
)


# What it finds


def test_a_run_is_judged_by_its_own_validation_text_and_by_unseen_questions(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate("run=last")
    page, facts = page_of(run), read_run(run)
    figures, counts = page["figures"], page["counts"]
    assert figures["loss"] == pytest.approx(facts["best_val_loss"], rel=1e-6)
    assert figures["bits_per_byte"] == pytest.approx(facts["metrics"]["val/bits_per_byte"], rel=1e-6)
    assert figures["perplexity"] == pytest.approx(math.exp(figures["loss"]))
    assert figures["bits_per_character"] * counts["characters"] == pytest.approx(figures["bits_per_byte"] * counts["bytes"])
    assert (page["run"], page["checkpoint"], page["step"]) == (f"outputs/run/{run.name}", "best", facts["best_step"])
    assert page["data"] == {"fingerprint": facts["fingerprints"]["corpus"], "ids": facts["fingerprints"]["ids"]}
    assert page["device"] == {"type": "cpu", "precision": "fp32", "threads": 1}
    assert page["options"]["generation"]["temperature"] == 0.0
    assert "out" not in page["options"]

    cases = [case_of_example(example) for example in unseen_examples(3)]
    assert [(one["question"], one["document"]) for one in page["answers"]] == [(c.question, c.document) for c in cases]
    assert [one["expected"]["fields"] for one in page["answers"]] == [dict(case.fields) for case in cases]
    right = [one["right"] for one in page["answers"]]
    said_of = [each["TEL"] for each in right if "TEL" in each]
    assert counts["answers/tel"] == {"right": sum(said_of), "of": len(said_of)}
    assert page["about"] == "about organisations never seen"
    assert page["prompts_cut"] == 3

    said = capsys.readouterr().out
    for line in (
        f"outputs/run/{run.name}, best (step 6)",
        "likelihood of the validation text:",
        f"over {counts['tokens']:,} tokens",
        f"over {counts['bytes']:,} bytes",
        "answers to 3 questions about organisations never seen:",
        "3 prompts were longer than the model's window and lost their beginning",
        f"written      outputs/run/{run.name}/evaluations/",
        "TensorBoard  eval/... at step 6",
    ):
        assert line in said
    rows = [line for line in said.splitlines() if "  of " in line or "  over " in line]
    assert len({line.index("  of " if "  of " in line else "  over ") for line in rows}) == 1, "one table"


def test_but_for_the_date_an_evaluation_is_always_the_same(run: Path) -> None:
    for _ in range(2):
        evaluate("run=last")
    first, second = pages_of(run)
    assert first.pop("date") <= second.pop("date")
    assert first == second


def test_neither_the_batch_nor_a_cadence_changes_what_is_answered(run: Path) -> None:
    evaluate("likelihood=false", "batch_size=1")
    evaluate("likelihood=false", "batch_size=3")
    first, second = pages_of(run)
    assert first["answers"] == second["answers"]
    assert "loss" not in first["figures"]
    assert "tokens" not in first["counts"]


@pytest.mark.parametrize("checkpoint", ["best", "last", "previous", "step_00000003"])
def test_each_kept_checkpoint_can_be_evaluated(run: Path, checkpoint: str) -> None:
    evaluate(f"run={run}", f"checkpoint={checkpoint}", "answers=0")
    assert page_of(run)["step"] == (3 if checkpoint in ("previous", "step_00000003") else 6)
    assert page_of(run)["answers"] == []


def test_a_window_that_slides_sees_more_before_each_token(run: Path) -> None:
    evaluate("answers=0")
    evaluate("answers=0", "stride=4")
    plain, sliding = (page["figures"]["loss"] for page in pages_of(run))
    assert plain != sliding
    assert plain == pytest.approx(sliding, rel=0.05)


def test_other_data_is_cut_by_the_runs_own_tokenizer(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text(Path("글/a.txt"))
    before = set(Path("outputs").glob("cache/tokenizers/*"))
    evaluate("data=text", "data.path=글/a.txt", "data.val_ratio=0.3")
    page = page_of(run)
    assert page["counts"]["bytes"] < Path("글/a.txt").stat().st_size * 0.5
    assert page["data"].keys() == {"fingerprint", "ids"}
    assert page["options"]["data"]["path"] == "글/a.txt"
    said = capsys.readouterr().out
    assert "no answers: this data has no questions" in said
    assert "TensorBoard  eval/a/... at step 6" in said, "not in the series of the run's own data"
    assert set(Path("outputs").glob("cache/tokenizers/*")) == before
    assert len(list(Path("outputs").glob("cache/tokens/[!.]*"))) == 1


def test_other_organisations(run: Path) -> None:
    evaluate("data=contacts", "data.samples=90", "data.seed=7", "data.val_ratio=0.3")
    page = page_of(run)
    assert page["data"]["ids"] != read_run(run)["fingerprints"]["ids"]
    assert len(page["answers"]) == 3


def test_questions_of_ones_own_have_no_likelihood(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(write_questions(*ASKED))
    page = page_of(run)
    assert "loss" not in page["figures"]
    assert page["counts"]["answers/found"] == {"right": 0, "of": 1}
    assert page["counts"]["answers/refusals"] == {"right": 0, "of": 1}
    assert [one["question"] for one in page["answers"]] == ["전화는?", "?"]
    assert [one["expected"]["answers"] for one in page["answers"]] == [["02-123-4567"], []]
    assert page["data"]["file"] == "questions.jsonl"
    said = capsys.readouterr()
    assert "answers to 2 questions of questions.jsonl:" in said.out
    assert "likelihood" not in said.out
    assert "TensorBoard  eval/questions/... at step 6" in said.out
    assert said.err == ""


def test_questions_that_are_left_are_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(write_questions(*ASKED), "answers=1")
    assert len(page_of(run)["answers"]) == 1
    assert "the first 1 of 2 questions are asked; answers=2 asks all" in capsys.readouterr().err


def test_a_run_that_never_saw_a_question_is_told_so(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text(scratch / "a.txt")
    run = train_tiny("data=text", "data.path=a.txt", tiny=[word for word in TINY if not word.startswith("data.")])
    evaluate(write_questions(*ASKED))
    assert "this run's text had no questions" in capsys.readouterr().err
    write_text(scratch / "a.txt", word="흐리다")
    evaluate(f"run={run}")
    said = capsys.readouterr()
    assert "warning: the run's data are others now" in said.err
    assert "no answers: this data has no questions" in said.out
    evaluate("likelihood=false", code=2)
    assert "likelihood=false needs data with questions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, ""),
        (1, "1 prompt was longer than the model's window and lost its beginning"),
        (1200, "1,200 prompts were longer than the model's window and lost their beginning"),
    ],
)
def test_prompts_that_are_too_long_are_counted(count: int, said: str) -> None:
    assert told_of_window(count) == said


# What it keeps


def test_curves_get_the_figures_at_the_step_of_the_checkpoint(run: Path) -> None:
    evaluate("checkpoint=previous")
    events = EventAccumulator(str(run)).Reload()
    figures = page_of(run)["figures"]
    for tag, value in figures.items():
        ((step, there),) = [(event.step, event.value) for event in events.Scalars(f"eval/{tag}")]
        assert (step, there) == (3, pytest.approx(value, rel=1e-6))
    assert len(events.Scalars("val/loss")) == 3, "and the run's own stay"


def test_nothing_of_the_run_itself_is_touched(run: Path) -> None:
    before = content_of(run)
    evaluate()
    after = content_of(run)
    new = after.keys() - before.keys()
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("evaluations/") or name.endswith(".eval") for name in new)
    assert len(new) == 2
    assert main(["resume", str(run), "trainer.max_steps=8"]) == 0


def test_curves_of_a_run_that_is_being_written_are_left_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with lock_of(run):
        evaluate("answers=0")
    assert "TensorBoard  not added: another process is writing this run right now" in capsys.readouterr().out
    assert not list(run.glob("*.eval"))
    assert page_of(run)["step"] == 6


def test_out_is_where_it_is_written_and_never_another_file(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate("answers=0", "out=새/a.json")
    written = Path("새/a.json").read_bytes()
    assert json.loads(written)["step"] == 6
    assert not (run / "evaluations").exists()
    before = content_of(run)
    evaluate("answers=0", "out=새/a.json", code=2)
    assert "`out` must be a new file, but 새/a.json is there already. Nothing was changed" in capsys.readouterr().err
    assert Path("새/a.json").read_bytes() == written
    assert content_of(run) == before


def test_one_that_appears_meanwhile_is_not_written_over(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cai import evaluate as verb

    monkeypatch.setattr(verb, "refuse_existing", lambda out: Path(out).write_text("mine"))
    evaluate("answers=0", "out=a.json", code=2)
    assert Path("a.json").read_text() == "mine"


def test_two_of_one_second_get_two_files(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cai.evaluation import report

    class Noon(report.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return report.datetime(2026, 1, 1, 12, tzinfo=tz)

    monkeypatch.setattr(report, "datetime", Noon)
    for _ in range(3):
        evaluate("answers=0")
    names = sorted(path.name for path in (run / "evaluations").iterdir())
    assert names == ["2026-01-01_12-00-00.json", "2026-01-01_12-00-00_2.json", "2026-01-01_12-00-00_3.json"]


@pytest.mark.parametrize(
    "place", ["cai.evaluation.answering.answer", "cai.evaluation.likelihood._mean_loss", "cai.evaluation.report.write_whole"]
)
def test_ctrl_c_leaves_nothing_behind(place: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = content_of(run)
    monkeypatch.setattr(place, interrupt)
    evaluate(code=130)
    assert content_of(run) == before


# What it refuses


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stride=64"], "`stride` must be from 1 to model.block_size (32), but is 64."),
        (["stride=0"], "`stride` must be greater than 0, but is 0."),
        (["answers=-1"], "`answers` must be at least 0, but is -1."),
        (["likelihood=false", "answers=0"], "something must be evaluated, but likelihood is false and answers is 0."),
        (["file=a.jsonl", "data=contacts"], "at most one of data and file must be given, but both are."),
        (["file=a.jsonl", "answers=0"], "file has questions to answer, but answers is 0 (none). Try answers=200"),
        (["file=a.jsonl"], "a.jsonl must be a file of cases that can be read, but is not: No such file"),
        (["data=text"], "`data.path` must be given, but is missing."),
        (["data=text", "data.path=a.txt"], "data.path must"),
        (["checkpoint=newest"], "`checkpoint` must look like"),
        (["checkpoint=step_00000001"], "checkpoint must be one of those saved in"),
        (["run=nowhere"], "run must be a run directory or `last`, but nowhere holds no config.yaml."),
        (["batchsize=3"], "Did you mean batch_size?"),
        (["-m", "seed=1,2"], "`-m` must go with train, but is given to evaluate"),
    ],
)
def test_a_mistake_is_one_message(words: list[str], message: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content_of(run)
    evaluate(*words, code=2)
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert content_of(run) == before


def test_help_tells_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--help"]) == 0
    said = capsys.readouterr().out
    for word in ("run: last", "stride: null", "file: null", "docs/evaluate.md", "generation=greedy"):
        assert word in said
