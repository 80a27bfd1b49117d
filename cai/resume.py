"""``cai resume``: go on with a run in its own directory, from its last whole checkpoint."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("resume"))

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cai.changes import LENGTHS, apply_changes, check_changes, differences
from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.errors import RunError
from cai.overrides import Arguments, named_run
from cai.recorded import as_recorded, compare_surroundings
from cai.run import CONFIG, STATUS, Run, find_run, read_run
from cai.signals import listening
from cai.summary import describe_end
from cai.train import check_surroundings, exit_code_of, train
from cai.trainer.folder import CheckpointFolder

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """The ``resume`` verb: 0 if the run is finished, by now or already."""
    name, arguments = named_run("resume", words)
    directory = find_directory(name, Path(arguments.verbatim.get("output_dir", "outputs")).expanduser())
    saved = load_config(directory / CONFIG, TrainConfig, arguments.trusted)
    config = apply_changes(saved, arguments)
    changed = differences(saved, config)
    costs = check_changes(changed, saved)
    facts = read_run(directory) if (directory / STATUS).is_file() else {}
    if facts.get("status") == "finished" and not changed.keys() & set(LENGTHS):
        log.info(
            "already finished: %s (%d steps). More steps: cai resume %s trainer.max_steps=%d",
            directory,
            facts["steps"],
            directory,
            2 * facts["steps"],
        )
        return 0
    for cost in costs:
        log.info("note: %s", cost)
    with listening():
        check_surroundings([as_recorded(config, facts, changed)])
        return exit_code_of(lambda: go_on(directory, config, changed, arguments), directory, arguments.trust())


def find_directory(name: str, output_dir: Path) -> Path:
    """The run to go on with. Raises ``RunError`` for a sweep, which is no run, and for a folder that is neither."""
    if (Path(name).expanduser() / "sweep.json").is_file():
        raise RunError(f"resume must be given a run, but {name} is a sweep. Give one of its jobs: cai resume {name}/<job>")
    return find_run(name, output_dir)


def go_on(directory: Path, config: TrainConfig, changed: dict[str, tuple[Any, Any]], arguments: Arguments) -> None:
    """Train to the end, under the circumstances that the run recorded."""
    with Run(directory, config, arguments.typed, resumes=True) as run:
        found = CheckpointFolder(directory / "checkpoints").newest()
        if found is None:
            log.info("resuming %s from its beginning, as it has no checkpoint", directory)
        elif others := [fact for fact in compare_surroundings(run.facts) if not fact.same]:
            told = ", ".join(f"{fact.name} was {fact.before}, is {fact.now}" for fact in others)
            log.info("note: losses may differ in their last digits from here on, as not all is as it was: %s", told)
        if "started" in run.facts:
            run.resumed(found[1].state["step"] if found else 0, {path: after for path, (_, after) in changed.items()})
        result = train(as_recorded(config, run.facts, changed), run, found)
    original = Arguments(typed=run.facts["overrides"], trusted=arguments.trusted)
    again = original.again(without="optimizer.lr")
    log.info(describe_end(directory, result, config, again=again, trust=arguments.trust()))
