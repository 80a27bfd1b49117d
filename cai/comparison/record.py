"""A record of a question asked with CAI: what is kept under ``experiments/`` when the runs themselves are gone."""

from __future__ import annotations

import csv
import io
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.comparison.commands import training_commands
from cai.comparison.finding import writable
from cai.comparison.options import short_paths
from cai.comparison.plots import check_matplotlib, write_plot
from cai.comparison.table import BITS, LOSS
from cai.errors import RunError
from cai.files import told, write_whole
from cai.runs import CONFIG

if TYPE_CHECKING:
    from cai.comparison.runs import RunRecord
    from cai.comparison.table import Comparison, Group

README, LOSSES, PLOT, CONFIGS = "README.md", "losses.csv", "plot.svg", "configs"
WIDTH = 120
"""Of the lines of a command, in characters."""


def write_record(comparison: Comparison, folder: Path, words: Sequence[str]) -> None:
    """Write the record of ``comparison`` into ``folder``. ``words``: the command line that asks for it.

    Raises ``RunError``, before anything is written, if a README is there, ``PlotsUnavailable`` if the plot cannot be made.
    """
    if (folder / README).exists():
        raise RunError(
            f"`record` must be a folder without a {README}, but {folder} has one, which may hold a conclusion."
            " Give another folder, or move that one away."
        )
    check_matplotlib()
    with told(folder):
        (folder / CONFIGS).mkdir(parents=True, exist_ok=True)
    for run, name in config_names(comparison.runs).items():
        if (run.directory / CONFIG).is_file():  # a job that has not begun has none
            with told(folder / CONFIGS / name):
                shutil.copyfile(run.directory / CONFIG, folder / CONFIGS / name)
    write_whole(folder / LOSSES, writable(losses_csv(comparison)))
    write_plot(comparison, folder / PLOT)
    write_whole(folder / README, writable(readme(comparison, words)))  # last: the record is whole once it is there


def readme(comparison: Comparison, words: Sequence[str]) -> str:
    """The text, with question and conclusion left to fill in."""
    commands = [*training_commands(comparison.runs), words]
    sections = [
        "# (The question, in one sentence?)",
        "(Why it is asked, and what was expected before the runs.)",
        "```text\n" + "\n".join(map(wrapped, commands)) + "\n```",
        f"`{CONFIGS}/` has the saved config of every run, complete and resolved; `{LOSSES}` what the plot is made from.",
        circumstances(comparison.runs),
        _title(comparison) + "\n\n" + table(comparison),
        *["\n".join(f"- {_cell(warning)}" for warning in comparison.warnings)] * bool(comparison.warnings),
        f"![Validation by step]({PLOT})",
        "**Conclusion.** (What the figures say, negative results too.)",
        "**What this does not say.** (Seeds, length, ranges that were not tried.)",
    ]
    return "\n\n".join(sections) + "\n"


def wrapped(words: Sequence[str]) -> str:
    """A command ready to paste, over as many lines as it needs, each but the last ending in a backslash."""
    lines = [""]
    for word in map(shlex.quote, words):
        if lines[-1] and len(lines[-1]) + len(word) > WIDTH:
            lines.append(" ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


def circumstances(runs: Sequence[RunRecord]) -> str:
    """When, on what and with which versions the runs were made."""
    days = sorted({str(run.facts["started"])[:10] for run in runs if "started" in run.facts})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else "an unknown day"
    machines = _counted(str(run.facts.get("machine", {}).get("processor") or "unknown processor") for run in runs)
    devices = _counted(_device(run.facts.get("device", {})) for run in runs)
    versions = _counted(_versions(run.facts.get("versions", {})) for run in runs)
    count = f"{len(runs)} run{'s' * (len(runs) != 1)}"
    return _cell(f"{count}, made on {when} ({machines}; {devices}; {versions}).")


def table(comparison: Comparison) -> str:
    """A Markdown table: a line for each group of runs that differ only in their seed. Losses are in it if they compare."""
    paths = list(dict.fromkeys(path for run in comparison.runs for path in run.options))
    short = short_paths(comparison.differing, paths)
    several = any(len(group.runs) > 1 for group in comparison.groups)
    head = [*(short[path] for path in comparison.differing), *["seeds"] * several]
    head += ["best val loss"] * (comparison.ranked_by == LOSS)
    head += ["bits per byte", "step", "tokens", "parameters", "tokens/s", "status"]
    rows = [_row(comparison, group, several) for group in comparison.groups]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _row(comparison: Comparison, group: Group, several: bool) -> list[str]:
    options = [str(group.differing.get(path, "-")) for path in comparison.differing]
    figures = ["best_val_loss"] * (comparison.ranked_by == LOSS) + ["best_bits_per_byte"]
    marks = {comparison.rank: "**"} if comparison.best in group.runs else {}
    return [
        *options,
        *[group.count] * several,
        *(f"{marks.get(figure, '')}{_mean(group, figure)}{marks.get(figure, '')}" for figure in figures),
        *(_whole(group.mean(figure)) for figure in ("best_step", "tokens", "parameters", "tokens_per_sec")),
        group.status,
    ]


def _title(comparison: Comparison) -> str:
    spread = ", ± standard deviation between seeds" if any(len(group.runs) > 1 for group in comparison.groups) else ""
    what = "loss in nats per token and bits per byte" if comparison.ranked_by == LOSS else "bits per byte"
    return f"Validation {what} at the best evaluation, the best first{spread}:"


def losses_csv(comparison: Comparison) -> str:
    """Validation of every run by step, in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "step", "val_loss", "val_bits_per_byte"])
    for run in comparison.runs:
        bits = dict(zip(*run.history.series(BITS), strict=True))
        for step, loss in zip(*run.history.series(LOSS), strict=True):
            writer.writerow([run.name, step, loss, bits.get(step)])
    return text.getvalue()


def config_names(runs: Sequence[RunRecord]) -> dict[RunRecord, str]:
    """A file name for each run's config, no two alike on any file system."""
    names: dict[RunRecord, str] = {}
    for run in runs:
        name = re.sub(r"[^\w.+-]+", "_", run.name).strip("._") or "run"
        taken = {other.casefold() for other in names.values()}
        numbers = (f"{name}{f'_{number}' if number > 1 else ''}.yaml" for number in range(1, len(runs) + 1))
        names[run] = next(one for one in numbers if one.casefold() not in taken)
    return names


def _device(device: dict[str, Any]) -> str:
    threads = device.get("threads")
    return f"{device.get('type', 'unknown device')}, {device.get('precision', 'unknown precision')}" + (
        f", {threads} thread{'s' * (threads != 1)}" if threads else ""
    )


def _versions(versions: dict[str, Any]) -> str:
    named = [f"{name} {versions[name]}" for name in ("python", "torch", "cai") if name in versions]
    return ", ".join(named) or "unknown versions"


def _counted(texts: Iterator[str]) -> str:
    """The one text, or each with how often it is there."""
    counts = Counter(texts)
    return next(iter(counts)) if len(counts) == 1 else " / ".join(f"{text} ({count} runs)" for text, count in counts.items())


def _mean(group: Group, figure: str) -> str:
    mean, deviation = group.mean(figure), group.deviation(figure)
    return "-" if mean is None else f"{mean:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _cell(text: str) -> str:
    """Text of a run in Markdown, as itself."""
    return re.sub(r"\s+", " ", text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
