"""``cai inspect checkpoint``: what is inside a run's checkpoint, or another program's file of weights. (Command layer.)"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cai.comparison.history import whole
from cai.config.looking import InspectCheckpointConfig
from cai.errors import RunError
from cai.exchange.weights import WEIGHTS as FILE_OF_EXPORT
from cai.exports import is_export
from cai.inspect import read_options
from cai.inspection.checkpoint import AVERAGE, Contents, mean_contents, read_contents
from cai.inspection.checkpoint_page import distance_of_average, rows_of_file, table_of_modules, table_of_parts
from cai.inspection.lines import named
from cai.runs import file_of, find_run
from cai.trained import newest_kept
from cai.trainer.checkpoint import SUFFIX

Notes = list[tuple[str, str]]


def main(words: Sequence[str]) -> int:
    """Print the page of a checkpoint. Returns the exit code: 1 if some of its numbers are none."""
    options, _ = read_options(words, "inspect_checkpoint", InspectCheckpointConfig)
    contents, notes = of_path(options.path) if options.path is not None else of_run(options)
    print(contents.path)
    print("\n".join(["", *named([*rows_of_file(contents), *notes]), ""]))
    print("\n".join([*table_of_parts(contents), ""]))
    averaged = "of the moving average" if AVERAGE in contents.parts else ""
    print("\n".join(table_of_modules(contents.used, averaged)))
    return 1 if contents.nonfinite() else 0


def of_path(path: str) -> tuple[Contents, Notes]:
    """A file by its path."""
    return read_contents(Path(path).expanduser()), []


def of_run(options: InspectCheckpointConfig) -> tuple[Contents, Notes]:
    """A run's, by its name; or the weights of an export, which has one file of them."""
    directory = find_run(options.run, Path(options.output_dir).expanduser(), options.checkpoint)
    if is_export(directory):
        return read_contents(directory / FILE_OF_EXPORT), []
    folder, name = directory / "checkpoints", options.checkpoint
    path = folder / f"{file_of(name)}{SUFFIX}"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob(f"*{SUFFIX}"))) or "none"
        raise RunError(f"checkpoint must be one of those saved in {folder} ({there}), but is {name}.")
    contents = read_contents(path)
    if name == "ema" and AVERAGE not in contents.parts:
        raise RunError(
            f"checkpoint=ema needs a moving average of the weights, but {directory} keeps none. Train with"
            " trainer.ema_decay=0.999, or take checkpoint=last."
        )
    if name.startswith("average:"):
        paths = newest_kept(folder, whole(contents.state.get("step")) or 0, int(name.partition(":")[2]))
        told = f"the mean of {', '.join(each.stem for each in paths)}: made anew whenever it is used, no file holds it"
        return mean_contents(paths), [("weights", told)]
    return contents, [*about_average(contents), *names_of_same(path)]


def about_average(contents: Contents) -> Notes:
    """Which of the two weights are used, where there are two."""
    if AVERAGE not in contents.parts:
        return []
    return [("weights", f"used are those of the moving average at this step; {distance_of_average(contents)}")]


def names_of_same(path: Path) -> Notes:
    """Other names of the same file: a kept one costs no room as long as it is `last` too."""
    others = [other.stem for other in sorted(path.parent.glob(f"*{SUFFIX}")) if other != path and other.samefile(path)]
    return [("also named", ", ".join(others))] * bool(others)
