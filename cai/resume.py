"""``cai resume``: go on with a run in its own directory, from its last whole checkpoint."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("resume"))

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.bystander import open_run
from cai.changes import INEXACT, LENGTHS, change, costs, named_options, refusals_on_resuming
from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.environment import fingerprint_of
from cai.errors import ConfigError, RunError
from cai.exports import is_export
from cai.launch import together
from cai.overrides import Arguments, named_run
from cai.recorded import as_recorded, compare_surroundings
from cai.recorder import newest_step
from cai.runs import CONFIG, STATUS, SWEEP, find_run, read_run
from cai.signals import listening
from cai.summary import describe_end, describe_finished
from cai.train import check_surroundings, exit_code_of, train
from cai.trainer.folder import CheckpointFolder
from cai.trainer.progress import FitResult
from cai.world import current

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """The ``resume`` verb: 0 if the run, or every job of the sweep, is finished, by now or already."""
    name, arguments = named_run("resume", words)
    folder = Path(name).expanduser()
    with listening():
        if (folder / SWEEP).is_file():
            from cai.sweep import resume_sweep

            return resume_sweep(folder, arguments)
        if not folder.is_dir() and (folder.parent / SWEEP).is_file():
            raise RunError(f"{name} must have begun, but its sweep has not come to it yet. Try: cai resume {folder.parent}")
        output_dir = Path(arguments.verbatim.get("output_dir", "outputs")).expanduser()
        return go_on(find_run(name, output_dir, checkpoint=None), arguments)


def go_on(directory: Path, arguments: Arguments, *, short: bool = False) -> int:
    """Go on with the run in ``directory``. Returns an exit code. ``short``: a job of a sweep, which says less at its end.

    Raises ``ConfigError`` or ``RunError`` for what would make it another run, and leaves it as it is.
    """
    if is_export(directory):
        again = f"cai train model=from_pretrained model.path={directory}"
        raise RunError(f"{directory} must be a run, but is an export, where no training goes on. Begin with it: {again}")
    saved = load_config(directory / CONFIG, TrainConfig, arguments.trusted)
    config, changed = change(saved, arguments, refusals_on_resuming)
    facts = read_run(directory) if (directory / STATUS).is_file() else {}
    refuse_edited(directory, facts)
    longer = changed.keys() & set(LENGTHS) and facts.get("steps") == facts.get("max_steps")
    pruned = facts.get("status") == "pruned" and config.trainer.prune is not None
    if pruned or (facts.get("status") == "finished" and not longer):
        log.info(describe_finished(directory, saved, facts, arguments.trust()))
        return 0
    others = {fact.name: fact.now for fact in compare_surroundings(facts) if not fact.same} if facts else {}
    for note in (*costs(changed), *(f"{key} is another than before, {value}: {INEXACT}" for key, value in others.items())):
        log.info("note: %s", note)
    recorded = as_recorded(config, facts, named_options(arguments))
    notes = {"changed": {path: after for path, (_, after) in changed.items()}, "other": others}

    def task() -> None:
        result = together(recorded.device, go_on_in, directory, config, recorded, arguments.typed, saved, facts, notes)
        if not short:
            original = Arguments(typed=read_run(directory)["overrides"], trusted=arguments.trusted)
            again = original.again(without="optimizer.lr")
            log.info(describe_end(directory, result, config, again=again, trust=arguments.trust()))

    check_surroundings([recorded], learns=False)
    return exit_code_of(task, directory, arguments.trust())


def go_on_in(
    directory: Path,
    config: TrainConfig,
    recorded: TrainConfig,
    typed: Sequence[str],
    saved: TrainConfig,
    facts: Mapping[str, Any],
    notes: Mapping[str, Any],
) -> FitResult:
    """``train`` from where the run in ``directory`` stands. ``recorded``: ``config`` with what the run found before."""
    with open_run(directory, config, typed, resumes=notes) as run:
        return train(recorded, run, source=current().agree(lambda: newest_checkpoint(directory, saved, facts)))


def refuse_edited(directory: Path, facts: Mapping[str, Any]) -> None:
    """Raise ``ConfigError`` if the run's ``config.yaml`` is not what the run wrote."""
    now = fingerprint_of((directory / CONFIG).read_text(encoding="utf-8"))
    if now not in (facts.get("config", now), facts.get("config_before")):
        raise ConfigError(
            f"{directory / CONFIG} must be as the run wrote it (fingerprint {facts['config']}), but was edited (now {now})."
            " Undo that, and give what may change on the command line: cai resume --help"
        )


def newest_checkpoint(directory: Path, config: TrainConfig, facts: Mapping[str, Any]) -> Path | None:
    """What the run goes on from; ``None`` for one that had saved nothing yet.

    Raises ``RunError`` if what was saved is gone: to begin anew in silence would throw the records away.
    """
    checkpoints = CheckpointFolder(directory / "checkpoints")
    if (source := checkpoints.newest()) is not None:
        log.info("resuming %s from %s", directory, source.name)
        return source
    # A killed run could not note in run.json what it had saved, but its records go beyond the first save.
    if facts.get("saved_step") or 0 < config.trainer.save_every < newest_step(directory):
        raise RunError(
            f"{checkpoints.path} must hold the checkpoint that the run has saved, but holds none. Put it back, or start a"
            " new run."
        )
    log.info("resuming %s from its beginning, as nothing was saved yet", directory)
    return None
