"""The page of a run: of one that is whole, of every state it may be in, and of a stranger's."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from cai.cli import main
from cai.inspection.left import rows_of_files, step_of
from cai.inspection.lines import aligned, curves, named
from cai.runs import lock_of
from tests.conftest import TINY, train_tiny

OPTIONS = ("trainer.eval_every=2", "trainer.save_every=2", "name=looked_at")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("run")
    with contextlib.chdir(folder):
        yield folder / train_tiny(*OPTIONS)


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def change(directory: Path, without: tuple[str, ...] = (), **facts: Any) -> None:
    path = directory / "run.json"
    before = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in (before | facts).items() if key not in without}))


def page(capsys: pytest.CaptureFixture[str], directory: Path) -> str:
    assert main(["inspect", "run", f"run={directory}"]) == 0
    out = capsys.readouterr().out
    assert out.isprintable() or all(char == "\n" or char.isprintable() for char in out)
    return out


def test_the_page_of_a_whole_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = page(capsys, run)
    facts = json.loads((run / "run.json").read_text())
    assert out.startswith(f"{run}\n")
    assert "status       finished, step 6\n" in out
    assert re.search(r"started      20\d\d-\d\d-\d\d \d\d:\d\d:\d\d, .* from begin to end, .* of it in updates\n", out)
    assert re.search(r"cai 0\.\d+\.\d+, python 3\.\d+\.\d+, torch 2\.", out)
    assert "device       cpu, fp32, 1 thread" in out
    assert facts["fingerprints"]["ids"] in out
    assert facts["fingerprints"]["tokenizer"] in out
    assert "9,616 parameters, 3,216 without embeddings" in out
    assert "trained on   768 tokens (0.08 for each parameter), " in out
    assert f"val loss {facts['best_val_loss']:.4f} at step {facts['best_step']}" in out
    assert re.search(r"model.n_embd +16 +128\n", out)
    assert re.search(r"data.packing +stream +documents\n", out)
    assert "optimizer.lr" not in out  # which is as it is by default
    assert re.search(r"checkpoints  last: step 6, \d+\.\d KiB\n +best: step 6, \d+\.\d KiB\n +previous: step 4, ", out)
    assert "train/loss: " in out
    assert "val/loss: " in out
    assert "█" in out
    assert f"cai generate run={run} question=" in out
    assert f"cai reproduce {run}\n" in out
    assert "error" not in out
    assert "resumed" not in out


def test_the_command_is_ready_to_be_pasted(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = page(capsys, run).partition("by:\n")[2].partition("\n\n")[0]
    assert shlex.split(made.replace("\\\n", " ")) == ["cai", "train", *TINY, *OPTIONS]


def test_the_newest_run_is_found_without_a_name(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.chdir(run.parent.parent.parent):
        assert main(["inspect", "run"]) == 0
    assert capsys.readouterr().out.startswith("outputs/looked_at/")


@pytest.mark.parametrize("kind", ["running", "interrupted", "failed"])
def test_each_state_is_said_with_what_to_do(copied: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = {"error": "ValueError: no \x1b[31mgood\nat all", "traceback": "Traceback"} if kind == "failed" else {}
    change(copied, without=("ended", "steps"), status="failed" if error else "running", max_steps=60, **error)
    with lock_of(copied) if kind == "running" else contextlib.nullcontext():
        out = page(capsys, copied)
    assert f"status       {kind}, step 6 of 60" in out
    assert ("ValueError: no \\x1b[31mgood\n" in out) == (kind == "failed")
    assert ("in its train.log and run.json (traceback)" in out) == (kind == "failed")
    assert (f"cai resume {copied}\n" in out) == (kind != "running")
    assert (f"tail -f {copied}/train.log" in out) == (kind == "running")


def test_when_it_was_gone_on_with_is_told(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resumed = {"step": 4, "at": "2026-01-02T03:04:05+00:00", "changed": {"trainer.max_steps": 6}}
    change(copied, resumed=[resumed], versions={"python": "3.11.0", "torch": "1.0"}, machine={})
    out = page(capsys, copied)
    assert re.search(r"resumed      at step 4, 2026-01-0\d \d\d:\d\d:05, trainer.max_steps=6\n", out)
    assert re.search(r"here and now .*torch 2\.\S+, then 1\.0", out)
    assert f"cai resume {copied} trainer.max_steps=6" in out.partition("by:\n")[2].partition("\n\n")[0].replace(
        " \\\n   ", ""
    )


def test_what_it_left_is_listed(copied: Path) -> None:
    (copied / "exports/one").mkdir(parents=True)
    (copied / "exports/two").mkdir()
    (copied / "exports/one/export.json").write_text(
        '{"to": "onnx", "precision": "float32", "checkpoint": "best", "step": 6}'
    )
    (copied / "exports/two/export.json").write_text("[]")
    (copied / "evaluations").mkdir()
    figures = {"loss": 1.25, "bits_per_byte": 2.5, "answers/tel": 0.5, "perplexity": "x"}
    (copied / "evaluations/a.json").write_text(json.dumps({"checkpoint": "best", "figures": figures}))
    (copied / "evaluations/b.json").write_text("torn")
    (copied / "checkpoints/last.damaged").write_bytes(b"x")
    (copied / "checkpoints/previous.safetensors").write_bytes(b"x")
    for number in range(9):
        shutil.copy(copied / "checkpoints/best.safetensors", copied / f"checkpoints/step_{number:08d}.safetensors")
        with (copied / f"checkpoints/step_{number:08d}.safetensors").open("ab") as file:
            file.write(b"x" * number)
    lines = "\n".join(named(rows_of_files(copied)))
    assert re.search(r"exports      one: onnx, float32, of best at step 6, \d+ B\n +two: cannot be read, 2 B\n", lines)
    assert "evaluations  b.json: cannot be read\n" in lines
    assert "a: best, loss 1.25, bits per byte 2.5, telephone 50.0 %\n" in lines
    assert re.search(r"and \d more\n", lines)
    assert step_of(copied / "checkpoints/last.safetensors") == 6
    assert step_of(copied / "checkpoints/previous.safetensors") is None
    (copied / "plain.safetensors").write_bytes(save({"a": torch.ones(1)}))
    assert step_of(copied / "plain.safetensors") is None


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("run.json", None, "it has no run.json: it was stopped before it began"),
        ("config.yaml", None, "finished, but it has no config.yaml"),
        ("run.json", '{"status": "fin', "not all of it can be read"),
        ("run.json", "[]", "not all of it can be read"),
        ("run.json", '{"status": ["x"]}', "status       ['x']"),
        ("metrics.jsonl", "nonsense\n", "not all of it can be read"),
        ("metrics.jsonl", None, "status       finished, step 6"),
        ("config.yaml", "format: 8\nmodel: 3\ndata: [1]\n", "status       finished, step 6"),
        ("samples.md", "\udcff\n" * 3, "status       finished, step 6"),
    ],
)
def test_half_a_run_has_half_a_page(
    copied: Path, file: str, content: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / file).unlink()
    if content is not None:
        (copied / file).write_text(content, errors="surrogateescape")
    out = page(capsys, copied)
    assert said in out
    assert "on the disk" in out
    assert "step 6" in out


def test_a_stranger_s_run_is_data(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd: dict[str, Any] = {
        "status": "finished",
        "started": 5,
        "ended": "never",
        "cwd": 3,
        "tokenizer": [1],
        "error": "a\x1b[2J\u2028b",
        "overrides": ["name=$(touch pwned)\x1b[2J", 5],
        "metrics": {"perf/memory_gib": "x", "val/loss": 1e99},
        "code": {"commit": "c" * 40, "diff": 5, "untracked": [1], "own": {"evil; rm": 1}},
        "device": {"threads": "4"},
        "resumed": [{"step": "x", "at": 7, "changed": {"a": [1]}}, 4, {"changed": 5}],
        "fingerprints": {"ids": [1]},
        "versions": {"torch": [1]},
        "machine": {"processor": "\x1b[2J"},
        "parameters": {"total": -5},
        "steps": -1,
    }
    (copied / "run.json").write_text(json.dumps(odd))
    (copied / "metrics.jsonl").write_text(
        '{"step": 1, "train/loss": "x"}\n{"step": 2, "val/loss": 1e400, "train/loss": 3}\n'
    )
    out = page(capsys, copied)
    assert "\x1b" not in out
    assert "status       finished" in out
    assert "'name=$(touch pwned)\\x1b[2J'" in out
    assert "trust='evil; rm'" in out


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "run", f"run={tmp_path}"]) == 2
    assert "run must be a run directory or `last`" in capsys.readouterr().err
    assert main(["inspect", "run", f"output_dir={tmp_path}"]) == 2
    assert "Start with: cai train" in capsys.readouterr().err


def test_a_curve_is_drawn_as_it_goes() -> None:
    falling = [0.5 ** (step / 10) for step in range(41)]
    name, *area = curves({"loss": (list(range(41)), falling)}, columns=41, rows=4)
    assert name == "loss: 1 at step 0, 0.0625 at step 40"
    full = [sum(" ▁▂▃▄▅▆▇█".index(line[8 + place]) for line in area if len(line) > 8 + place) for place in range(41)]
    assert full == sorted(full, reverse=True)
    assert (full[0], full[-1]) == (32, 1)
    assert len(set(full)) > 25  # a straight line, on an axis of logarithms
    assert area[0].startswith("≥0.7579 ")
    assert area[-1].startswith(" 0.0625 ")


def test_two_curves_share_their_axes_and_gaps_are_bridged() -> None:
    lines = curves({"train": ([1, 2, 3, 4], [4.0, 3.0, 2.0, 1.0]), "val": ([2, 4], [2.0, 2.0])}, columns=4, rows=1)
    assert [line.partition(" ")[0] for line in lines] == ["train:", "≥3", "val:", "≥3"]
    train, val = (line.partition(" ")[2] for line in (lines[1], lines[3]))
    assert (len(train), train[0], train[-1]) == (4, "█", "▁")
    assert val == f" {val[1]}{val[1]}{val[1]}"
    assert val[1] in "▃▄▅▆"


def test_between_two_evaluations_a_curve_is_a_line() -> None:
    drawn = curves({"loss": ([0, 8], [16.0, 1.0])}, columns=9, rows=1)[1].partition(" ")[2]
    assert drawn.startswith("█")
    assert list(drawn) == sorted(drawn, reverse=True)
    assert len(set(drawn)) > 6


def test_curves_of_little_and_of_much() -> None:
    assert curves({"loss": ([], [])}) == []
    assert curves({"loss": ([5], [2.0])}, columns=3, rows=1)[1] == "2 ▁"
    for values in ([0.0, 0.0], [1e99, -5.0], [1e-9, 1e-9]):
        for line in curves({"loss": ([1, 10**90], values)}, columns=8, rows=2)[1:]:
            assert len(line) <= 8 + 7


def test_lines_are_aligned_and_folded() -> None:
    assert aligned([("a", "", "1"), ("가", "", "100")], left=(0,)) == ["a     1", "가  100"]
    folded = named([("a name", "word " * 60), ("", "x")])
    assert all(len(line) <= 120 for line in folded)
    assert folded[1].startswith(" " * 15 + "word")
    assert folded[-1] == " " * 15 + "x"
    long = "/a/" + "b" * 200
    assert long in "".join(named([("path", long)])), "a path is never broken"
