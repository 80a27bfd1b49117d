"""``cai compare`` as it is called: what it prints, what it writes and where, and how little it needs to start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cai.cli import main
from cai.config.comparison import CompareConfig
from cai.config.tree import load_yaml
from cai.resources import conf_folder
from tests.comparison.making import make_run, make_sweep
from tests.conftest import train_tiny

pytestmark = pytest.mark.usefixtures("scratch", "drawn")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """In the place of report, plots and record: what they were asked for. What they draw has tests of its own."""
    calls: list[tuple[Any, ...]] = []

    def module(name: str, function: str, result: object) -> None:
        stub = ModuleType(f"cai.comparison.{name}")
        setattr(stub, function, lambda *words: (calls.append((name, *words)), result)[1])
        monkeypatch.setitem(sys.modules, f"cai.comparison.{name}", stub)

    module("report", "write_report", None)
    module("plots", "write_plots", [Path("curves.png")])
    module("record", "write_record", None)
    return calls


@pytest.fixture
def sweep() -> Path:
    """Two of three jobs of a sweep have run."""
    overrides = [["model.n_layer=1"], ["model.n_layer=2"], ["model.n_layer=3"]]
    jobs = make_sweep(Path("outputs/run/sweep"), overrides)
    make_run(jobs[0], *overrides[0])
    make_run(jobs[1], *overrides[1], lines={6: {"val/loss": 3.0, "val/bits_per_byte": 2.0}})
    return jobs[0].parent


def test_real_runs_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    for layers, seed in ((1, 1), (1, 2), (2, 1)):
        train_tiny(f"model.n_layer={layers}", f"seed={seed}", f"name=run_{layers}_{seed}")
    capsys.readouterr()
    assert main(["compare", "outputs"]) == 0
    said = capsys.readouterr()
    heading, *lines = said.out.splitlines()[:3]
    assert heading.split()[1] == "n_layer"
    assert "seed " not in heading
    assert sorted(line[0] for line in lines) == [" ", "*"]
    (pair,) = (line for line in lines if "±" in line)
    assert pair.endswith(" 2")
    (warning,) = (line for line in said.err.splitlines() if "other code" not in line)  # it may be edited meanwhile
    assert warning.startswith("warning: other numbers of seeds (")
    assert "1 seed in " in warning
    assert "2 seeds in " in warning
    groups = json.loads(Path("outputs/comparison/compare.json").read_text(encoding="utf-8"))["groups"]
    assert sorted(len(group["runs"]) for group in groups) == [1, 2]


def test_one_directory_holds_its_own_comparison(
    sweep: Path, drawn: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(sweep)]) == 0
    folder = sweep / "comparison"
    assert {path.name for path in folder.iterdir()} == {"compare.csv", "compare.json"}
    said = capsys.readouterr()
    (report, plots) = drawn
    assert (report[0], report[2], plots[0], plots[2]) == ("report", folder / "report.html", "plots", folder)
    assert [run.name for run in report[1].runs] == ["0_job", "1_job", "2_job"]
    for path in (folder / "compare.csv", folder / "compare.json", folder / "report.html", "curves.png"):
        assert str(path) in said.out
    assert "warning: 1 of 3 runs is not finished (waiting in 2_job)" in said.err
    assert not list(Path("outputs").glob("comparisons"))
    assert main(["compare", str(sweep)]) == 0  # again, with the first one there
    assert json.loads((folder / "compare.json").read_text(encoding="utf-8"))["best"] == "1_job"


@pytest.mark.parametrize("words", [["outputs/run/sweep/0_job", "outputs/run/sweep/1_job"], ["outputs/*/sweep"]])
def test_several_are_compared_in_a_folder_of_the_outputs(words: Sequence[str], sweep: Path) -> None:
    assert main(["compare", *words, "output_dir=my outputs"]) == 0
    (folder,) = Path("my outputs/comparisons").iterdir()
    assert (folder / "compare.csv").is_file()
    assert not (sweep / "comparison").exists()


def test_where_the_files_go_and_in_what_order_can_be_said(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(sweep), "out=어디, {에}=든", "sort=-n_layer"]) == 0
    assert Path("어디, {에}=든/compare.json").is_file()
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:4]] == ["waiting", "finished", "finished"]


def test_what_decides_the_order_is_in_the_table(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(sweep), "sort=train/loss"]) == 0
    heading, first, second, third = (line.split() for line in capsys.readouterr().out.splitlines()[:4])
    assert "train/loss" in heading
    assert ("4.5" in first, "-" in second, "-" in third) == (True, True, True)


def test_a_record_is_written_where_it_is_wanted(sweep: Path, drawn: list[tuple[Any, ...]]) -> None:
    assert main(["compare", str(sweep), "record=experiments/깊이"]) == 0
    name, comparison, folder, words = drawn[0]
    assert (name, folder) == ("record", Path("experiments/깊이"))
    assert words == ["cai", "compare", str(sweep), "record=experiments/깊이"]
    assert comparison.best.name == "1_job"


def test_the_table_fits_the_terminal(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    assert main(["compare", str(sweep)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:4])) <= 70
    assert "left out for want of width" in lines[5]


def test_a_folder_whose_name_has_an_equals_sign_is_a_folder(sweep: Path) -> None:
    Path("outputs").rename("a=b, c")
    assert main(["compare", "a=b, c/run"]) == 0
    assert Path("a=b, c/run/comparison/compare.csv").is_file()


def test_what_cannot_be_drawn_is_left_out_and_said(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cai.errors import ConfigError

    def refuse(*words: object) -> None:
        raise ConfigError('report.html needs Bokeh. Try: pip install "cai[report]"')

    monkeypatch.setattr(sys.modules["cai.comparison.report"], "write_report", refuse)
    assert main(["compare", str(sweep)]) == 0
    said = capsys.readouterr()
    assert "note: report.html needs Bokeh" in said.err
    assert "report.html" not in said.out
    assert "curves.png" in said.out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["cai compare outputs/run/<sweep>"]),
        (["sort=lr"], ["cai compare outputs/run/<sweep>"]),
        (["nowhere"], ["`nowhere`", "no such path", "cai compare outputs"]),
        (["{sweep}", "sotr=lr"], ["`sotr`", "Did you mean sort?"]),
        (["{sweep}", "sort=wd"], ["`sort`", "wd"]),
        (["{sweep}", "sort="], ["sort must not be empty, but is ''"]),
        (["{sweep}", "output_dir=null"], ["`output_dir`"]),
        (["{sweep}", "-m"], ["`-m`", "compare"]),
        (["{sweep}", "--config-dir", "."], ["`--config-dir`"]),
        (["{sweep}", "out=x", "{sweep}"], ["key=value"]),
        (["{sweep}", "-v", "outt=x", "sort="], ["`-v`", "`outt`", "sort must"]),
        (["outputs/run/sweep/sweep.json/x"], ["no such path"]),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(
    words: list[str], parts: list[str], sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().rglob("*"))
    assert main(["compare", *[word.format(sweep=sweep) for word in words]]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert all(part in said.err for part in parts), said.err
    assert sorted(Path().rglob("*")) == before


def test_runs_none_of_which_can_be_read_are_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    make_run(Path("run"))
    Path("run/config.yaml").unlink()
    assert main(["compare", "run"]) == 2
    said = capsys.readouterr()
    assert "passed over" in said.out + said.err
    assert "must hold a run that can be read" in said.err


def test_a_folder_that_cannot_be_written_is_told_with_a_way_out(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sweep / "comparison").touch()
    assert main(["compare", str(sweep)]) == 1
    said = capsys.readouterr().err
    assert "comparison could not be written" in said
    assert "out=comparison" in said


def test_the_yaml_has_exactly_the_options_of_the_class() -> None:
    tree = load_yaml((conf_folder() / "compare.yaml").read_text(encoding="utf-8"))
    assert list(tree) == list(CompareConfig.model_fields)
    assert CompareConfig.model_validate(tree) == CompareConfig(sort=None, out=None, record=None, output_dir="outputs")


def test_compare_starts_without_what_is_heavy(sweep: Path) -> None:
    """Over two hundred runs it takes seconds; PyTorch and Hydra alone would take as long."""
    code = (
        "import sys, types\n"
        "for name in ('report', 'plots'):\n"
        "    stub = sys.modules[f'cai.comparison.{name}'] = types.ModuleType(name)\n"
        "    stub.write_report = lambda *words: None\n"
        "    stub.write_plots = lambda *words: []\n"
        "from cai.cli import main\ncode = main(['compare', sys.argv[1]])\n"
        "assert code == 0, code\nprint(*sys.modules)"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(sweep)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "100"})
    loaded = set(done.stdout.splitlines()[-1].split())
    assert loaded & {"torch", "hydra", "numpy", "tokenizers", "safetensors", "tensorboard", "optuna", "tqdm"} == set()
    assert {"cai.comparison.table", "yaml"} <= loaded


def test_python_m_is_the_verb(sweep: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "cai.compare", str(sweep)], capture_output=True, text=True, check=True)
    assert "* best by val/loss" in done.stdout


def test_a_run_of_a_stranger_does_not_end_it(sweep: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode("한\x1b[2J".encode() + b"\xff")
    values = {"val/loss": "x", "val/bits_per_byte": float("nan"), "perf/tokens_per_sec": float("inf")}
    make_run(sweep / name, status="\x1b[2J", error="\ud800", lines={6: values}, metrics={"val/loss": [1]})  # type: ignore[arg-type]
    assert main(["compare", str(sweep)]) == 0
    said = capfd.readouterr()
    assert "\x1b" not in said.out + said.err
    assert main(["compare", str(sweep / name)]) == 0
    assert "한\\x1b[2J\\udcff/comparison/compare.csv" in capfd.readouterr().out
    (run,) = json.loads((sweep / name / "comparison" / "compare.json").read_text(encoding="utf-8"))["runs"]
    assert (run["error"], run["figures"]["best_val_loss"], run["newest"]["val/loss"]) == ("?", None, None)
