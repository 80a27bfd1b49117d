"""A file of prompts to a file of answers: in order, killed and gone on with, and never mixed up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from cai.cli import main
from cai.generate_file import in_order
from cai.generation import Completion, Generator
from tests.generating import copy_run, generate, make_run

PROMPTS: list[dict[str, Any]] = [
    {"question": "가온솔병원 전화번호?", "doc": "전화 02-1234-5678", "id": 1.5, "reference": "\ud800"},
    {"prompt": "옛날", "nested": {"질문": [None, True, "\u2028"]}},
    {"question": "주소는?", "doc": None},
    *({"prompt": "가" * number} for number in range(6)),
    {"prompt": "[QUESTION]\n가\n[/QUESTION]\n\n[ANSWER]"},
]
WORDS = ("file=in.jsonl", "out=out.jsonl", "generation.max_new_tokens=12", "generation.temperature=1.3", "batch_size=3")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture(autouse=True)
def folder(trained: Path, scratch: Path) -> Path:
    """A current folder with a run and a file of prompts."""
    copy_run(trained, scratch)
    write_prompts(PROMPTS)
    return scratch


def write_prompts(prompts: list[dict[str, Any]]) -> None:
    Path("in.jsonl").write_text("".join(f"{json.dumps(prompt)}\n\n" for prompt in prompts), encoding="utf-8")


def answered(capsys: pytest.CaptureFixture[str], *words: str) -> bytes:
    """What stands in ``out`` after the command."""
    text, _ = generate(capsys, [*WORDS, *words])
    assert text == ""
    return Path("out.jsonl").read_bytes()


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    before = Path("out.jsonl").read_bytes() if Path("out.jsonl").exists() else None
    said = generate(capsys, [*WORDS, *words], code=2)[1]
    assert (Path("out.jsonl").read_bytes() if Path("out.jsonl").exists() else None) == before
    return said


def test_each_object_comes_back_with_its_answer_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in answered(capsys).splitlines()]
    assert [{key: line[key] for key in line if key not in ("answer", "end")} for line in lines] == PROMPTS
    assert [list(line)[-2:] for line in lines] == [["answer", "end"]] * len(PROMPTS)
    assert {line["end"] for line in lines} <= {"tag", "stop", "length"}
    assert all(line["answer"].startswith("요약:\n-") for line in lines if "question" in line)
    assert not any(line["answer"].startswith(line["prompt"]) for line in lines if line.get("prompt"))


def test_the_first_is_what_the_command_line_says(capsys: pytest.CaptureFixture[str]) -> None:
    first = json.loads(answered(capsys).splitlines()[0])
    alone, _ = generate(capsys, [f"question={first['question']}", f"doc={first['doc']}", *WORDS[2:]])
    assert alone in (first["answer"] + "\n", first["answer"] + "\n\n")


@pytest.mark.parametrize("batch_size", [1, 32])
def test_the_batch_changes_no_text(capsys: pytest.CaptureFixture[str], batch_size: int) -> None:
    whole = answered(capsys)
    Path("out.jsonl").unlink()
    assert answered(capsys, f"batch_size={batch_size}") == whole


def test_several_texts_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in answered(capsys, "samples=3").splitlines()]
    assert all(len(line["answers"]) == len(line["end"]) == 3 for line in lines)
    assert all(len(set(line["answers"])) > 1 for line in lines)
    assert "line 1 must be the answer to in.jsonl, line 1, but is not" in refused(capsys)
    assert "with other samples=" in refused(capsys, "samples=2")


@pytest.mark.slow
@pytest.mark.parametrize("samples", ["samples=1", "samples=2"])
def test_cut_anywhere_and_run_again_it_is_what_it_would_have_been(capsys: pytest.CaptureFixture[str], samples: str) -> None:
    whole = answered(capsys, samples)
    for size in (0, 1, 40, 200, len(whole) // 2, len(whole) - 40, len(whole) - 1, len(whole)):
        Path("out.jsonl").write_bytes(whole[:size])
        assert answered(capsys, samples) == whole, size


def test_ctrl_c_loses_no_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = answered(capsys)
    Path("out.jsonl").unlink()
    complete = Generator.complete

    def interrupted(self: Generator, *arguments: Any, **options: Any) -> Iterator[Completion]:
        for number, completion in enumerate(complete(self, *arguments, **options)):
            if number == 5:
                raise KeyboardInterrupt
            yield completion

    with monkeypatch.context() as patch:
        patch.setattr(Generator, "complete", interrupted)
        said = generate(capsys, WORDS, code=130)[1]
    kept = Path("out.jsonl").read_bytes()
    assert kept
    assert kept.endswith(b"\n")
    assert whole.startswith(kept)
    assert f"out.jsonl: {kept.count(10)} of 10 prompts answered; the same command goes on" in said
    assert answered(capsys) == whole


def test_what_is_finished_is_left_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = answered(capsys)
    monkeypatch.setattr("cai.decoding.reader.Reader.logits", lambda *_: pytest.fail("something is written again"))
    assert answered(capsys) == whole


def test_more_prompts_can_be_added_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    whole = answered(capsys)
    Path("out.jsonl").unlink()
    write_prompts(PROMPTS[:4])
    assert whole.startswith(answered(capsys))
    write_prompts(PROMPTS)
    assert answered(capsys) == whole


@pytest.mark.parametrize(
    ("there", "line"),
    [
        (b'{"prompt": "other", "answer": "a", "end": "tag"}\n', 1),
        (b"my notes", 1),
        (b"my notes\n", 1),
        (b"\n", 1),
        (b'{"prompt": "\xea\xb0\x80", "answer": broken}\n', 1),
        (b'{"prompt": "\xea\xb0\x80", "answer": "a"}\n', 1),
        (b'{"prompt": "\xea\xb0\x80", "answer": "a", "end": "tag"}\nmore', 2),
        (b'{"prompt": "\xea\xb0\x80", "answer": "a", "end": "tag"}\n{"prompt": "b", "answer": "a", "end": "tag"}\n', 2),
    ],
)
def test_what_is_no_answer_to_this_file_is_refused_and_kept(
    capsys: pytest.CaptureFixture[str], there: bytes, line: int
) -> None:
    write_prompts([{"prompt": "가"}])
    Path("out.jsonl").write_bytes(there)
    said = refused(capsys)
    assert f"out.jsonl, line {line} must be " in said
    assert "Give another out=, or remove out.jsonl." in said


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        (["{"], ["in.jsonl, line 1 must be a JSON object, but cannot be read at column 2"]),
        (
            ['["prompt"]', '{"prompt": 3}'],
            ["line 1 must be a JSON object, but is list.", "line 2 must have text in `prompt`"],
        ),
        (["{}"], ["line 1 must have exactly one of `prompt` and `question`, but has neither (it has nothing)."]),
        (['{"promt": "a"}'], ["but has neither (it has promt)."]),
        (['{"prompt": "a", "question": "b"}'], ["but has both."]),
        (['{"prompt": "a", "doc": "b"}'], ["must have a `question` where it has a `doc`"]),
        (['{"prompt": "a", "answer": "b"}'], ["must not have `answer`, which is added", "`reference_answer`"]),
        (['{"prompt": "a", "end": "b"}'], ["must not have `end`"]),
        (['{"prompt": "\\ud800"}'], ["`prompt` holds half of a surrogate pair"]),
        (['{"prompt": "a"}', "", "{}"], ["line 3 must have"]),
        (["{}"] * 14, ["line 10 must", "and 4 more mistakes in in.jsonl"]),
        ([], ["file must hold prompts, but in.jsonl is empty"]),
    ],
)
def test_every_mistake_in_the_file_is_told_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], lines: list[str], parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cai.generate.load_trained", lambda *_: pytest.fail("a model is loaded"))
    Path("in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    said = refused(capsys)
    for part in parts:
        assert part in said
    assert not Path("out.jsonl").exists()


def test_a_file_in_another_encoding_or_none_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.jsonl").write_bytes('{"prompt": "a"}\n{"prompt": "가"}'.encode("cp949"))
    assert "in.jsonl, line 2 must be UTF-8" in refused(capsys)
    Path("in.jsonl").unlink()
    assert "file must name a JSONL file of prompts, but in.jsonl cannot be read (No such file" in refused(capsys)
    Path("in.jsonl").mkdir()
    assert "cannot be read (Is a directory)" in refused(capsys)


def test_out_may_be_in_a_new_folder_but_be_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    generate(capsys, [*WORDS, "out=new/나의 답.jsonl"])
    assert Path("new/나의 답.jsonl").read_bytes().count(b"\n") == len(PROMPTS)
    assert main(["generate", "device.threads=1", *WORDS, "out=new"]) == 2
    assert "out must name a file, but new is a folder" in capsys.readouterr().err


def test_what_is_wrong_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    write_prompts([{"prompt": "가"}, {"question": "나" * 40}, {"question": "다" * 40}])
    _, beside = generate(capsys, [*WORDS, "generation.max_new_tokens=3"])
    assert "warning: 2 of 3 prompts, the first for in.jsonl, line 3: the prompt has" in beside
    assert "advice: 2 of 3 texts, the first for in.jsonl, line 3: the answer was cut off" in beside


def test_early_texts_wait_for_those_before_them() -> None:
    keys = [(8, 1), (7, 0), (9, 0), (7, 1), (8, 0), (9, 1)]
    completions = (Completion(prompt, sample, "", (), "tag") for prompt, sample in keys)
    groups = [[(one.prompt, one.sample) for one in group] for group in in_order(completions, 7, 2)]
    assert groups == [[(7, 0), (7, 1)], [(8, 0), (8, 1)], [(9, 0), (9, 1)]]


def test_two_commands_do_not_write_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    write_prompts([{"prompt": "가"}])
    with FileLock("out.jsonl.lock"):
        assert "out must be free, but another command is writing out.jsonl" in refused(capsys)
    assert answered(capsys)
    assert not Path("out.jsonl.lock").exists()


def test_the_same_file_by_another_name_is_no_other_file(capsys: pytest.CaptureFixture[str]) -> None:
    write_prompts([{"prompt": "가"}])
    assert main(["generate", "run=last", "file=in.jsonl", "out=./in.jsonl"]) == 2
    assert "out must be another file than file" in capsys.readouterr().err
