"""How long report.html takes: to write, and to open in a headless Chromium until every chart is drawn. And its size.

python benchmarks/report_bench.py [runs] [points]        # 200 runs of 1,000 points if nothing is said
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cai.comparison.plots import write_plots
from cai.comparison.report import write_report
from tests.comparison.browser import browser, find_browser
from tests.comparison.made import made_comparison

TIMES = 5


def main(count: int = 200, points: int = 1_000) -> None:
    """Make the runs up, write, open several times, each in a new browser, and print the figures."""
    with tempfile.TemporaryDirectory() as scratch:
        comparison = made_comparison(Path(scratch), count, points)
        path = Path(scratch) / "report.html"
        started = time.perf_counter()
        write_report(comparison, path)
        wrote = time.perf_counter()
        write_plots(comparison, Path(scratch))
        drew = time.perf_counter()
        print(f"runs, points     {count} x {points:,} of the training loss")
        print(f"report.html      {wrote - started:.2f} s, {path.stat().st_size / 2**20:.1f} MiB")
        print(f"PNG and SVG      {drew - wrote:.2f} s")
        if find_browser() is None:
            print("opened           not measured: no Chromium or Chrome is installed")
            return
        for name, look in (("1280 x 800", {}), ("a phone", {"width": 390, "height": 844, "phone": True})):
            seconds = [opened(path, **look) for _ in range(TIMES)]
            print(f"opened, {name:<10} {statistics.median(seconds):.2f} s (median of {TIMES}, longest {max(seconds):.2f} s)")


def opened(path: Path, **look: int | bool) -> float:
    """Seconds from the navigation until every chart stands on the screen."""
    with browser() as page:
        page.look(**look)  # type: ignore[arg-type]
        seconds = page.open(path.as_uri(), "document.body?.dataset.drawn")
        assert page.errors == [], page.errors
        return seconds


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
