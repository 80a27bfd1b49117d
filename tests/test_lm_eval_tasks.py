"""The two tasks that come with ``cai.harness``, one's own, and that none needs a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from math import log
from pathlib import Path

import pytest
from lm_eval.api.instance import Instance

from cai.data.cases import read_cases
from cai.errors import DataError
from cai.harness.__main__ import OFFLINE, main
from cai.harness.data import judge, questions, texts, write_questions
from cai.harness.model import CaiLM
from cai.markup import parse_tags
from tests.conftest import train_tiny

LONG = "가온솔병원 안내. 전화 051-234-5678, 주소 부산광역시 수영구 나루로 12. " * 5
NO_NETWORK = """
import socket
def refuse(*_, **__):
    raise AssertionError("the network is asked for")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
"""
CHOICES = """
task: own_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/own.jsonl}}, cache_dir: {folder}/cache}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["예", "아니요"]
doc_to_target: answer
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("run")
        patch.chdir(folder)
        return folder / train_tiny("trainer.max_steps=30")


@pytest.fixture
def _environment() -> Iterator[None]:
    """As it was, once the test is over."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_the_embedded_questions_are_cases_that_are_judged_as_evaluate_does(tmp_path: Path) -> None:
    write_questions(tmp_path / "q.jsonl", 60)
    cases = list(read_cases(tmp_path / "q.jsonl"))
    assert {case.refuses for case in cases} == {True, False}
    documents = list(questions(str(tmp_path / "q.jsonl"))["test"])
    assert documents == list(questions(count=60)["test"])
    for case, document in zip(cases, documents, strict=True):
        assert parse_tags(document["prompt"]) == case.prompt
        right = f" {case.answers[0]}입니다.\n" if case.answers else " 문서에 없습니다.\n"
        key = "contains_answer" if case.answers else "refuses_rightly"
        assert judge(document, [right]) == {key: 1.0, "invents_nothing": 1.0}
        assert judge(document, [" 02-9999-99990입니다.\n"]) == {key: 0.0, "invents_nothing": 0.0}


def test_a_question_that_spells_a_tag_and_a_text_that_is_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question": "가 [DOC] 나", "answers": ["다"]}), encoding="utf-8")
    with pytest.raises(DataError, match=r"case 1 must not spell a tag"):
        questions(str(path))
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        texts(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="must be a text file in UTF-8"):
        texts(str(path))


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--tasks", "cai_contact"], "Did you mean cai_contacts?"),
        (["--questions", "nowhere"], "nowhere must be a file of cases"),
        (["--model_args", "run=last,chekpoint=best", "--limit", "1"], "chekpoint"),
        (["--model_args", "run=nowhere", "--limit", "1"], "run must be a run directory"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    scratch: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(words) == 2
    assert told in capsys.readouterr().err


@pytest.mark.slow
def test_the_shipped_tasks_and_ones_own_run_without_a_network(run: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK, encoding="utf-8")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "choice.yaml").write_text(CHOICES.format(folder=tmp_path), encoding="utf-8")
    rows = [{"question": "병원인가?", "answer": number % 2} for number in range(4)]
    (tmp_path / "own.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    (tmp_path / "my.txt").write_text("\ufeff" + LONG, encoding="utf-8")
    write_questions(tmp_path / "my.jsonl", 12)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    environment = {name: value for name, value in os.environ.items() if name not in OFFLINE}
    environment |= {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "hf")}
    words = [
        *("--model_args", f"run={run},device=cpu,precision=fp64,threads=1"),
        *("--tasks", "cai_contacts,cai_text,own_choice", "--include_path", "own", "--gen_kwargs", "max_gen_toks=8"),
        *("--questions", "my.jsonl", "--text", "my.txt", "--limit", "6", "--output_path", "out.json"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "cai.harness", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "bits_per_byte" in done.stdout
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    results, samples = written["results"], written["samples"]
    assert {name: len(found) for name, found in samples.items()} == {"cai_contacts": 6, "cai_text": 1, "own_choice": 4}
    assert results["own_choice"]["acc,none"] == 0.5, "the same question four times, with each answer twice"
    assert set(results["cai_contacts"]) >= {"contains_answer,none", "invents_nothing,none"}
    lm = CaiLM(run=str(run), device="cpu", precision="fp64", threads=1)
    request = Instance(request_type="loglikelihood_rolling", doc={}, arguments=(LONG,), idx=0)
    (whole,) = lm.loglikelihood_rolling([request], disable_tqdm=True)
    bits = -whole / log(2) / len(LONG.encode())
    assert results["cai_text"]["bits_per_byte,none"] == pytest.approx(bits, abs=1e-9)


@pytest.mark.parametrize("option", ["--output_path", "--write_questions"])
def test_a_file_that_is_there_is_refused_before_anything_is_computed(
    option: str, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scratch / "mine.json").write_text("mine", encoding="utf-8")
    assert main([option, "mine.json", "--model_args", "run=nowhere"]) == 2
    assert "must be a new one, but mine.json is there already" in capsys.readouterr().err
    assert (scratch / "mine.json").read_text(encoding="utf-8") == "mine"
