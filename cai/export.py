"""``cai export``: a run → a folder that other programs read, compared with the original before it is there."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("export"))

import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from cai.composition import HydraSession
from cai.config.exporting import ExportConfig
from cai.config.saved import save_config
from cai.device import plain_cpu
from cai.errors import ConfigError, OutputError, RunError
from cai.exchange.base import Format, Source, format_of
from cai.exchange.check import Difference, difference
from cai.exports import EXPORT, is_export, read_export
from cai.files import sync_folder, sync_tree, told, write_whole
from cai.overrides import parse_arguments, refuse_sweep
from cai.run import TOKENIZER
from cai.runs import CONFIG, find_run, read_facts
from cai.trained import load_trained

INSTEAD = "Or write to another place: out=..."


def main(words: Sequence[str]) -> int:
    """The ``export`` verb. Returns the exit code."""
    arguments = parse_arguments(words)
    refuse_sweep(arguments, "export")
    with HydraSession("export", arguments) as session:
        config = session.jobs(ExportConfig)[0].config
    form = format_of(config.to)
    if config.precision not in form.PRECISIONS:
        raise ConfigError(
            f"`precision` must be one of {', '.join(form.PRECISIONS)} with to={config.to}, but is {config.precision}."
        )
    directory = find_run(config.run, Path(config.output_dir).expanduser(), config.checkpoint)
    refuse_export(directory)
    target = folder_of(config, directory)
    trained = load_trained(directory, config.checkpoint, plain_cpu(), arguments.trusted)
    source = Source(directory, config.checkpoint, trained, read_facts(directory))
    form.refuse(source)
    with new_folder(target) as folder:
        found = export(source, form, folder, config.precision, arguments.trusted)
        note(folder, source, config, found)
    print(f"{directory}, {config.checkpoint} (step {trained.step:,})\ncompared  {found}\nwritten   {target}")
    return 0


def refuse_export(directory: Path) -> None:
    """Raise ``RunError`` if ``directory`` is no run, but what has been made of one."""
    if is_export(directory):
        facts = read_export(directory)
        raise RunError(
            f"run must be a run directory, but {directory} is an export (to={facts['to']}). Give the run that it was made"
            f" of: {facts.get('run', 'its name is not known')}"
        )


def folder_of(config: ExportConfig, directory: Path) -> Path:
    """Where the export goes. Raises ``OutputError`` if something is there."""
    name = "_".join([config.to, *[config.precision] * (config.precision != "float32")])
    if config.checkpoint != "best":
        name += f"_{config.checkpoint.replace(':', '_')}"
    folder = directory / "exports" / name if config.out is None else Path(config.out).expanduser()
    if folder.exists():
        raise OutputError(f"out must be a new folder, but {folder} is there. Remove it, or give another: out=...")
    return folder


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to write to, which is ``target`` when the block ends well and gone when it does not.

    Its name is one that no other process has: what a killed one leaves is in nobody's way. Raises ``OutputError`` if it
    cannot be made, or if ``target`` was made by somebody else meanwhile.
    """
    unfinished = target.with_name(f".{target.name}.{uuid4().hex[:12]}.export")
    above = [folder for folder in unfinished.parents if not folder.exists()]
    try:
        with told(target, INSTEAD):
            unfinished.mkdir(parents=True)
        yield unfinished
        with told(target, INSTEAD):
            sync_tree(unfinished)
            _take_place(unfinished, target)
            sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        for folder in above:
            with suppress(OSError):  # it was never made, or somebody else uses it
                folder.rmdir()
        raise


def _take_place(unfinished: Path, target: Path) -> None:
    taken = OutputError(
        f"out must be a new folder, but {target} was made by another process meanwhile. Nothing of this export was kept."
        " Give another: out=..."
    )
    if target.exists():
        raise taken
    try:
        unfinished.rename(target)  # fails if a folder that holds something is there
    except OSError as error:
        if target.exists():
            raise taken from error
        raise


def export(source: Source, form: Format, folder: Path, precision: str, trusted: Collection[str] = ()) -> Difference:
    """Write ``source`` to ``folder``, and compare. Raises ``RunError`` if what is read there is another model.

    ``trusted``: the packages that the run's components may come from.
    """
    with told(folder, INSTEAD):
        save_config(source.trained.config, folder / CONFIG)
        source.trained.tokenizer.save(folder / TOKENIZER)
        form.write(source, folder, precision)
    try:
        found = difference(source, form.reopen(folder, trusted))
    except (ValueError, OSError) as error:
        raise RunError(f"the export must be the same model, but {str(error).rstrip('.')}. Nothing was kept.") from error
    if not found.within(precision):
        raise RunError(f"the export must be the same model, but is not: {found}. Nothing was kept.")
    return found


def note(folder: Path, source: Source, config: ExportConfig, found: Difference) -> None:
    """``export.json``: what this is, and of which run."""
    facts = {
        "to": config.to,
        "precision": config.precision,
        "run": source.directory.name,
        "checkpoint": source.checkpoint,
        "step": source.trained.step,
        "fingerprints": dict(source.facts.get("fingerprints", {})),
        "compared": {**found._asdict()},
    }
    write_whole(folder / EXPORT, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
