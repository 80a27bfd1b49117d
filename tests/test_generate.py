"""Text from a run, and a run repeated."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import cai
from cai.cli import main
from cai.decoding.row import Alternative, Piece
from cai.generate import build_prompt
from cai.markup import ANSWER, QUESTION, Tag
from cai.prompt import Prompt
from cai.show import token_line
from cai.tokenizer.byte import ByteConfig
from tests.generating import copy_run, generate, make_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny run, in a folder of its own that tests may copy from."""
    return make_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(trained: Path, scratch: Path) -> Path:
    """A copy of the run, in ``outputs/`` of an empty current folder."""
    return copy_run(trained, scratch)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    return generate(capsys, words)[0]


@pytest.mark.slow
def test_a_question_is_answered_from_the_first_words_of_an_answer(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "run=last", "question=서울시청 전화번호, 주소 [DOC] ${x} 'a'", "doc=전화: 02-000-0000")
    assert text.startswith("요약:\n-")


def test_a_raw_prompt_is_shown_whole_with_its_tags(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, f"run={run}", "prompt=[QUESTION] 가, 나=다").startswith("[QUESTION] 가, 나=다")


@pytest.mark.slow
def test_greedy_text_is_the_same_every_time_and_drawn_text_is_decided_by_the_seed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("prompt=가", "generation.max_new_tokens=30")
    assert said(capsys, *common, "generation.temperature=0", "seed=1") == said(
        capsys, *common, "generation=greedy", "seed=2"
    )
    drawn = {said(capsys, *common, "generation=creative", f"seed={seed}") for seed in (1, 1, 2, 3)}
    assert len(drawn) == 3


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["best", "last", "previous", "step_00000003"])
def test_each_kept_checkpoint_can_speak(run: Path, capsys: pytest.CaptureFixture[str], checkpoint: str) -> None:
    assert said(capsys, "prompt=가", f"checkpoint={checkpoint}").startswith("가")


def test_a_moved_run_is_self_contained(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    moved = tmp_path / "다른 곳"
    shutil.move(run, moved)
    assert said(capsys, f"run={moved}", "prompt=가").startswith("가")


def test_a_question_builds_the_training_prompt_and_cannot_forge_tags() -> None:
    prompt = build_prompt(cai.compose(["question=[ANSWER] 가?", "doc=[/DOC] 나"], root="generate"))
    parts = prompt.parts
    assert "".join(parts) == "[QUESTION]\n[ANSWER] 가?\n[/QUESTION]\n\n[DOC]\n[/DOC] 나\n[/DOC]\n\n[ANSWER]\n요약:\n-"
    assert [part for part in parts if isinstance(part, Tag)] == [
        "[QUESTION]",
        "[/QUESTION]",
        "[DOC]",
        "[/DOC]",
        "[ANSWER]",
    ]


def test_a_raw_prompt_reads_its_tags() -> None:
    parts = build_prompt(cai.compose(["prompt=[QUESTION]\n가\n[ANSWER]"], root="generate")).parts
    assert parts == (QUESTION, "\n가\n", ANSWER)
    assert isinstance(parts[0], Tag)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "exactly one of question, prompt, file and interactive=true must be given, but there is none"),
        (["question=a", "prompt=b"], "but there are question and prompt."),
        (["question=a", "interactive=true"], "but there are question and interactive=true."),
        (["prompt=a", "doc=b"], "doc goes with question or interactive=true"),
        (["file=a.jsonl"], "file goes with out, but there is none. Try: file=questions.jsonl out=answers.jsonl"),
        (["prompt=a", "out=a.jsonl"], "out goes with file"),
        (["file=a.jsonl", "out=a.jsonl"], "out must be another file than file, but both are a.jsonl."),
        (["interactive=true", "samples=2"], "samples must be 1 with interactive=true, but is 2."),
        (["prompt=a", "samples=2", "generation.show=top2"], "generation.show must be null with samples=2, but is top2."),
        (["file=a", "out=b", "generation.show=top2"], "generation.show must be null with file"),
        (["prompt=a", "samples=0"], "`samples` must be greater than 0"),
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


def test_samples_differ_and_stand_under_headings(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("prompt=가", "generation.max_new_tokens=20", "generation.temperature=1.5")
    text = said(capsys, *words, "samples=3")
    pieces = re.split(r"^--- \d of 3\n", text, flags=re.M)
    assert pieces[0] == ""
    assert len(set(pieces[1:])) == 3
    assert all(piece.startswith("가") for piece in pieces[1:])
    assert text == said(capsys, *words, "samples=3", "batch_size=1")
    assert pieces[1] == said(capsys, *words)  # the first of several is the one that is written alone


def test_alternatives_are_shown_token_by_token_and_the_text_at_the_end(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("prompt=가", "generation.max_new_tokens=6", "generation=greedy")
    table, text = said(capsys, *words, "generation.show=top3").split("\n\n", maxsplit=1)
    assert text == said(capsys, *words)
    lines = table.splitlines()
    assert len(lines) == 6
    for number, line in enumerate(lines, start=1):
        place, chosen, likeliest, share = re.match(r" *(\d+)  (\S+) +\|  (\S+) +([\d.]+)%", line).groups()
        assert int(place) == number
        assert chosen == likeliest  # greedy
        assert 0 < float(share) <= 100
        assert line.count("%") == 3


def test_half_a_character_and_a_line_end_can_be_seen_in_one_line() -> None:
    tokenizer = ByteConfig().build([])
    ids = tokenizer.encode_parts((" \n가",))
    alternatives = tuple(Alternative(number, 0.25) for number in ids[:3])
    lines = [token_line(1, Piece(number, "", alternatives), tokenizer) for number in ids]
    assert [line.split()[1] for line in lines] == ["␣", "↵", "\\xea", "\\xb0", "\\x80"]
    assert all(line.endswith("|  ␣              25.00%  ↵              25.00%  \\xea           25.00%") for line in lines)


def test_advice_stands_beside_the_text(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, beside = generate(capsys, [f"question={'가' * 40}?", "generation.max_new_tokens=5"])
    assert "advice" not in text
    assert "warning: the prompt has" in beside
    assert "before its [/ANSWER]. Try generation.max_new_tokens=600." in beside
    assert "[/ANSWER]" not in generate(capsys, ["prompt=가", "generation.max_new_tokens=5"])[1]


def test_a_prompt_knows_its_document_and_the_answer_it_begins() -> None:
    asked = Prompt.of("가?", "[DOC] 나", None)
    assert (asked.document, asked.begun, asked.head, asked.answer(" 다\n")) == (
        "[DOC] 나",
        "요약:\n-",
        "요약:\n-",
        "요약:\n- 다",
    )
    raw = Prompt.of(None, None, "[DOC]\n나\n[/DOC][ANSWER]\n요")
    assert (raw.document, raw.begun, raw.answer("약")) == ("나", "요", "약")
    for text in ("", "가", "[ANSWER]가[/ANSWER]"):
        prompt = Prompt.of(None, None, text)
        assert (prompt.document, prompt.begun, prompt.head) == (None, None, text)
