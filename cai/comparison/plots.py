"""The loss curves as PNG and SVG, by matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.comparison.payload import best_first, thin
from cai.comparison.table import LOSS
from cai.errors import CaiError
from cai.files import told, whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cai.comparison.runs import RunRecord
    from cai.comparison.table import Comparison

TRAIN_LOSS = "train/loss"
NAME = "curves"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#7F7F7F")
"""Okabe and Ito's, which colour-blind readers tell apart, without black and with its yellow darker."""
NAMED = len(PALETTE)
"""Up to so many runs have a colour of their own and a train curve; more are coloured by rank and only the best are named."""
BEST_NAMED = 5
POINTS = 1_000
"""Of a curve: more than a figure of this size has dots across."""
HANGUL_FONTS = (
    *("Noto Sans KR", "Noto Sans CJK KR", "Noto Sans CJK JP", "NanumGothic", "NanumBarunGothic", "NanumSquareRound"),
    *("Pretendard", "Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic", "UnDotum", "Baekmuk Dotum", "Arial Unicode MS"),
)
"""Families with Korean letters, as Linux, Windows and macOS have them."""
PLAIN_FONT = "DejaVu Sans"
"""Comes with matplotlib."""


class PlotsUnavailable(CaiError):
    """The library that draws the curves is not installed."""

    exit_code = 2


def write_plots(comparison: Comparison, folder: Path) -> list[Path]:
    """``curves.png`` and ``curves.svg`` in ``folder``, whose paths are returned.

    Raises ``PlotsUnavailable``, ``OutputError``.
    """
    return [write_plot(comparison, folder / f"{NAME}.{kind}") for kind in ("png", "svg")]


def write_plot(comparison: Comparison, path: Path) -> Path:
    """The loss curves as ``path``, a PNG or an SVG by its suffix; the same comparison gives the same bytes."""
    check_matplotlib()
    import matplotlib

    names = dict(zip(comparison.runs, (run.name for run in comparison.runs), strict=True))
    family, drawable = fonts_for(names.values())
    labels = {run: name if drawable(name) else f"run {number}" for number, (run, name) in enumerate(names.items(), 1)}
    kind = path.suffix.removeprefix(".")
    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
    style: Any = {"font.family": family, "svg.hashsalt": "cai", "text.parse_math": False, "axes.unicode_minus": False}
    with matplotlib.rc_context(style), told(path), whole_file(path) as unfinished:
        figure = draw(comparison, labels)
        figure.savefig(unfinished, format=kind, dpi=150, metadata=metadata)
    return path


def check_matplotlib() -> None:
    """Raise ``PlotsUnavailable`` if there is none."""
    if find_spec("matplotlib") is None:
        raise PlotsUnavailable('PNG and SVG need matplotlib, which is not installed. Try: pip install "cai[plot]"')


def draw(comparison: Comparison, labels: Mapping[RunRecord, str]) -> Figure:
    """The figure. Of up to eight runs the training loss too, thin; the best is drawn last, on top."""
    from matplotlib.figure import Figure

    runs = best_first(comparison)
    colors = colors_of(runs)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    tag = comparison.ranked_by
    drawn = []
    for place, run in reversed(list(enumerate(runs))):
        if tag == LOSS and len(runs) <= NAMED:
            axes.plot(*thin(*run.history.series(TRAIN_LOSS), POINTS), color=colors[place], linewidth=0.6, alpha=0.45)
        steps, values = thin(*run.history.series(tag), POINTS)
        if steps:
            marker = "o" if len(steps) == 1 else None
            (line,) = axes.plot(steps, values, marker=marker, color=colors[place], linewidth=1 + (place == 0))
            drawn.append((line, labels[run]))
    _finish(axes, tag, [*reversed(drawn)], len(runs))
    return figure


def _finish(axes: Axes, tag: str, drawn: Sequence[tuple[Any, str]], count: int) -> None:
    """Scales, labels, and a legend of all runs, or of the best."""
    from matplotlib.ticker import LogFormatter, LogLocator

    axes.set_xlabel("step")
    axes.set_ylabel({LOSS: "loss (nats per token), log scale"}.get(tag, "bits per byte, log scale"))
    axes.set_yscale("log")  # the fall at the beginning would leave no room for what comes after
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(99, 99)))
    axes.yaxis.set_minor_locator(LogLocator(subs=()))
    axes.grid(alpha=0.3)
    if drawn:
        named = drawn if count <= NAMED else drawn[:BEST_NAMED]
        title = None if count <= NAMED else f"the best of {count} (darkest)"
        axes.legend(*zip(*named, strict=True), fontsize="small", title=title, title_fontsize="small", loc="upper right")
    else:
        axes.text(0.5, 0.5, f"no run has recorded {tag}", transform=axes.transAxes, ha="center", va="center")


def colors_of(runs: Sequence[RunRecord]) -> Sequence[Any]:
    """One for each of ``runs``, which are sorted: a palette for a few, a scale that begins dark for more."""
    from matplotlib import colormaps

    if len(runs) <= NAMED:
        return PALETTE
    return [colormaps["viridis"](0.85 * place / (len(runs) - 1)) for place in range(len(runs))]


def fonts_for(names: Iterable[str]) -> tuple[list[str], Any]:
    """Font families for ``names``, and a function that says whether they have every letter of a text: what is missing
    would be drawn as boxes.
    """
    from matplotlib.font_manager import FontProperties, findfont, get_font

    families = [PLAIN_FONT]
    if not all(name.isascii() for name in names):
        families += hangul_families()[:1]
    letters = {letter for one in families for letter in get_font(findfont(FontProperties(family=one))).get_charmap()}
    return families, lambda text: all(ord(letter) in letters for letter in text)


def hangul_families() -> list[str]:
    """Families with Korean letters that are installed, the preferred first."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    def known() -> list[str]:
        there = {entry.name for entry in fontManager.ttflist}
        return [family for family in HANGUL_FONTS if family in there]

    if not known():  # matplotlib keeps a list of fonts, which knows none that was installed later
        parts = tuple(family.replace(" ", "").removesuffix("KR").removesuffix("JP").lower() for family in HANGUL_FONTS)
        for path in findSystemFonts():
            if Path(path).name.replace(" ", "").lower().startswith(parts):
                fontManager.addfont(path)
    return known()
