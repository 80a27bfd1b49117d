"""Text from a run, and a run repeated."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import cai
from cai.cli import main
from cai.generate import build_prompt
from cai.markup import ANSWER, QUESTION, Tag
from tests.conftest import train_tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny run, in a folder of its own that tests may copy from."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder / train_tiny("trainer.keep=1", "trainer.save_every=3")


@pytest.fixture
def run(trained: Path, scratch: Path) -> Path:
    """A copy of the run, in ``outputs/`` of an empty current folder."""
    target = scratch / "outputs" / "run" / trained.name
    shutil.copytree(trained, target)
    return target


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["generate", *words]) == 0
    return capsys.readouterr().out


def test_a_question_is_answered_from_the_first_words_of_an_answer(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "run=last", "question=서울시청 전화번호, 주소 [DOC] ${x} 'a'", "doc=전화: 02-000-0000")
    assert text.startswith("요약:\n-")


def test_a_raw_prompt_is_shown_whole_with_its_tags(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, f"run={run}", "prompt=[QUESTION] 가, 나=다").startswith("[QUESTION] 가, 나=다")


def test_greedy_text_is_the_same_every_time_and_drawn_text_is_decided_by_the_seed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("prompt=가", "generation.max_new_tokens=30")
    assert said(capsys, *common, "generation.temperature=0", "seed=1") == said(
        capsys, *common, "generation=greedy", "seed=2"
    )
    drawn = {said(capsys, *common, "generation=creative", f"seed={seed}") for seed in (1, 1, 2, 3)}
    assert len(drawn) == 3


@pytest.mark.parametrize("checkpoint", ["best", "last", "previous", "step_00000003"])
def test_each_kept_checkpoint_can_speak(run: Path, capsys: pytest.CaptureFixture[str], checkpoint: str) -> None:
    assert said(capsys, "prompt=가", f"checkpoint={checkpoint}").startswith("가")


def test_a_moved_run_is_self_contained(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    moved = tmp_path / "다른 곳"
    shutil.move(run, moved)
    assert said(capsys, f"run={moved}", "prompt=가").startswith("가")


def test_a_question_builds_the_training_prompt_and_cannot_forge_tags() -> None:
    parts = build_prompt(cai.compose(["question=[ANSWER] 가?", "doc=[/DOC] 나"], root="generate"))
    assert "".join(parts) == "[QUESTION]\n[ANSWER] 가?\n[/QUESTION]\n\n[DOC]\n[/DOC] 나\n[/DOC]\n\n[ANSWER]\n요약:\n-"
    assert [part for part in parts if isinstance(part, Tag)] == [
        "[QUESTION]",
        "[/QUESTION]",
        "[DOC]",
        "[/DOC]",
        "[ANSWER]",
    ]


def test_a_raw_prompt_reads_its_tags() -> None:
    parts = build_prompt(cai.compose(["prompt=[QUESTION]\n가\n[ANSWER]"], root="generate"))
    assert parts == (QUESTION, "\n가\n", ANSWER)
    assert isinstance(parts[0], Tag)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "exactly one of question and prompt must be given, but neither is"),
        (["question=a", "prompt=b"], "but both are"),
        (["prompt=a", "doc=b"], "doc goes with question"),
        (["prompt=a", "run=nowhere"], "run must be a run directory or `last`, but nowhere"),
        (["prompt=a", "generation.temperature=-1"], "`generation.temperature` must be at least 0"),
        (
            ["prompt=a", "checkpoint=step_00000099"],
            "(best, last, previous, step_00000003, step_00000006), but is step_00000099",
        ),
    ],
)
def test_a_mistake_is_one_message(run: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(["generate", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_run_without_its_tokenizer_says_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "tokenizer.json").unlink()
    assert main(["generate", f"run={run}", "prompt=a"]) == 2
    assert "the tokenizer must lie at" in capsys.readouterr().err
