"""What a study has come to, for people."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from cai.tuning.study import Outcome


def describe_study(
    directory: Path, outcomes: Sequence[Outcome], metric: str, direction: str, importances: Mapping[str, float]
) -> str:
    """A table of the trials, best first, and what the study has found so far."""
    shown = [one for one in outcomes if one.status != "skipped"]
    lines = ["", *_table(in_order(shown, direction), metric)]
    counts = Counter(one.status for one in shown)
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counts.items(), key=lambda one: -one[1]))
    skipped = len(outcomes) - len(shown)
    passed = f"; {skipped} points passed over (no valid config, or tried before)" if skipped else ""
    lines += ["", f"study       {directory}", f"trials      {len(shown)}: {listed or 'none'}{passed}"]
    if importances:
        lines.append("importance  " + ", ".join(f"{key} {share:.0%}" for key, share in importances.items()))
    return "\n".join(lines)


def in_order(outcomes: Sequence[Outcome], direction: str) -> list[Outcome]:
    """The best first; those without a value last, by number."""
    sign = 1 if direction == "minimize" else -1
    return sorted(outcomes, key=lambda one: (one.value is None, sign * (one.value or 0.0), one.point.number))


def _table(outcomes: Sequence[Outcome], metric: str) -> list[str]:
    keys = list(outcomes[0].point.values) if outcomes else []
    rows = [["trial", "status", metric, "at step", *keys]]
    for one in outcomes:
        value = "-" if one.value is None else f"{one.value:.4f}"
        step = "-" if one.step is None else f"{one.step:,}"
        rows.append([str(one.point.number), one.status, value, step, *one.point.values.values()])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    errors = ["", *(_error(one) for one in outcomes)]
    return [line + error for line, error in zip(aligned, errors, strict=True)]


def _error(outcome: Outcome) -> str:
    if outcome.status != "failed" or not outcome.error:
        return ""
    return f"  {outcome.error.splitlines()[0][:100]}"


def command(verb: str, words: Sequence[str], more: str = "") -> str:
    """Ready to paste. ``more`` is so already, with a blank before it."""
    return " ".join(["cai", verb, *map(shlex.quote, words)]) + more
