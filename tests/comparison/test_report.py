"""report.html: the data it is drawn from, that it is safe and whole, and that a real browser draws it."""

from __future__ import annotations

import json
import os
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cai.comparison import report
from cai.comparison.payload import link_to, payload_of, thin
from cai.comparison.report import ReportUnavailable, write_report
from cai.comparison.table import Comparison, compare_runs
from cai.page import json_in_html
from tests.comparison.browser import Browser, browser, find_browser
from tests.comparison.made import GRID, made_comparison, made_run

DRAWN = "document.body?.dataset.drawn"
EVIL = "</script><script>window.evil = 1</script><img src=x onerror='window.evil=1'>"


def test_a_thinned_curve_keeps_its_ends_its_lowest_and_its_highest_point() -> None:
    values = [float((37 * number) % 1009) for number in range(5_000)]
    values[777], values[4_321] = -5.0, 9e9
    steps, kept = thin(range(5_000), values, 200)
    assert len(steps) <= 200
    assert (steps[0], steps[-1]) == (0, 4_999)
    assert steps == sorted(set(steps))
    assert (min(kept), max(kept)) == (-5.0, 9e9)
    assert all(values[step] == value for step, value in zip(steps, kept, strict=True))
    assert thin([1, 2], [3.0, 4.0], 200) == ([1, 2], [3.0, 4.0])


def test_a_link_is_relative_and_never_a_scheme(tmp_path: Path) -> None:
    assert link_to(tmp_path / "sweep" / "0_a", tmp_path / "sweep") == "./0_a/"
    assert link_to(tmp_path / "a b#?" / "한", tmp_path / "out") == "./../a%20b%23%3F/%ED%95%9C/"
    assert link_to(tmp_path / "b\udcff", tmp_path) == "./b%FF/"  # a name that is not UTF-8
    assert link_to(tmp_path / "javascript:alert(1)", tmp_path).startswith("./javascript%3A")


def test_the_data_hold_equal_options_once_and_steps_that_runs_share(tmp_path: Path) -> None:
    payload = payload_of(made_comparison(tmp_path, 4), tmp_path)
    assert payload["options"]["same"]["data.path"] == "글"
    assert payload["options"]["varied"]["optimizer.lr"] == [1e-4, 1e-4, 3e-4, 3e-4]
    assert payload["options"]["differing"] == ["optimizer.lr", "model.activation"]
    assert len(payload["steps"]) == 2  # of training and of validation
    assert [run["curves"]["val/loss"][0] for run in payload["runs"]] == [payload["runs"][0]["curves"]["val/loss"][0]] * 4
    assert payload["thinned"] == 0
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload


def test_long_curves_are_thinned_and_so_it_is_said(tmp_path: Path) -> None:
    payload = payload_of(made_comparison(tmp_path, 1, 9_000), tmp_path)
    assert payload["thinned"] == 4_000
    assert len(payload["runs"][0]["curves"]["train/loss"][1]) <= 4_000


def test_no_text_of_a_run_can_end_the_element_that_holds_it() -> None:
    text = json_in_html({"name": EVIL + "<!--\u2028\udcff"})
    assert "<" not in text
    assert ">" not in text
    assert json.loads(text)["name"] == EVIL + "<!--\u2028?"
    text.encode("utf-8")


def test_without_bokeh_the_extra_is_named_and_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    with pytest.raises(ReportUnavailable, match=r'not installed. Try: pip install "cai\[report\]"'):
        write_report(made_comparison(tmp_path, 1), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


# ---- in a browser

# Checks install one, and a check without one fails; only a person may do without.
needs_browser = pytest.mark.skipif(
    find_browser() is None and "CI" not in os.environ, reason="no Chromium or Chrome is installed (apt install chromium)"
)


@pytest.fixture(scope="module")
def page() -> Iterator[Browser]:
    with browser(20) as opened:
        yield opened


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("runs")
    options: dict[str, Any] = {"model__n_layer": 4, "optimizer__lr": 2e-3, "model__activation": "gelu"}
    extra = [
        made_run(folder / "한국어 실행", 20, status="running", **options),
        made_run(
            folder / "failed", 8, status="failed", error="TrainingError: not finite", **options | {"optimizer__lr": 0.1}
        ),
        made_run(folder / "waiting", 0, status="waiting", **options),
    ]
    return made_comparison(folder, 34, extra=extra)  # two of the 32 corners with a second seed


@pytest.fixture(scope="module")
def written(comparison: Comparison) -> Path:
    path = comparison.runs[0].directory.parent / "report.html"
    write_report(comparison, path)
    return path


def opened(page: Browser, path: Path, fragment: str = "", **look: Any) -> Browser:
    page.look(**look)
    page.open(f"{path.as_uri()}#{fragment}", DRAWN)
    assert page.errors == []
    return page


def rows(page: Browser, table: str) -> list[list[str]]:
    cells = "(row) => [...row.children].map((cell) => cell.textContent)"
    script = f"[...document.querySelectorAll('#{table} tbody tr')].map({cells})"
    found: list[list[str]] = page.run(script)
    return found


@needs_browser
def test_it_opens_offline_with_every_chart_and_does_not_jump(page: Browser, written: Path) -> None:
    opened(page, written)
    assert page.requests == [written.as_uri()]
    assert page.run("document.querySelectorAll('.chart canvas, .chart > *').length") >= 3 + len(GRID)
    assert page.run("[...document.querySelectorAll('.chart')].filter((one) => !one.children.length).length") == 0
    moved = page.run("""new Promise((done) => {
        new PerformanceObserver((list) => done(list.getEntries().reduce((sum, one) => sum + one.value, 0)))
            .observe({ type: "layout-shift", buffered: true });
        setTimeout(done, 300, 0); // there was none
    })""")
    assert moved < 0.02


@needs_browser
def test_curves_follow_the_address(page: Browser, written: Path, comparison: Comparison) -> None:
    opened(page, written, "x=tokens&show=train&logx=1&hide=0,1,2")
    assert page.run("curves.sources[0].data.xs.length") == len(comparison.runs) - 3 - 1  # and one has not begun
    assert page.run("[curves.plot.xaxes[0].type, curves.plot.yaxes[0].type]") == ["LogAxis", "LinearAxis"]
    run = comparison.runs[5]
    steps, losses = run.history.series("train/loss")
    drawn = page.run("[curve(runs[5], 'train/loss').xs, curve(runs[5], 'train/loss').ys]")
    assert run.tokens is not None and run.steps is not None  # noqa: PT018
    assert drawn[0] == pytest.approx([step * run.tokens / run.steps for step in steps])
    assert drawn[1] == pytest.approx(losses, rel=1e-5)

    page.run("update({ x: 'time' })")
    assert page.run("curve(runs[5], 'train/loss').xs.at(-1)") == pytest.approx(run.seconds, rel=1e-3)
    page.run("update({ smooth: 5 })")
    smooth = page.run("curve(runs[5], 'train/loss').ys")
    assert statistics.stdev(smooth[-20:]) < 0.7 * statistics.stdev(losses[-20:])
    assert "smooth=5" in page.run("location.hash")


@needs_browser
def test_pixels_of_the_curves_are_there_in_light_and_dark(page: Browser, written: Path, tmp_path: Path) -> None:
    from PIL import Image

    for dark, paper in ((False, (255, 255, 255)), (True, (20, 24, 29))):
        opened(page, written, "late=1", dark=dark)
        page.screenshot(tmp_path / "window.png")
        box = page.run(
            "(() => { const r = byId('curves-chart').getBoundingClientRect(); return [r.x, r.y, r.right, r.bottom] })()"
        )
        with Image.open(tmp_path / "window.png") as window:
            chart = window.convert("RGB").crop(tuple(map(int, box)))
        colors = {color: count for count, color in chart.getcolors(1 << 20)}
        assert max(colors, key=colors.__getitem__) == paper
        colorful = sum(
            count for (red, green, blue), count in colors.items() if max(red, green, blue) - min(red, green, blue) > 60
        )
        assert colorful > 3_000


@needs_browser
def test_effects_and_heatmap_show_the_means_of_the_finished_runs(
    page: Browser, written: Path, comparison: Comparison
) -> None:
    opened(page, written, "heatx=optimizer.lr&heaty=model.n_layer")
    finished = [run for run in comparison.runs if run.status == "finished"]

    def mean(**options: Any) -> float:
        wanted = {path.replace("__", "."): value for path, value in options.items()}
        return statistics.fmean(
            run.best_val_loss for run in finished if run.best_val_loss is not None and wanted.items() <= run.options.items()
        )

    shown = page.run("groupsBy('model.n_layer').map((group) => [group.level.label, group.mean, group.count])")
    assert [label for label, _, _ in shown] == ["2", "4", "6", "8"]
    assert [value for _, value, _ in shown] == pytest.approx([mean(model__n_layer=depth) for depth in (2, 4, 6, 8)])
    assert page.run("byId('heatmap').querySelector('h3').textContent") == "Heatmap of two options"
    cells = page.run("""(async () => { const view = await shownIn.get("heatmap-chart");
        const { data } = view.model.renderers.find((one) => one.data_source.data.mean).data_source;
        return [...data.x].map((x, i) => [x, data.y[i], data.mean[i]]) })()""")
    assert len(cells) == 16
    assert {(x, y): value for x, y, value in cells}["0.001", "6"] == pytest.approx(
        mean(optimizer__lr=1e-3, model__n_layer=6)
    )
    assert page.run("strongest[0]") == "optimizer.lr"
    assert "34 runs that have finished" in page.run("byId('options-note').textContent")


@needs_browser
def test_table_links_sorts_and_marks(page: Browser, written: Path, comparison: Comparison) -> None:
    opened(page, written)
    assert len(rows(page, "runs-table")) == len(comparison.runs)
    assert comparison.best is not None
    assert rows(page, "runs-table")[0][:2] == [f"best {comparison.best.name}", "finished"]
    assert [row[1] for row in rows(page, "runs-table")][-3:] == ["running", "failed", "waiting"]
    links = page.run("[...document.querySelectorAll('#runs-table a')].map((link) => link.getAttribute('href'))")
    assert {(written.parent / re.sub(r"^\./|/$", "", link)) for link in links} >= {
        run.directory for run in comparison.runs[:34]
    }

    column = "[...document.querySelectorAll('#runs-table th button')].find((one) => one.textContent.startsWith('lr'))"
    page.run(f"{column}.click()")
    page.run(f"{column}.click()")
    assert [row[3] for row in rows(page, "runs-table")][:3] == ["0.1", "0.004", "0.004"]
    page.run("document.querySelector('#runs-table tbody td').click()")
    assert page.run("[...document.querySelectorAll('tr.marked')].length") == 1
    assert "mark=" in page.run("location.hash")
    assert page.run("document.querySelector('#seeds').hidden") is False


@needs_browser
def test_samples_and_configs_of_two_runs_stand_side_by_side(page: Browser, written: Path) -> None:
    opened(page, written, "left=3&right=4&a=0&b=9")
    texts = page.run("[...document.querySelectorAll('pre')].map((one) => one.textContent)")
    assert texts[0] == "Step 600: 병원 전화번호 알려 줘\n\n요약:\n- 3번째 실행. TEL: 02-123-0003"
    assert "4번째" in texts[1]
    assert rows(page, "diff-table") == [["model.n_layer", "2", "4"], ["model.activation", "gelu", "relu2"]]
    page.run("document.querySelector('[data-state=every]').click()")
    assert ["data.path", "글", "글"] in rows(page, "diff-table")


@needs_browser
def test_a_phone_scrolls_down_and_not_aside(page: Browser, written: Path) -> None:
    opened(page, written, width=390, height=844, phone=True)
    assert page.run("document.documentElement.scrollWidth") == 390
    assert page.run("curves.plot.toolbar.active_drag") is None


@needs_browser
def test_a_run_of_a_stranger_executes_nothing(page: Browser, tmp_path: Path) -> None:
    evil = {"model__n_layer": EVIL, "optimizer__lr": "$$\\text{x}$$", "model__act'><b>": "\\(x\\)"}
    runs = [
        made_run(tmp_path / "javascript:window.evil=1", model__n_layer="a", optimizer__lr=EVIL),
        made_run(tmp_path / "<img src=x onerror=window.evil=1>", 0, status="failed", error=EVIL, **evil),
        made_run(tmp_path / "$$x$$ '\"><script>window.evil=1<", **evil),
    ]
    for run in runs:
        run.directory.mkdir()
        (run.directory / "samples.md").write_text(f"## Step 1: {EVIL}\n\n{EVIL}\n", encoding="utf-8")
    path = tmp_path / "report.html"
    write_report(compare_runs(runs), path)
    opened(page, path, f"color=optimizer.lr&sort={EVIL}&heatx=constructor&left=__proto__&y=toString&x=constructor")
    assert page.run("window.evil") is None
    assert page.requests == [path.as_uri()]
    assert page.run("document.querySelectorAll('img, main b, iframe').length") == 0
    assert page.run("document.querySelectorAll('script').length") == 4
    assert EVIL in page.run("document.querySelector('pre').textContent")
    page.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.evil=1\">')")
    page.wait("document.images[0].complete")
    assert page.run("window.evil") is None  # the page's policy stops what the page itself would let through


@needs_browser
def test_one_run_without_a_figure_is_a_page_too(page: Browser, tmp_path: Path) -> None:
    write_report(compare_runs([made_run(tmp_path / "0", 0, status="waiting")]), tmp_path / "report.html")
    opened(page, tmp_path / "report.html")
    assert page.run("byId('options-none').hidden") is False
    assert "None of the runs shown has recorded this." in page.run("byId('curves-note').textContent")


@needs_browser
def test_with_other_tokenizers_the_page_is_about_bits_per_byte(page: Browser, tmp_path: Path) -> None:
    runs = [made_run(tmp_path / f"{depth}", model__n_layer=depth) for depth in (2, 4)]
    for run in runs:
        run.facts["fingerprints"] = {"tokenizer": run.name, "corpus": "same"}  # type: ignore[index]
    comparison = compare_runs(runs)
    write_report(comparison, tmp_path / "report.html")
    opened(page, tmp_path / "report.html")
    assert comparison.best is not None
    assert page.run("curves.plot.yaxes[0].axis_label") == "bits per byte"
    assert page.run("curves.sources[0].data.ys.at(-1).at(-1)") == pytest.approx(comparison.best.bits_per_byte, rel=1e-5)
    assert "tokenizers" in page.run("byId('warnings').textContent")
    headings = page.run("[...document.querySelectorAll('#runs-table th[scope=col]')].map((one) => one.textContent)")
    assert "best bits/byte" in headings
    assert not [heading for heading in headings if "loss" in heading]
    page.run("update({ y: 'loss' })")
    assert "their losses cannot be compared" in page.run("byId('curves-note').textContent")


@needs_browser
def test_runs_without_the_option_that_colours_have_a_colour_of_their_own(page: Browser, tmp_path: Path) -> None:
    runs = [made_run(tmp_path / f"adamw {rate}", optimizer__lr=rate) for rate in (1e-3, 1e-2)]
    runs += [made_run(tmp_path / f"muon {value}", optimizer__lr=2e-3, optimizer__momentum=value) for value in (0.9, 0.95)]
    runs += [made_run(tmp_path / "lion", optimizer__lr=2e-3, optimizer__sign="yes")]
    write_report(compare_runs(runs), tmp_path / "report.html")
    for option, having in (("optimizer.momentum", 2), ("optimizer.sign", 1)):
        opened(page, tmp_path / "report.html", f"color={option}")
        colors = page.run("curves.sources[0].data.color")
        absent = page.run("styled('absent')")
        assert (len(colors), colors.count(absent)) == (5, 5 - having)
        assert not {None, "rgb(NaN,NaN,NaN)", "undefined"} & {str(color) for color in colors}
        assert "not there" in page.run("byId('scale').textContent")


@needs_browser
def test_the_first_tenth_is_that_of_the_run_with_the_most_tokens(page: Browser, tmp_path: Path) -> None:
    wide = made_run(tmp_path / "wide", 10, trainer__batch_size=64)  # large steps, few of them
    long = made_run(tmp_path / "long", 100, optimizer__lr=1e-3)
    write_report(compare_runs([wide, long]), tmp_path / "report.html")
    opened(page, tmp_path / "report.html", "x=tokens&late=1")
    assert (wide.tokens, long.tokens) == (90 * 64 * 64, 990 * 8 * 64)
    assert page.run("lastOf.tokens") == long.tokens
    assert page.run("curve(runs[0], 'train/loss').xs.length") == 8  # of steps 10, 20, ..., 90 those from 51,000 tokens on
    assert page.run("curves.sources[0].data.xs.length") == 2


@needs_browser
def test_a_seed_that_was_run_again_is_averaged_once(page: Browser, tmp_path: Path) -> None:
    runs = [made_run(tmp_path / f"{number}", seed=seed) for number, seed in enumerate((1, 1, 2))]
    runs.append(made_run(tmp_path / "other", optimizer__lr=1e-3))
    for number, run in enumerate(runs):
        run.facts["started"] = f"2026-01-0{number + 1}"  # type: ignore[index]
    write_report(compare_runs(runs), tmp_path / "report.html")
    opened(page, tmp_path / "report.html")
    assert sorted(page.run("averaged.map((run) => run.index)")) == [1, 2, 3]
    assert sorted(row[-2] for row in rows(page, "seeds-table")) == ["1", "2 (3 runs)"]
