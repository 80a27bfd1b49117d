"""``attention.png``: the maps of all heads as a picture, by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cai.comparison.plots import check_matplotlib, fonts_for
from cai.files import told, whole_file
from cai.inspection.pieces import labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

    from cai.inspection.attention_page import Seen

LAST = 120
"""Tokens that a map shows, the last ones of a long prompt."""
LONGEST = 8
"""Letters of a label."""
INCHES = (2.1, 4.4)
"""Of a map, with many of them side by side and with few."""
WIDTH = 17.0
"""Inches that the maps of a layer take together, if they can."""
GAP = (0.12, 0.32)
"""Inches between maps, beside and above them."""
HEAD, BAR = 0.55, 0.85
"""Inches for the title, and for the scale of the colours."""
BEFORE = "⟵"
UNSEEN = "#eef1f4"


def write_picture(seen: Seen, path: Path) -> str:
    """The picture as the PNG ``path``. Returns a sentence if some tokens could not be written in letters, else nothing.

    Raises ``PlotsUnavailable`` without matplotlib, ``OutputError``.
    """
    check_matplotlib()
    import matplotlib

    texts = [text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…" for text in labels(seen.texts)][-LAST:]
    families, drawable = fonts_for([*texts, seen.title])
    first = len(seen.texts) - len(texts)
    names = [text if drawable(text) else str(first + place) for place, text in enumerate(texts)]
    style: Any = {"font.family": families, "text.parse_math": False, "axes.unicode_minus": False}
    with matplotlib.rc_context(style), told(path), whole_file(path) as unfinished:
        title = seen.title if drawable(seen.title) else "Attention"
        figure = draw(seen, names, title)
        figure.savefig(unfinished, format="png", dpi=120, metadata={"Software": None})
    if names == texts:
        return ""
    return (
        "no font is installed that has all letters of these tokens: in the picture they stand by their numbers. For Korean"
        " install one, for instance: apt install fonts-nanum"
    )


def draw(seen: Seen, names: Sequence[str], title: str) -> Figure:
    """The figure: a row of maps for each layer. ``names`` are those of the last tokens, which it shows."""
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    columns, rows = max(map(len, seen.layers)), len(seen.layers)
    side = min(INCHES[1], max(INCHES[0], WIDTH / columns))
    labelled = _Labels.of(names, len(seen.texts), side)
    # Placed by hand: matplotlib's own layout looks at every label of every map, which takes it seconds.
    width = labelled.inches + columns * (side + GAP[0]) + BAR
    height = HEAD + rows * (side + GAP[1]) + labelled.inches
    figure = Figure(figsize=(width, height))
    norm, figures = PowerNorm(0.5, 0, 1), iter(zip(seen.heads, seen.names, strict=True))
    for row, weights in enumerate(seen.layers):
        bottom = height - HEAD - (row + 1) * (side + GAP[1])
        for column, of_head in enumerate(weights):
            left = labelled.inches + column * (side + GAP[0])
            axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
            axes.imshow(_last(of_head, len(names)), cmap=_colors(), norm=norm, interpolation="nearest", aspect="auto")
            head, looks_like = next(figures)
            axes.set_title(" ".join([f"{head.layer}.{head.head}", *looks_like]), fontsize=10, loc="left", pad=4)
            labelled.put(axes, left=column == 0, bottom=row == rows - 1)
    bar = figure.add_axes(((width - BAR + 0.1) / width, 1 - (HEAD + GAP[1] + side) / height, 0.14 / width, side / height))
    ticks = figure.colorbar(figure.axes[0].images[0], cax=bar)
    ticks.set_ticks([0, 0.01, 0.1, 0.3, 0.6, 1], labels=["0", "1 %", "10 %", "30 %", "60 %", "100 %"])
    more = len(seen.texts) - len(names)
    about = (
        f"the last {len(names)} of {len(seen.texts)} tokens; {BEFORE} is all before them" if more else f"{len(names)} tokens"
    )
    lines = f"{title}\nlayer.head; a row for each token, dark where it looks; {about}"
    figure.suptitle(lines, fontsize=11, x=0.15 / width, y=1 - 0.12 / height, ha="left", va="top")
    return figure


def _last(weights: Tensor, tokens: int) -> NDArray[np.floating[Any]]:
    """The rows of the last tokens; what goes to those before them is one column, the first. What lies ahead is no number."""
    size = len(weights)
    chosen = weights[size - tokens :].double()
    there = chosen[:, size - tokens :].masked_fill(~chosen.new_ones(tokens, tokens).tril().bool(), math.nan)
    image: NDArray[np.floating[Any]] = there.numpy()
    return np.column_stack([chosen[:, : size - tokens].sum(-1).numpy(), image]) if tokens < size else image


def _colors() -> Any:
    from matplotlib import colormaps

    return colormaps["Blues"].with_extremes(bad=UNSEEN)


class _Labels(NamedTuple):
    """The tokens beside the outer maps, as many as there is room for."""

    rows: Sequence[int]
    names: Sequence[str]
    columns: Sequence[int]
    below: Sequence[str]
    size: float
    inches: float
    """That the longest of them takes."""

    @classmethod
    def of(cls, names: Sequence[str], tokens: int, side: float) -> _Labels:
        """``side``: inches of a map. What comes before the tokens named is one column more."""
        more = int(tokens > len(names))
        cell = 72 * side / (len(names) + more)  # points
        every = math.ceil(6.0 / cell)
        rows = range(0, len(names), every)
        shown = [names[row] for row in rows]
        size = min(9.0, 0.9 * cell * every)
        longest = max(sum(1.0 if ord(letter) > 0x1100 else 0.65 for letter in name) for name in shown)
        columns = [0] * more + [row + more for row in rows]
        return cls(rows, shown, columns, [BEFORE] * more + shown, size, longest * size / 72 + 0.2)

    def put(self, axes: Axes, *, left: bool, bottom: bool) -> None:
        axes.set_yticks(self.rows, labels=self.names if left else [], fontsize=self.size)
        axes.set_xticks(self.columns, labels=self.below if bottom else [], fontsize=self.size, rotation=90)
        axes.tick_params(length=0, pad=2)
        for edge in axes.spines.values():
            edge.set_visible(False)
