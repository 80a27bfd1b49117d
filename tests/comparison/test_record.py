"""The record of a question: what is in it, that its commands are those typed, that none is ever written over."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest

from cai.comparison import plots
from cai.comparison.plots import PlotsUnavailable
from cai.comparison.record import config_names, readme, table, wrapped, write_record
from cai.comparison.table import compare_runs
from cai.errors import RunError
from cai.sweeps import Sweep, SweepJob
from tests.comparison.made import made_comparison, made_run

WORDS = ["cai", "compare", "outputs/run/a b", "record=experiments/depth"]


def test_a_record_has_commands_table_plot_losses_and_configs(tmp_path: Path) -> None:
    comparison = made_comparison(tmp_path, 4)
    jobs = tuple(SweepJob(run.directory.name, (), {}) for run in comparison.runs)
    Sweep(tmp_path / "sweep", ("optimizer.lr=1e-4,3e-4", "name=깊이 와 넓이"), jobs).save()
    for run in comparison.runs:
        (run.directory / "config.yaml").write_bytes(f"seed: 1 # {run.name}\n".encode())
    folder = tmp_path / "experiments" / "depth"
    write_record(comparison, folder, WORDS)

    text = (folder / "README.md").read_text(encoding="utf-8")
    commands = text.split("```text\n")[1].split("\n```")[0].splitlines()
    assert commands == [
        "cai train -m optimizer.lr=1e-4,3e-4 'name=깊이 와 넓이'",
        "cai compare 'outputs/run/a b' record=experiments/depth",
    ]
    assert text.startswith("# (The question")
    assert "![Validation by step](plot.svg)" in text
    assert "**Conclusion.** (" in text
    assert str(tmp_path) not in text
    assert table(comparison) in text
    configs = {path.name: path.read_bytes() for path in (folder / "configs").iterdir()}
    assert configs == {f"{run.name}.yaml": (run.directory / "config.yaml").read_bytes() for run in comparison.runs}
    with (folder / "losses.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    steps, losses = comparison.runs[2].history.series("val/loss")
    mine = [row for row in rows if row["run"] == comparison.runs[2].name]
    assert [(int(row["step"]), float(row["val_loss"])) for row in mine] == list(zip(steps, losses, strict=True))
    assert (folder / "plot.svg").read_bytes().startswith(b"<?xml")


def test_the_table_averages_seeds_and_marks_the_best(tmp_path: Path) -> None:
    options = {"optimizer__lr": 1e-3, "model__name": "a|b"}
    runs = [made_run(tmp_path / f"{seed}", seed=seed, **options) for seed in (1, 2, 3)]
    runs.append(made_run(tmp_path / "other", optimizer__lr=0.5, model__name="c\nd"))
    lines = table(compare_runs(runs)).splitlines()
    assert lines[0].startswith("| lr | name | seeds | best val loss | bits per byte |")
    assert lines[2].startswith("| 0.001 | a\\|b | 3 | **1.")
    assert " ± 0.0" in lines[2]
    assert lines[3].startswith("| 0.5 | c d | 1 | ")
    assert all(line.replace("\\|", "").count("|") == lines[0].count("|") for line in lines)


def test_a_long_command_is_wrapped_and_a_shell_reads_the_same_words() -> None:
    words = [
        "cai",
        "train",
        "-m",
        *(f"group.option{number}={number},1" for number in range(30)),
        "name=it's 깊이",
        "q=" + "y " * 90,
    ]
    text = wrapped(words)
    assert len(text.splitlines()) > 5
    assert all(len(line) < 130 for line in text.splitlines()[:-1])
    printed = subprocess.run(["sh", "-c", f"printf '%s\\0' {text}"], capture_output=True, check=True).stdout
    assert printed.decode().split("\0")[:-1] == words


def test_config_names_differ_on_every_file_system(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / name) for name in ("A b", "a:b", "a?b", "..", "한국어")]
    assert list(config_names(runs).values()) == ["A_b.yaml", "a_b_2.yaml", "a_b_3.yaml", "run.yaml", "한국어.yaml"]


def test_a_folder_with_a_readme_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("conclusion")
    with pytest.raises(RunError, match=r"`record` must be a folder without a README\.md, but .* Give another folder"):
        write_record(made_comparison(tmp_path / "runs", 1), tmp_path, WORDS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "runs"]
    assert (tmp_path / "README.md").read_text() == "conclusion"


def test_without_matplotlib_no_half_of_a_record_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(PlotsUnavailable):
        write_record(made_comparison(tmp_path / "runs", 1), tmp_path / "record", WORDS)
    assert not (tmp_path / "record").exists()


def test_where_losses_do_not_compare_the_table_has_none_and_marks_bits_per_byte(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / f"{depth}", model__n_layer=depth) for depth in (2, 4)]
    for run in runs:
        run.facts["fingerprints"] = {"tokenizer": run.name, "corpus": "same"}  # type: ignore[index]
    comparison = compare_runs(runs)
    heading, _, first, second = table(comparison).splitlines()
    assert heading.startswith("| n_layer | bits per byte | step |")
    assert comparison.best is not None
    assert f" | **{comparison.best.best_bits_per_byte:.4f}** | " in first
    assert "**" not in second
    text = readme(comparison, WORDS)
    assert "Validation bits per byte at the best evaluation, the best first:" in text
    assert "val loss" not in text


def test_texts_of_a_run_are_no_markdown_and_no_reason_to_end(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a", model__name="\udcff")
    run.facts["machine"] = {"processor": "<img src=x> `x` \ud800"}  # type: ignore[index]
    (tmp_path / "sweep.json").write_text("{")
    write_record(compare_runs([run]), tmp_path / "record", [*WORDS, "out=\udcff"])
    text = (tmp_path / "record" / "README.md").read_text(encoding="utf-8")
    assert "&lt;img src=x> \\`x\\` ?" in text
