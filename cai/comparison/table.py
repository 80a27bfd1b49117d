"""Runs ranked: those that differ only in their seed as one group, the best first."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cai.comparison.fairness import losses_compare, unequal_seeds, warnings_of
from cai.comparison.options import Scalar, differing_options, short_paths
from cai.comparison.runs import FIGURES, RunRecord
from cai.errors import ConfigError
from cai.spelling import did_you_mean

SEED = "seed"
LOSS, BITS = "val/loss", "val/bits_per_byte"
RANKING = {LOSS: "best_val_loss", BITS: "best_bits_per_byte"}
"""What runs are ranked by → the figure that is lowest for the best."""

ENDS = ("finished", "pruned", "running", "interrupted", "failed", "waiting")
"""Every status; a group whose runs have come less far stands further down."""


def come_far(status: str) -> int:
    """The place of ``status`` in ``ENDS``; an unknown one is behind all."""
    return ENDS.index(status) if status in ENDS else len(ENDS)


def figure_of(run: RunRecord, figure: str) -> float | None:
    """One of ``FIGURES``, or the newest value of a tag such as ``answers/tel``."""
    value: float | None = getattr(run, figure) if figure in FIGURES else run.history.last(figure)
    return value


@dataclass(frozen=True, eq=False)
class Group:
    """Runs on the same data that differ only in ``seed``; most often one."""

    runs: tuple[RunRecord, ...]
    differing: Mapping[str, Scalar]
    """The options in which groups differ, as far as this one has them."""

    @property
    def status(self) -> str:
        """Of its run that has come furthest."""
        return min((run.status for run in self.runs), key=come_far)

    @property
    def counted(self) -> tuple[RunRecord, ...]:
        """The runs that its figures are of: those that have come furthest, as a mean over one that is whole and one that is
        not would say nothing, and of each seed the newest, as the same run again says nothing more.
        """
        newest: dict[Scalar | None, RunRecord] = {}
        for run in sorted(self.runs, key=lambda run: str(run.facts.get("started", ""))):
            if run.status == self.status:
                newest[run.options.get(SEED)] = run
        return tuple(run for run in self.runs if run in newest.values())

    @property
    def count(self) -> str:
        """How many seeds count, of how many if not of all, and how many runs if some repeat a seed."""
        runs, seeds, counted = len(self.runs), len({run.options.get(SEED) for run in self.runs}), len(self.counted)
        return (str(seeds) if seeds == counted else f"{counted} of {seeds}") + f" ({runs} runs)" * (runs > seeds)

    def values(self, figure: str) -> list[float]:
        """Of every run that counts and has the figure."""
        return [value for run in self.counted if (value := figure_of(run, figure)) is not None]

    def mean(self, figure: str) -> float | None:
        """``None`` if no run has it."""
        return statistics.fmean(values) if (values := self.values(figure)) else None

    def deviation(self, figure: str) -> float | None:
        """The sample standard deviation; ``None`` for less than two runs."""
        return statistics.stdev(values) if len(values := self.values(figure)) > 1 else None

    def best(self, figure: str) -> RunRecord:
        """The run with the lowest ``figure``; the first if none has it."""
        return min(self.counted, key=lambda run: _none_last(figure_of(run, figure)))


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs side by side."""

    runs: list[RunRecord]
    """As they were given."""
    groups: list[Group]
    """The best first; those without a finished run last."""
    differing: list[str]
    """Dotted paths of the options in which groups differ: never ``seed``."""
    warnings: list[str]
    """A sentence for each reason why the comparison is not fair."""
    best: RunRecord | None
    """The best run of the best group."""
    ranked_by: str
    """``val/loss``; ``val/bits_per_byte`` when tokenizers or data differ."""
    sorted_by: str | None = None
    """The figure, tag or option that decides the order of ``groups`` instead."""

    @property
    def rank(self) -> str:
        """The figure that is lowest for the best."""
        return RANKING[self.ranked_by]


def compare_runs(runs: Sequence[RunRecord], sort: str | None = None) -> Comparison:
    """``sort``: a figure, a tag or an option to order the groups by in place of their rank, the largest first after ``-``.

    Raises ``ConfigError`` if there is no such thing.
    """
    members = _alike(runs)
    options = [{path: value for path, value in group[0].options.items() if path != SEED} for group in members]
    differing = differing_options(options)
    groups = [
        Group(tuple(group), {path: each[path] for path in differing if path in each})
        for group, each in zip(members, options, strict=True)
    ]
    ranked_by = LOSS if losses_compare(runs) else BITS
    rank = RANKING[ranked_by]
    groups.sort(key=lambda group: (come_far(group.status), _none_last(group.mean(rank))))
    measured = next((group for group in groups if group.mean(rank) is not None), None)
    best = measured.best(rank) if measured else None
    warnings = [*warnings_of(runs), *unequal_seeds([group.counted for group in groups])]
    if sort is not None:
        groups = _sorted(groups, sort)
    sorted_by = sort.removeprefix("-") if sort is not None else None
    return Comparison(list(runs), groups, differing, warnings, best, ranked_by, sorted_by)


def _alike(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Runs of equal options but for the seed, and of the same token ids. One that has not come to its data stands with the
    first of its options.
    """
    members: dict[frozenset[tuple[str, Scalar]], dict[str | None, list[RunRecord]]] = {}
    for run in runs:
        options = frozenset((path, value) for path, value in run.options.items() if path != SEED)
        ids = run.facts.get("fingerprints", {}).get("ids")
        members.setdefault(options, {}).setdefault(ids, []).append(run)
    alike = []
    for by_ids in members.values():
        unknown = by_ids.pop(None, [])
        first, *others = by_ids.values() or [[]]
        together = [run for run in runs if run in (*first, *unknown)] if unknown else first
        alike += [together, *others]
    return alike


def _sorted(groups: Sequence[Group], sort: str) -> list[Group]:
    runs = [run for group in groups for run in group.runs]
    options = list(dict.fromkeys(path for run in runs for path in run.options))
    tags = list(dict.fromkeys(tag for run in runs for tag in run.history.columns))
    by_suffix = {short: path for path, short in short_paths(options, options).items()}
    name = sort.removeprefix("-")
    if name not in (*FIGURES, *tags, *options, *by_suffix):
        close = did_you_mean(name, [*FIGURES, *tags, *options])
        hint = f"Did you mean {' or '.join(close)}?" if close else f"Figures are {', '.join(FIGURES)}."
        raise ConfigError(f"`sort` must be a figure, a tag or an option of the runs, but is {name}. {hint}")

    def value(group: Group) -> Scalar | None:
        if name in FIGURES or name in tags:
            return group.mean(name)
        return group.runs[0].options.get(name, group.runs[0].options.get(by_suffix.get(name, name)))

    known = [group for group in groups if value(group) is not None]
    known.sort(key=lambda group: _by_kind(value(group)), reverse=sort.startswith("-"))
    return known + [group for group in groups if value(group) is None]


def _by_kind(value: Scalar | None) -> tuple[bool, float, str]:
    """Numbers before texts, each in their own order."""
    return (True, 0.0, value) if isinstance(value, str) else (False, float(value or 0), "")


def _none_last(value: float | None) -> tuple[bool, float]:
    return value is None, value or 0.0
