"""``cai compare``: runs side by side, as a table, as files and as a report. Imports neither PyTorch nor Hydra."""

from __future__ import annotations

if __name__ == "__main__":
    from cai.cli import run_verb

    raise SystemExit(run_verb("compare"))

import itertools
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cai.columns import one_line
from cai.comparison.files import CSV, JSON, write_csv, write_json
from cai.comparison.finding import find_runs
from cai.comparison.runs import read_runs
from cai.comparison.table import Comparison, compare_runs
from cai.comparison.terminal import terminal_table
from cai.config.comparison import CompareConfig
from cai.errors import CaiError, ConfigError, OutputError, RunError
from cai.files import told
from cai.options import config_of, is_directory
from cai.overrides import parse_arguments

REPORT = "report.html"
NO_TERMINAL = (160, 24)
"""Columns and lines where the table goes to a file or another program."""


def main(words: Sequence[str]) -> int:
    """The ``compare`` verb. Returns the exit code."""
    directories = list(itertools.takewhile(is_directory, words))
    config = config_of("compare", CompareConfig, parse_arguments(words[len(directories) :]))
    if not directories:
        raise ConfigError("compare must be given runs, sweeps or folders of them: cai compare outputs/run/<sweep>")
    runs = read_runs(find_runs(directories))
    if not runs:
        raise RunError(f"{' '.join(directories)} must hold a run that can be read, but holds none.")
    comparison = compare_runs(runs, config.sort)
    print(terminal_table(comparison, shutil.get_terminal_size(NO_TERMINAL).columns))
    for warning in comparison.warnings:
        say(f"warning: {warning}")
    written = []
    if config.record is not None:  # first, as it may refuse
        from cai.comparison.record import write_record

        write_record(comparison, folder := Path(config.record).expanduser(), ["cai", "compare", *words])
        written.append(folder)
    written += write(comparison, folder_of(directories, config))
    print("\nwritten   " + "\n          ".join(one_line(str(path)) for path in written))
    return 0


def folder_of(directories: Sequence[str], config: CompareConfig) -> Path:
    """Where the files go."""
    if config.out is not None:
        return Path(config.out).expanduser()
    only = Path(directories[0]).expanduser()
    if len(directories) == 1 and only.is_dir():
        return only / "comparison"
    return Path(config.output_dir).expanduser() / "comparisons" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write tables, report and plots into ``folder``, in place of those of an earlier time. Returns what was written.

    What needs a library that is not there is left out, which is said.
    """
    from cai.comparison.plots import write_plots
    from cai.comparison.report import write_report

    try:
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except OutputError as error:
        raise OutputError(f"{error} Or give another folder: out=comparison.") from error
    write_csv(comparison, folder / CSV)
    write_json(comparison, folder / JSON)
    written = [folder / CSV, folder / JSON]

    def report() -> list[Path]:
        write_report(comparison, folder / REPORT)
        return [folder / REPORT]

    for draw in (report, lambda: write_plots(comparison, folder)):
        try:
            written += draw()
        except OutputError:
            raise
        except CaiError as error:
            say(f"note: {error}")
    return written


def say(sentence: str) -> None:
    """Beside the table, not in it; on one line, whatever names of a stranger's are in it."""
    print(one_line(sentence), file=sys.stderr)
