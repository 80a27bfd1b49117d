"""``cai tune``: a search over options of ``train``. Optuna says what is tried; every trial is a run of a growing sweep."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("tune"))

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cai.composition import HydraSession
from cai.config.roots import TrainConfig
from cai.config.saved import to_tree
from cai.errors import ConfigError
from cai.files import told
from cai.interruption import advise
from cai.jobs import threads_for
from cai.overrides import Arguments, parse_arguments
from cai.runs import SWEEP, alone
from cai.signals import listening
from cai.sweeps import Sweep
from cai.train import check_surroundings
from cai.tune_space import Search, key_of, read_search
from cai.tune_trials import Trials
from cai.tuning.folder import BEST, Question, begin
from cai.tuning.report import command, describe_study
from cai.tuning.study import Outcome, Study, need_optuna

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """The ``tune`` verb: 0 if the study has all its trials, one of them finished; 128 + n if signal n stopped it."""
    need_optuna()
    arguments = parse_arguments(words)
    with listening(), HydraSession("tune", arguments) as session:
        search = read_search(session)
        check_surroundings([search.base.of_a_run()])
        directory, question = the_study(search)
        advise(command("tune", words))
        with told(directory):
            directory.mkdir(parents=True, exist_ok=True)
        with alone(directory, "study"):
            there = begin(directory, question)
            log.info("%s the study %s", "going on with" if there else "beginning", directory)
            return tune(search, directory, arguments)


def the_study(search: Search) -> tuple[Path, Question]:
    """The folder of the study that is meant, and what it searches for."""
    options, config = search.base.tune, search.base.of_a_run()
    texts = {key: "".join(text.split()) for key, text in search.texts.items()}
    question = Question(texts, options.metric, options.better, to_tree(config))
    folder = Path(config.output_dir).expanduser() / config.name
    return folder / f"tune_{options.study or question.fingerprint}", question


def tune(search: Search, directory: Path, arguments: Arguments) -> int:
    """Run trials until there are as many as asked for, and say what they came to. Returns an exit code."""
    config, code = search.base, 0
    options = config.tune
    sweep = sweep_of(search, directory)
    with Study(directory, search.space, options, seed=config.seed, warmup=config.trainer.prune_warmup) as study:
        trials = Trials(study, sweep, search)
        try:
            trials.run(arguments.trust().split())
        except KeyboardInterrupt as error:
            code = getattr(error, "exit_code", 130)
            log.info("\ninterrupted")
        outcomes, best = study.outcomes(), study.best()
        log.info("%s", describe_study(directory, outcomes, options.metric, options.better, study.importances()))
    if trials.closed is not None and all(one.status == "skipped" for one in outcomes):
        raise ConfigError(f"the space must have a point that makes a valid config, but {trials.closed}.")
    if trials.closed is not None:
        log.info("note        %s", trials.closed)
    is_open = code != 0 or trials.failed_fast or any(one.status == "open" for one in outcomes)
    log.info("%s", advice(search, directory, arguments, best, is_open=is_open, has_more=is_open or trials.closed is None))
    return code or int(is_open or best is None)


def sweep_of(search: Search, directory: Path) -> Sweep:
    """The list of the study's runs. Those that are in it already stay as they are, as do the threads of each."""
    jobs = search.base.tune.jobs
    if (directory / SWEEP).is_file():
        sweep = replace(Sweep.load(directory), at_once=jobs)
    else:
        sweep = Sweep(directory, search.typed, (), jobs, threads_for(jobs), search.fixed.config_dir)
    sweep.save()
    return sweep


def advice(
    search: Search, directory: Path, arguments: Arguments, best: Outcome | None, *, is_open: bool, has_more: bool
) -> str:
    """What to type next: the same again where trials are open, more of them where there are more points."""
    more = f" --config-dir {shlex.quote(arguments.config_dir)}" if arguments.config_dir is not None else ""
    more += arguments.trust()
    lines = []
    if best is not None:
        lines += [f"best        trial {best.point.number}, {directory / BEST}", "", "Train with the best:"]
        lines.append(f"  {train_command(search, best, directory, more)}")
    lines += ["", "Go on with:"]
    if has_more:
        same = [word for word in arguments.typed if key_of(word) != "tune.trials"]
        trials = search.base.tune.trials * (1 if is_open else 2)
        lines.append(f"  {command('tune', [*same, f'tune.trials={trials}'], more)}")
    return "\n".join([*lines, f"  {command('compare', [str(directory)])}"])


def train_command(search: Search, best: Outcome, directory: Path, more: str) -> str:
    """The command that trains with the values of the best trial; if ``train`` does not take its words, one that repeats it.

    A YAML that says what ``tune`` searches is none for ``train``.
    """
    words = [*search.plain, *best.point.words]
    if not search.base.tune.space:
        return command("train", words, more)
    arguments = replace(parse_arguments(words), config_dir=search.fixed.config_dir, trusted=search.fixed.trusted)
    try:
        with HydraSession("train", arguments) as session:
            session.jobs(TrainConfig)
    except ConfigError:
        return command("reproduce", [str(directory / BEST)], more)
    return command("train", words, more)
