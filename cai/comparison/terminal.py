"""A comparison as a table for the terminal: as much of it as fits the width, columns aligned by what is seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cai.columns import cut, duration, one_line, pad, width
from cai.comparison.options import CLASS, Scalar, short_paths
from cai.comparison.table import BITS, Comparison, Group

GAP = "  "
NAME, CELL = 16, 24
"""Columns of the terminal that a name is given at least, and a value of an option at most."""

MARK = "*"

ERRORS = 5
"""Failed runs whose error is told."""


@dataclass(eq=False)
class Column:
    """Cells below a heading. The higher ``dispensable``, the sooner it is left out for want of width; 0: never."""

    heading: str
    cells: list[str]
    dispensable: int
    right: bool = True
    repeats: bool = False
    """Whether it says what the column before it says."""

    def __post_init__(self) -> None:
        self.heading, self.cells = one_line(self.heading), [one_line(cell) for cell in self.cells]

    @property
    def width(self) -> int:
        return max(width(text) for text in (self.heading, *self.cells))

    @property
    def says_nothing(self) -> bool:
        """Whether all cells are the same, or those of another column."""
        return self.repeats or (len(self.cells) > 1 and len(set(self.cells)) == 1)


def terminal_table(comparison: Comparison, room: int) -> str:
    """A line for each group, none wider than ``room`` if it can be; what was left out to come to that; why runs failed."""
    groups = comparison.groups
    best = [MARK if comparison.best in group.runs else "" for group in groups]
    names = [one_line(group.best(comparison.rank).name) for group in groups]
    columns = [*_options(comparison), *_figures(comparison)]
    columns, left_out = _that_fit(columns, room - len(MARK) - len(GAP) - min(NAME, max(map(width, names))))
    taken = sum(column.width + len(GAP) for column in columns) + len(MARK)
    names = _cut_apart(names, max(NAME, room - taken - len(GAP)))
    columns = [Column("", best, 0), Column("run", names, 0, right=False), *columns]
    rows = [[column.heading for column in columns], *zip(*(column.cells for column in columns), strict=True)]
    lines = [GAP.join(pad(text, c.width, c.right) for text, c in zip(row, columns, strict=True)) for row in rows]
    notes = [f"{MARK} best by {comparison.ranked_by}"] * any(best)
    notes += [f"left out for want of width: {', '.join(left_out)}"] * bool(left_out)
    return "\n".join([*(line.rstrip() for line in lines), *notes, *_errors(comparison, room)])


def _errors(comparison: Comparison, room: int) -> list[str]:
    """A line for each of the first runs that failed, as wide as there is room."""
    failed = {run.name: " ".join(run.error.split()) for run in comparison.runs if run.status == "failed" and run.error}
    lines = [f"{cut(one_line(name), room // 3)} failed: {one_line(error)}" for name, error in failed.items()]
    more = [f"and {len(lines) - ERRORS} more failed"] * (len(lines) > ERRORS)
    return [*(cut(line, room) for line in lines[:ERRORS]), *more]


def _options(comparison: Comparison) -> list[Column]:
    """The options that differ. Those that no sweep was over are dispensed with first, from the last on."""
    swept = {path for run in comparison.runs for path in run.swept}
    every = list(dict.fromkeys(path for run in comparison.runs for path in run.options))
    headings = short_paths(comparison.differing, every)
    columns = []
    for number, path in enumerate(comparison.differing):
        cells = shown_values([group.differing.get(path) for group in comparison.groups], path)
        heading = path.removesuffix(f".{CLASS}") if path.endswith(f".{CLASS}") else headings[path]
        dispensable = number + (10 if path in swept else 50)
        columns.append(Column(heading, cells, dispensable, right=all(_is_number(cell) for cell in cells)))
    return columns


def _figures(comparison: Comparison) -> list[Column]:
    groups = comparison.groups
    loss, bits = ("val loss", "val_loss"), ("bits/byte", "bits_per_byte")
    chosen = [bits] if comparison.ranked_by == BITS else [loss, bits]
    columns = []
    for place, (heading, figure) in enumerate(chosen):
        first = 0 if place == 0 else 200
        best, newest = ([_measured(group, name) for group in groups] for name in (f"best_{figure}", figure))
        columns.append(Column(f"best {heading}", best, first))
        columns.append(Column(heading, newest, first + 300, repeats=newest == best))
    for heading, figure, write, dispensable in (
        ("tokens", "tokens", in_short, 600),
        ("parameters", "parameters", in_short, 700),
        ("tokens/s", "tokens_per_sec", in_short, 500),
        ("time", "seconds", duration, 800),
    ):
        columns.append(Column(heading, [_mean(group, figure, write) for group in groups], dispensable))
    by = comparison.sorted_by
    if by is not None and any(by in run.history.columns or by in ("steps", "best_step") for run in comparison.runs):
        columns.append(Column(by, [_mean(group, by, lambda value: f"{value:.6g}") for group in groups], 0))
    columns.append(Column("status", [group.status for group in groups], 100, right=False))
    if any(len(group.runs) > 1 for group in groups):
        columns.append(Column("seeds", [group.count for group in groups], 0))
    return columns


def _that_fit(columns: Sequence[Column], room: int) -> tuple[list[Column], list[str]]:
    """Those that stay, and the headings of those that do not: the least interesting, before them any that say the same in
    every line. What is narrow may stay where something wider does not fit.
    """
    by_interest = sorted(columns, key=lambda column: (column.dispensable > 0, column.says_nothing, column.dispensable))
    kept = []
    for column in by_interest:
        needed = column.width + len(GAP)
        if needed <= room or not column.dispensable:
            kept.append(column)
            room -= needed
    return [c for c in columns if c in kept], [c.heading for c in columns if c not in kept]


def _measured(group: Group, figure: str) -> str:
    mean, deviation = group.mean(figure), group.deviation(figure)
    if mean is None:
        return "-"
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"


def _mean(group: Group, figure: str, write: Callable[[float], str]) -> str:
    mean = group.mean(figure)
    return "-" if mean is None else write(mean)


def in_short(number: float) -> str:
    """``768``, ``24.2 k``, ``9.13 M``: three digits."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= 0.9995 * factor:
            return f"{number / factor:.{2 if number < 9.995 * factor else 1 if number < 99.95 * factor else 0}f}{unit}"
    return f"{number:.0f}"


def shown_values(values: Sequence[Scalar | None], path: str) -> list[str]:
    """Values of one option, each as short as can be while different ones look different; ``-`` for none."""
    different = {value for value in values if value is not None}
    ways: list[Callable[[Scalar], str]] = [lambda v: _number(v, 3), lambda v: _number(v, 6), _whole]
    if path.endswith(f".{CLASS}"):
        ways.insert(0, lambda v: str(v).rpartition(".")[0].rpartition(".")[2])  # the module: the name of its YAML
    way = next((way for way in ways if len({_short(way(value)) for value in different}) == len(different)), _whole)
    return ["-" if value is None else _short(way(value)) for value in values]


def _number(value: Scalar, digits: int) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else _whole(value)


def _whole(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _short(text: str) -> str:
    """On one line, the middle of a long one left out: paths differ at the end, texts at the beginning."""
    text = one_line(text)
    if width(text) <= CELL:
        return text
    return cut(text, CELL // 2 - 1, mark="") + cut(text, CELL // 2 + 1, tail=True)


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(".", "", 1).replace("e-", "", 1).isdecimal()


def _cut_apart(names: Sequence[str], room: int) -> list[str]:
    """Names in at most ``room`` columns: their beginnings, or else their ends, if that still tells them apart; or whole."""
    heads, tails = [cut(name, room) for name in names], [cut(name, room, tail=True) for name in names]
    return next((ends for ends in (heads, tails) if len(set(ends)) == len(set(names))), list(names))
