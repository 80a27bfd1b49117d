"""Loss curves as PNG and SVG: what is drawn, that letters are not boxes, that the bytes stay the same."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from cai.comparison import plots
from cai.comparison.payload import best_first
from cai.comparison.plots import PlotsUnavailable, draw, fonts_for, hangul_families, write_plots
from cai.comparison.table import compare_runs
from tests.comparison.made import made_comparison, made_run


def test_png_and_svg_are_written_and_come_out_the_same_again(tmp_path: Path) -> None:
    comparison = made_comparison(tmp_path, 3)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    first, second = write_plots(comparison, tmp_path / "first"), write_plots(comparison, tmp_path / "second")
    assert [path.name for path in first] == ["curves.png", "curves.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(first[1]).getroot().tag.endswith("svg")
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == ["curves.png", "curves.svg"]


def test_a_few_runs_are_named_with_both_their_losses(tmp_path: Path) -> None:
    comparison = made_comparison(tmp_path, 4, extra=[made_run(tmp_path / "waiting", 0, status="waiting")])
    (axes,) = draw(comparison, {run: run.name for run in comparison.runs}).axes
    assert len(axes.lines) == 2 * 4 + 1  # of the run without any, one empty line
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [run.name for run in best_first(comparison)[:4]]
    steps, losses = comparison.runs[0].history.series("val/loss")
    assert any(list(line.get_xdata()) == steps and list(line.get_ydata()) == losses for line in axes.lines)


def test_of_many_runs_the_best_are_named(tmp_path: Path) -> None:
    comparison = made_comparison(tmp_path, 20)
    (axes,) = draw(comparison, {run: run.name for run in comparison.runs}).axes
    legend = axes.get_legend()
    assert len(axes.lines) == 20
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [run.name for run in best_first(comparison)[:5]]


def test_runs_without_a_loss_give_a_figure_that_says_so(tmp_path: Path) -> None:
    write_plots(compare_runs([made_run(tmp_path / "0", 0, status="waiting")]), tmp_path)


def test_korean_names_are_drawn_in_a_font_that_has_them_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hangul_families():
        families, drawable = fonts_for(["깊이 4"])
        assert families == ["DejaVu Sans", hangul_families()[0]]
        assert drawable("깊이 4")
    monkeypatch.setattr(plots, "hangul_families", list)
    families, drawable = fonts_for(["깊이 4"])
    assert families == ["DejaVu Sans"]
    assert not drawable("깊이 4")
    assert drawable("depth 4 ±")
    write_plots(
        compare_runs([made_run(tmp_path / "깊이 4 $x$")]), tmp_path
    )  # a missing letter would be a warning, so an error


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(PlotsUnavailable, match=r'not installed. Try: pip install "cai\[plot\]"'):
        write_plots(made_comparison(tmp_path, 1), tmp_path)
    assert not list(tmp_path.glob("curves.*"))
