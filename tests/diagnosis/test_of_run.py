"""What is seen in the files of a run of any kind; and nothing in files that are torn, gone or a stranger's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cai.cli import main
from cai.diagnosis.of_run import symptoms_of_run
from cai.symptoms.training import RECENT
from tests.conftest import TINY, train_tiny

SHORT = ("trainer.max_steps=2", "trainer.eval_every=0", "trainer.eval_max_tokens=32", "trainer.samples=0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("trained"))
        return train_tiny(*SHORT, "tokenizer.vocab_size=1500", "data.samples=200").absolute()


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run of its own for each test."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def names(run: Path) -> list[str]:
    return [told.name for told in symptoms_of_run(run)]


def change(run: Path, **facts: Any) -> None:
    page = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps(page | facts), encoding="utf-8")


def record(run: Path, lines: Mapping[int, Mapping[str, float]]) -> None:
    text = "".join(json.dumps({"step": step, **values}) + "\n" for step, values in lines.items())
    (run / "metrics.jsonl").write_text(text, encoding="utf-8")


def losses(values: list[float]) -> dict[int, dict[str, float]]:
    return {10 * number: {"train/loss": value} for number, value in enumerate(values, 1)}


def test_a_run_without_trouble_shows_none(run: Path) -> None:
    assert names(run) == []
    record(run, losses([5.0 - 0.05 * number for number in range(60)]))
    change(run, max_steps=600)
    assert names(run) == []


def test_a_loss_that_does_not_fall_is_seen_while_the_run_goes_on(run: Path) -> None:
    change(run, status="running", max_steps=600, steps=None)
    record(run, losses([7.2] * 40))
    (told,) = symptoms_of_run(run)
    assert told.name == "stuck"
    assert "step 400: train/loss is 7.200" in told.sentence
    change(run, data={})  # of an older run, which keeps no loss to compare with
    assert names(run) == []
    record(run, losses([7.35] * 40))  # but that of equal tokens
    assert names(run) == ["stuck"]
    record(run, losses([7.35] * 20))
    assert names(run) == []


def test_what_is_not_learned_at_all_is_not_learned_by_heart(run: Path) -> None:
    change(run, max_steps=400, steps=400)
    lines = losses([7.2] * 40)
    record(run, {**lines, **{step: lines[step] | {"val/loss": 7.3 + step / 400} for step in (100, 200, 300, 400)}})
    assert names(run) == ["stuck"]


def test_spikes_are_counted_and_updates_that_were_passed_over(run: Path) -> None:
    record(run, losses([*[3.0] * RECENT, 9.0, *[3.0] * RECENT, 9.5, 3.0]))
    change(run, skipped_updates=2)
    spikes, skipped = symptoms_of_run(run)
    assert spikes.sentence.startswith("2 logged losses stood far above those before them: spikes at step 210, 420.")
    assert skipped.sentence.startswith("2 updates were passed over")
    assert "Lower optimizer.lr by 3 to 10 times" in skipped.sentence


def test_learning_by_heart_and_an_early_end_are_seen(run: Path) -> None:
    values = [5.0, 3.0, 3.1, 3.2, 3.3]
    record(run, {100 * n: {"val/loss": value, "train/loss": 1.0} for n, value in enumerate(values)})
    change(run, max_steps=900, steps=400)
    assert names(run) == ["overfitting", "stopped_early"]
    assert "stopped at step 400 of 900, as val/loss improved no more after step 100" in symptoms_of_run(run)[1].sentence
    change(run, status="pruned")
    assert names(run) == ["overfitting"]


def test_figures_of_text_and_tokenizer_are_judged_as_in_the_plan(run: Path) -> None:
    figures = {"vocab_size": 400, "vocab_size_asked": 400, "hangul_split": 0.5, "unknown": 0.01}
    one = {"share": 0.9, "count": 400, "what": "questions", "how": "end with", "form": "알려줘"}
    other = {"share": 1.0, "count": 400, "label": "WEB"}
    parameters = {"total": 3_000_000, "without_embeddings": 2_500_000}
    change(run, tokenizer=figures, data={"train_tokens": 20_000, "one_sided": [one, other]}, parameters=parameters)
    assert names(run) == ["large_model", "one_form", "absent", "split", "unknown"]
    change(run, tokenizer={"vocab_size": 264, "vocab_size_asked": None, "hangul_split": 1.0, "unknown": 0.0})
    assert names(run) == ["large_model", "one_form", "absent"]  # single bytes, by design


def test_random_words_are_in_pieces_by_design(run: Path) -> None:
    change(run, tokenizer={"vocab_size": 400, "vocab_size_asked": 400, "hangul_split": 0.5, "unknown": 0.0})
    assert names(run) == ["split"]
    config = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(config.replace("wild: 0.0", "wild: 0.9"), encoding="utf-8")
    assert names(run) == []


def test_samples_that_repeat_are_seen_if_they_are_the_newest(run: Path) -> None:
    loop, good = "연락처 " * 20, "하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉 열 열하나"
    entry = "## Step {}: {}\n\n```\n{}\n```\n\n"
    early = entry.format(100, "질문", loop)
    (run / "samples.md").write_text(early + entry.format(200, "질문", good), encoding="utf-8")
    assert names(run) == []
    late = entry.format(200, "질문", good) + entry.format(200, "다른 질문", loop)
    (run / "samples.md").write_text(early + late, encoding="utf-8")
    (told,) = symptoms_of_run(run)
    assert told.sentence.startswith("1 of 2 samples of step 200, the first to «다른 질문»: the text repeats itself (")
    assert told.sentence.endswith("Try generation.repetition_penalty=1.2 or generation.no_repeat_ngram=4.")


@pytest.mark.parametrize("file", ["run.json", "metrics.jsonl", "config.yaml", "samples.md"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\x00{", b"[]\n", b"null", b'{"step": "a"}\n', b"[" * 100_000])
def test_a_file_that_is_gone_or_torn_shows_nothing(run: Path, file: str, content: bytes | None) -> None:
    change(run, skipped_updates=1)
    if content is None:
        (run / file).unlink(missing_ok=True)
    else:
        (run / file).write_bytes(content)
    assert names(run) == ["skipped"] * (file != "run.json")


@pytest.mark.parametrize("strange", [{}, [], "x", None, -1, 10**400, [{"what": 1}], {"one_sided": [{}, 3, {"label": "x"}]}])
def test_facts_that_cai_does_not_write_show_nothing(run: Path, strange: object) -> None:
    facts = ("tokenizer", "data", "parameters", "max_steps", "steps", "loss_spikes", "skipped_updates", "symptom", "error")
    change(run, **dict.fromkeys(facts, strange))
    assert names(run) == []
    change(run, status="failed")
    assert "failed" in names(run)


def test_nothing_at_all_shows_nothing(tmp_path: Path) -> None:
    assert symptoms_of_run(tmp_path) == symptoms_of_run(tmp_path / "nowhere") == []


def test_the_doctor_tells_them(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(run, skipped_updates=3)
    assert main(["doctor", f"run={run}"]) == 0
    assert "3 updates were passed over" in " ".join(capsys.readouterr().out.split())


def test_a_tokenizer_of_few_tokens_is_told_when_text_is_prepared(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in TINY if word.startswith("data.")]
    assert main(["prepare", *words, "tokenizer=bpe", "tokenizer.vocab_size=300"]) == 0
    assert "of the Hangul syllables are split into bytes" in " ".join(capsys.readouterr().out.split())
