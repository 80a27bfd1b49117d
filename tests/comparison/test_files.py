"""``compare.csv`` and ``compare.json``: every run, every figure, nothing rounded."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from cai.comparison.files import write_csv, write_json
from cai.comparison.runs import FIGURES
from cai.comparison.table import compare_runs
from tests.comparison.making import record

LOSS = 2.1234567890123457
RUNS = [
    record("worse", 4.0, optimizer__lr=0.1),
    record('실험, "둘"', LOSS, optimizer__lr=1e-4, columns={"answers/tel": 1 / 3}),
    record("again", LOSS + 1, optimizer__lr=1e-4, seed=2),
    record("waits", None, status="waiting", model__tied=True, facts={"steps": None, "seconds": None, "ended": None}),
]


def rows(path: Path) -> list[dict[str, str]]:
    write_csv(compare_runs(RUNS), path)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tree(path: Path) -> dict[str, Any]:
    write_json(compare_runs(RUNS), path)
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def test_the_csv_has_a_line_for_each_run_the_best_group_first(tmp_path: Path) -> None:
    lines = rows(tmp_path / "compare.csv")
    expected = [("실험", "1", "true"), ("again", "1", "false"), ("worse", "2", "false"), ("waits", "3", "false")]
    assert [(line["run"].partition(",")[0], line["group"], line["best"]) for line in lines] == expected
    assert lines[3]["status"] == "waiting"


def test_no_figure_of_the_csv_is_rounded(tmp_path: Path) -> None:
    by_name = {line["run"]: line for line in rows(tmp_path / "compare.csv")}
    best = by_name['실험, "둘"']
    assert float(best["best_val_loss"]) == LOSS
    assert float(best["answers/tel"]) == 1 / 3
    assert best["optimizer.lr"] == "0.0001"
    for name, run in ((run.name, run) for run in RUNS):
        for figure in FIGURES:
            value = getattr(run, figure)
            assert by_name[name][figure] == ("" if value is None else str(value))
        for path, value in run.options.items():
            assert by_name[name][path] == (str(value).lower() if isinstance(value, bool) else str(value))
    assert by_name["waits"]["answers/tel"] == ""
    assert by_name["worse"]["model.tied"] == ""


def test_the_json_has_groups_runs_and_warnings(tmp_path: Path) -> None:
    found = tree(tmp_path / "compare.json")
    comparison = compare_runs(RUNS)
    assert found["ranked_by"] == "val/loss"
    assert found["best"] == '실험, "둘"'
    assert found["differing"] == comparison.differing
    assert found["warnings"] == comparison.warnings != []
    assert [run["name"] for run in found["runs"]] == [run.name for run in RUNS]
    for written, run in zip(found["runs"], RUNS, strict=True):
        assert written["figures"] == {figure: getattr(run, figure) for figure in FIGURES}
        assert written["options"] == run.options
        assert written["status"] == run.status
    assert found["runs"][1]["newest"]["answers/tel"] == 1 / 3
    assert found["runs"][0]["fingerprints"]["corpus"] == "c0"


def test_the_groups_of_the_json_have_means_and_deviations(tmp_path: Path) -> None:
    pair = [record("a", 1.0, seed=1, columns={"answers/tel": 0.5}), record("b", 2.0, seed=2, columns={"answers/tel": 0.7})]
    write_json(compare_runs([*pair, record("c", 9.0, seed=3, status="failed")]), tmp_path / "compare.json")
    (group,) = json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))["groups"]
    assert (group["runs"], group["counted"], group["status"]) == (["a", "b", "c"], ["a", "b"], "finished")
    assert group["mean"]["best_val_loss"] == 1.5
    assert group["deviation"]["best_val_loss"] == pytest.approx(0.5**0.5)
    assert group["mean"]["answers/tel"] == pytest.approx(0.6)


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    for write, name in ((write_csv, "compare.csv"), (write_json, "compare.json")):
        path = tmp_path / name
        path.write_text("x" * 10**6, encoding="utf-8")
        write(compare_runs(RUNS[:1]), path)
        assert "x" * 9 not in path.read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"compare.csv", "compare.json"}


def test_half_of_a_surrogate_pair_and_infinity_can_be_written(tmp_path: Path) -> None:
    run = dataclasses.replace(record("a", x="\udcff", y=math.inf, z=math.nan), error="bad \ud800 byte")
    write_csv(compare_runs([run]), tmp_path / "compare.csv")
    write_json(compare_runs([run, record("b", x="b")]), tmp_path / "compare.json")
    with (tmp_path / "compare.csv").open(encoding="utf-8", newline="") as file:
        (line,) = csv.DictReader(file)
    assert (line["error"], line["x"]) == ("bad ? byte", "?")
    text = (tmp_path / "compare.json").read_text(encoding="utf-8")
    options = json.loads(text, parse_constant=lambda word: pytest.fail(word))["runs"][0]["options"]
    assert (options["x"], options["y"], options["z"]) == ("?", "inf", "nan")
