"""Metrics by columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from cai.comparison.history import History, read_history


def read(path: Path, text: str) -> History:
    path.write_text(text, encoding="utf-8")
    return read_history(path)


def test_lines_become_columns_with_holes(tmp_path: Path) -> None:
    history = read(
        tmp_path / "m", '{"step": 0, "val/loss": 6.5}\n\n{"step": 2, "train/loss": 5}\n{"step": 4, "val/loss": null}\n'
    )
    assert history.steps == [0, 2, 4]
    assert history.columns == {"val/loss": [6.5, None, None], "train/loss": [None, 5, None]}
    assert history.series("val/loss") == ([0], [6.5])
    assert history.series("nothing") == ([], [])
    assert (history.last("val/loss"), history.last("nothing")) == (6.5, None)


def test_lines_of_one_step_are_one(tmp_path: Path) -> None:
    history = read(tmp_path / "m", '{"step": 6, "val/loss": 4.0}\n{"step": 6, "answers/tel": 0.5}\n')
    assert (history.steps, history.columns) == ([6], {"val/loss": [4.0], "answers/tel": [0.5]})


def test_no_file_is_no_history(tmp_path: Path) -> None:
    history = read_history(tmp_path / "m")
    assert (history.steps, history.columns, history.lowest("val/loss")) == ([], {}, None)


def test_the_lowest_is_the_first_of_equals() -> None:
    history = History([1, 2, 3, 4], {"x": [3.0, 1.0, None, 1.0]})
    assert history.lowest("x") == (2, 1.0)
    assert (history.at("x", 2), history.at("x", 3), history.at("y", 2)) == (1.0, None, None)


def test_time_is_that_of_the_speeds_measured() -> None:
    history = History([0, 10, 20, 30, 40], {"perf/tokens_per_sec": [None, 100.0, None, 200.0, None]})
    assert history.seconds(10) == pytest.approx([0, 1, 1.5, 2, 2.5])
    assert History([0, 5], {}).seconds(10) == [0, 0]


@pytest.mark.parametrize("value", ['"x"', "NaN", "Infinity", "-1e999", "true", "[1]", "{}", "null", "1" + "0" * 400])
def test_what_is_no_finite_number_was_not_measured(tmp_path: Path, value: str) -> None:
    history = read(tmp_path / "m", f'{{"step": 0, "val/loss": 6.5}}\n{{"step": 2, "val/loss": {value}}}\n')
    assert history.columns == {"val/loss": [6.5, None]}
    assert history.lowest("val/loss") == (0, 6.5)
