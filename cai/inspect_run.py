"""``cai inspect run``: a run on one page. (Command layer.)"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from cai.columns import one_line
from cai.comparison.options import Scalar, flatten_tree
from cai.comparison.runs import RunRecord, read_runs
from cai.composition import compose
from cai.config.looking import InspectRunConfig
from cai.config.roots import TrainConfig
from cai.config.saved import load_config, to_tree
from cai.entry import Entry, read_entry
from cai.errors import CaiError
from cai.inspect import read_options
from cai.inspection.left import rows_of_files
from cai.inspection.lines import aligned, curves, named
from cai.inspection.run import (
    commands_after,
    commands_before,
    differing_from,
    rows_of_error,
    rows_of_matter,
    rows_of_origin,
    rows_of_result,
    rows_of_time,
)
from cai.runs import CONFIG, STATUS, find_run

MOST = 30
"""Options that differ from the defaults and are listed."""


def main(words: Sequence[str]) -> int:
    """Print the page of a run, however much of it is there. Returns the exit code."""
    options, trusted = read_options(words, "inspect_run", InspectRunConfig)
    directory = directory_of(options)
    entry = read_entry(directory)
    record = next(iter(read_runs([directory])), None)  # says why, if it cannot be read
    parts = page_of_torn(entry) if record is None else page(record, entry, trusted)
    print("\n\n".join("\n".join(part) for part in [[one_line(str(directory))], *parts] if part))
    return 0


def directory_of(options: InspectRunConfig) -> Path:
    """The run that is meant; one of which only half is there too."""
    directory = Path(options.run).expanduser()
    if options.run != "last" and (directory / STATUS).is_file():
        return directory
    return find_run(options.run, Path(options.output_dir).expanduser(), checkpoint=None)


def page(record: RunRecord, entry: Entry, trusted: Sequence[str]) -> list[list[str]]:
    """Its parts, each as lines."""
    history, room = record.history, min(80, shutil.get_terminal_size((100, 24)).columns - 20)
    return [
        named([*rows_of_time(record, entry), *rows_of_error(record)]),
        commands_before(record),
        named([*rows_of_origin(record), *rows_of_matter(record), *rows_of_result(record)]),
        [f"  {line}" for line in curves({tag: history.series(tag) for tag in ("train/loss", "val/loss")}, room)],
        differences(record),
        named(rows_of_files(record.directory)),
        symptoms(record.directory),
        ["Go on with:", *(f"  {command}" for command in commands_after(record, entry, example_of(record, trusted)))],
    ]


def page_of_torn(entry: Entry) -> list[list[str]]:
    """What can be told of a directory that is no whole run."""
    folder = entry.folder
    if not (folder / STATUS).is_file():
        status = f"it has no {STATUS}: it was stopped before it began, or this is only a part of it"
    elif not (folder / CONFIG).is_file():
        status = f"{entry.status}, but it has no {CONFIG}: it failed before it began, or this is only a part of it"
    else:
        status = "not all of it can be read"
    error = [("error", one_line(entry.error))] * bool(entry.error and (folder / STATUS).is_file())
    return [named([("status", status), *error, *rows_of_files(folder)])]


def differences(record: RunRecord) -> list[str]:
    """The options that are not as ``cai train`` has them by itself today."""
    defaults: dict[str, Scalar] = flatten_tree(to_tree(compose([])))
    rows = list(differing_from(defaults, record))
    if not rows:
        return named([("options", "all as they are by default")])
    more = [f"  and {len(rows) - MOST} more"] * (len(rows) > MOST)
    return [*(f"  {line}" for line in aligned([("option", "here", "default"), *rows[:MOST]], left=(0, 1, 2))), *more]


def symptoms(directory: Path) -> list[str]:
    """What there is to be seen of trouble."""
    from cai.diagnosis.of_run import symptoms_of_run

    told = [("seen", one_line(one.sentence)) for one in symptoms_of_run(directory)]
    return named(told or [("seen", "nothing that would be wrong")])


def example_of(record: RunRecord, trusted: Sequence[str]) -> str:
    """Words for ``cai generate`` that suit the run's text, as far as its config can be built."""
    try:
        return load_config(record.directory / CONFIG, TrainConfig, trusted).data.example
    except CaiError:
        return 'prompt=""'
