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

from cai.comparison.files import CSV, JSON, write_csv, write_json
from cai.comparison.runs import find_runs, read_runs
from cai.comparison.table import Comparison, compare_runs
from cai.comparison.terminal import terminal_table
from cai.config.comparison import CompareConfig
from cai.config.tree import load_yaml
from cai.config.validate import Validation
from cai.errors import CaiError, ConfigError, OutputError, RunError
from cai.files import told
from cai.overrides import Arguments, parse_arguments, refuse_sweep
from cai.resources import conf_folder

REPORT = "report.html"
NO_TERMINAL = (160, 24)
"""Columns and lines where the table goes to a file or another program."""


def main(words: Sequence[str]) -> int:
    """The ``compare`` verb. Returns the exit code."""
    directories = list(itertools.takewhile(is_directory, words))
    config = config_of(parse_arguments(words[len(directories) :]))
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
    print("\nwritten   " + "\n          ".join(map(str, written)))
    return 0


def is_directory(word: str) -> bool:
    """Whether a word is no option yet. A folder's name may hold ``=``."""
    return not word.startswith("-") and ("=" not in word or Path(word).expanduser().exists())


def config_of(arguments: Arguments) -> CompareConfig:
    """The options in ``conf/compare.yaml``, with those of the command line put in. Raises ``ConfigError``.

    All of them are texts, so that Hydra, whose composition leads to PyTorch, has nothing to read.
    """
    refuse_sweep(arguments, "compare")
    tree = load_yaml((conf_folder() / "compare.yaml").read_text(encoding="utf-8"))
    validation = Validation(problems=arguments.problems, known_paths=list(tree))
    for word in arguments.typed:
        key, _, value = word.partition("=")
        tree[key.lstrip("+")] = None if value == "null" else value
    if arguments.config_dir is not None:
        validation.problems.append("`--config-dir` must be left out: compare has no groups to choose from.")
    config = validation.build(tree, CompareConfig)
    if config is None or validation.problems:
        raise ConfigError(list(dict.fromkeys(validation.problems)))
    return config


def folder_of(directories: Sequence[str], config: CompareConfig) -> Path:
    """Where the files go."""
    if config.out is not None:
        return Path(config.out).expanduser()
    only = Path(directories[0]).expanduser()
    if len(directories) == 1 and only.is_dir():
        return only / "comparison"
    return Path(config.output_dir).expanduser() / "comparisons" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write tables, report and figures into ``folder``, in place of those of an earlier time. Returns what was written.

    What needs a library that is not there is left out, which is said.
    """
    from cai.comparison.figures import write_figures
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

    for draw in (report, lambda: write_figures(comparison, folder)):
        try:
            written += draw()
        except OutputError:
            raise
        except CaiError as error:
            say(f"note: {error}")
    return written


def say(sentence: str) -> None:
    """Beside the table, not in it."""
    print(sentence, file=sys.stderr)
