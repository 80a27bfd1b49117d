"""The commands that runs were made by, as their directories have recorded them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.comparison.finding import shown
from cai.comparison.options import as_typed
from cai.errors import CaiError
from cai.runs import SWEEP
from cai.sweeps import Sweep
from cai.tuning.folder import QUESTION, Question

if TYPE_CHECKING:
    from cai.comparison.runs import RunRecord

Words = tuple[str, ...]


def training_commands(runs: Sequence[RunRecord]) -> list[Words]:
    """The words that were typed to train ``runs``, in their order: one command for the jobs of a sweep or of a study, and
    one for each time a run was gone on with under other options.
    """
    folders: dict[Path, list[RunRecord]] = {}
    for run in runs:
        folders.setdefault(run.directory.parent, []).append(run)
    commands: dict[Words, None] = {}
    for folder, inside in folders.items():
        sweep = _sweep_in(folder)
        jobs = {job.folder for job in sweep.jobs} if sweep else set()
        members = [run for run in inside if run.directory.name in jobs]
        if sweep and members:
            commands[_sweep_command(sweep, members)] = None
            commands |= dict.fromkeys(_resumed_together(folder, members, len(jobs)))
        for run in inside:
            if run not in members:
                commands[_run_command(run)] = None
                commands |= dict.fromkeys(_resumptions(run.directory, run))
    return list(commands)


def _sweep_in(folder: Path) -> Sweep | None:
    """The sweep in ``folder``, if there is one whose list can be read."""
    if not (folder / SWEEP).is_file():
        return None
    try:
        sweep = Sweep.load(folder)
    except CaiError:  # warned of when its runs were looked for
        return None
    return sweep if all(isinstance(word, str) for word in sweep.overrides) else None


def _run_command(run: RunRecord) -> Words:
    return ("cai", "train", *run.facts.get("overrides", []), *_surroundings(run.facts.get("config_dir"), [run]))


def _sweep_command(sweep: Sweep, members: Sequence[RunRecord]) -> Words:
    surroundings = _surroundings(sweep.config_dir, members)
    if (sweep.directory / QUESTION).is_file():
        return ("cai", "tune", *sweep.overrides, *_question(sweep), *surroundings)
    return ("cai", "train", "-m", *sweep.overrides, *surroundings)


def _question(sweep: Sweep) -> Words:
    """What a study was asked beside its space, as far as its folder says."""
    try:
        question = Question.load(sweep.directory)
    except (CaiError, AttributeError):
        return ()
    name = sweep.directory.absolute().name.removeprefix("tune_")
    named = () if name == question.fingerprint else (f"tune.study={name}",)
    judged = (f"tune.metric={question.metric}", f"tune.direction={question.direction}")
    return (*judged, f"tune.trials={len(sweep.jobs)}", *named)


def _surroundings(config_dir: object, runs: Sequence[RunRecord]) -> Words:
    """Where YAMLs of the user's lie, and which packages were trusted."""
    trusted = dict.fromkeys(package for run in runs for package in run.facts.get("code", {}).get("own", {}))
    trust = [f"trust={','.join(trusted)}"] if trusted else []
    return (*(["--config-dir", config_dir] if isinstance(config_dir, str) else []), *trust)


def _resumed_together(folder: Path, members: Sequence[RunRecord], jobs: int) -> list[Words]:
    """One command if all jobs were gone on with alike, else those of each."""
    changes = [_changes(run) for run in members]
    if len(members) == jobs > 1 and all(one == changes[0] for one in changes):
        return _resumptions(folder, members[0])
    return [command for run in members for command in _resumptions(run.directory, run)]


def _resumptions(directory: Path, run: RunRecord) -> list[Words]:
    trust = _surroundings(None, [run])
    typed = [[f"{path}={as_typed(value)}" for path, value in changed.items()] for changed in _changes(run)]
    return [("cai", "resume", shown(directory), *words, *trust) for words in typed]


def _changes(run: RunRecord) -> list[Mapping[str, Any]]:
    """Option → what it became, for each time that some did: to go on with the same gives the same."""
    every: list[Mapping[str, Any]] = [one.get("changed", {}) for one in run.facts.get("resumed", [])]
    return [changed for changed in every if changed]
