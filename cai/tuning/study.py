"""The study: Optuna proposes points, is told what became of them, and keeps all of it in SQLite."""

from __future__ import annotations

import functools
import importlib.util
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from cai.config.tuning import ANSWERS, TuneOptions
from cai.errors import CaiError, RunError
from cai.tuning.space import Space

if TYPE_CHECKING:
    from optuna.trial import BaseTrial, FrozenTrial, Trial

STORAGE, NAME = "study.db", "tune"
"""The file, and what the study is called in it: not as its folder, which may be moved."""
ERROR, SKIPPED, STEP = "error", "skipped", "step"
"""What is kept with a trial: why it failed; that it was never run; the step of its value."""

STATUS: Final = {
    "RUNNING": "open",
    "WAITING": "open",
    "COMPLETE": "finished",
    "PRUNED": "pruned",
    "FAIL": "failed",
}
"""Optuna's words for the states of trials, in those of runs. ``open``: begun, and not ended."""


@dataclass(frozen=True)
class Point:
    """A trial of the study: its number, and the values that it is to try, as they are typed."""

    number: int
    values: Mapping[str, str]

    @property
    def words(self) -> tuple[str, ...]:
        """As overrides."""
        return tuple(f"{key}={value}" for key, value in self.values.items())


@dataclass(frozen=True)
class Outcome:
    """What the study knows of a trial."""

    point: Point
    status: str
    """``open``, ``finished``, ``pruned``, ``failed``; or ``skipped``: drawn, but never run."""
    value: float | None
    """The best of the metric, of a finished trial."""
    step: int | None
    """Where it was."""
    error: str | None


class Study:
    """A search in the folder ``directory``, begun there or gone on with."""

    def __init__(self, directory: Path, space: Space, options: TuneOptions, *, seed: int, warmup: int) -> None:
        """``warmup``: the steps before which no trial is pruned. Raises ``RunError`` if its file cannot be used."""
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.seed, self.options = space, seed, options
        median = optuna.pruners.MedianPruner(options.prune_startup, n_warmup_steps=max(1, warmup))
        try:
            # Not by its path in the URL, in which `?` and `%` mean something.
            creator = functools.partial(sqlite3.connect, directory / STORAGE, timeout=60.0)
            self._storage = optuna.storages.RDBStorage(f"sqlite:///{STORAGE}", engine_kwargs={"creator": creator})
            self._study = optuna.create_study(
                study_name=NAME,
                storage=self._storage,
                load_if_exists=True,
                direction=options.better,
                pruner=median if options.prune and options.metric not in ANSWERS else optuna.pruners.NopPruner(),
            )
        except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"{directory / STORAGE} must be a study of Optuna's, but cannot be used ({reason}).") from error
        self._open: dict[int, Trial] = {}

    def ask(self, *, at_random: bool = False) -> Point:
        """A new point. The same study gives the same one again, whether it was interrupted meanwhile or not."""
        import optuna

        seed = int(np.random.SeedSequence([self.seed, len(self._trials())]).generate_state(1)[0])
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            sampler: optuna.samplers.BaseSampler = (
                optuna.samplers.RandomSampler(seed)
                if at_random
                else optuna.samplers.TPESampler(n_startup_trials=self.options.startup, seed=seed, constant_liar=True)
            )
        self._study.sampler = sampler
        return self._draw(self._study.ask())

    def unfinished(self) -> list[Point]:
        """The trials that were begun and have not ended, oldest first."""
        import optuna

        running = [trial for trial in self._trials() if trial.state == optuna.trial.TrialState.RUNNING]
        return [self._draw(optuna.trial.Trial(self._study, trial._trial_id)) for trial in running]

    def report(self, number: int, values: Sequence[tuple[int, float]]) -> int | None:
        """Take in steps and values of a trial that runs. The step at which it is to be pruned, if it is."""
        trial = self._open[number]
        known = self._trials()[number].intermediate_values
        for step, value in values:
            if step not in known:
                trial.report(value, step)
                if trial.should_prune():
                    return step
        return None

    def finish(self, number: int, value: float, step: int) -> None:
        """The trial has ended, and ``value`` was its best."""
        self._open.pop(number).set_user_attr(STEP, step)
        self._study.tell(number, value)

    def prune(self, number: int, why: str) -> None:
        """The trial was stopped, as others did better."""
        import optuna

        self._open.pop(number).set_user_attr(ERROR, why)
        self._study.tell(number, state=optuna.trial.TrialState.PRUNED)

    def fail(self, number: int, why: str, *, skipped: bool = False) -> None:
        """The trial has failed. ``skipped``: it was never run, and does not count."""
        import optuna

        trial = self._open.pop(number)
        trial.set_user_attr(ERROR, why)
        if skipped:
            trial.set_user_attr(SKIPPED, True)
        self._study.tell(number, state=optuna.trial.TrialState.FAIL)

    def outcomes(self) -> list[Outcome]:
        """Every trial that has drawn its values, by number."""
        found = []
        for trial in self._trials():
            if self.space.keys() <= trial.params.keys():
                notes = trial.user_attrs
                status = SKIPPED if notes.get(SKIPPED) else STATUS[trial.state.name]
                value = trial.value if status == "finished" else None
                point = Point(trial.number, self._values(trial))
                found.append(Outcome(point, status, value, notes.get(STEP), notes.get(ERROR)))
        return found

    def best(self) -> Outcome | None:
        """The finished trial with the best value; of equals the first."""
        finished = [one for one in self.outcomes() if one.value is not None]
        sign = 1 if self.options.better == "minimize" else -1
        return min(finished, key=lambda one: sign * (one.value or 0.0), default=None)

    def importances(self, least: int = 10) -> dict[str, float]:
        """How much each option decides whether a trial is among the best, summing to 1; empty with fewer than ``least``
        finished trials, or a single option.

        PED-ANOVA (arXiv:2304.10255), which needs nothing beside Optuna.
        """
        import optuna

        if len(self.space) < 2 or sum(one.status == "finished" for one in self.outcomes()) < least:
            return {}
        with warnings.catch_warnings(action="ignore"):  # of few trials; what it says is said with their number
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            return optuna.importance.get_param_importances(self._study, evaluator=evaluator)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _draw(self, trial: Trial) -> Point:
        """The values of a trial; of one that was killed while they were drawn, those that are missing too."""
        self._open[trial.number] = trial
        return Point(trial.number, self._values(trial))

    def _values(self, trial: BaseTrial) -> dict[str, str]:
        return {key: dimension.draw(trial, key) for key, dimension in self.space.items()}

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)


def need_optuna() -> None:
    """Raises ``CaiError`` if Optuna is not there."""
    if importlib.util.find_spec("optuna") is None:
        raise CaiError('cai tune needs Optuna, which is not installed. Try: pip install "cai[sweep]"')
