"""The trials of a study: each begun as a job of its sweep, watched, pruned, and told to the study. (Command layer.)"""

from __future__ import annotations

import logging
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cai.config.saved import to_tree
from cai.errors import ConfigError, RunError
from cai.interruption import deferred
from cai.jobs import PAUSE, JobProcess, JobProcesses, settle
from cai.overrides import job_folder
from cai.runs import read_facts
from cai.sweeps import DONE, Sweep, SweepJob
from cai.tune_space import Search
from cai.tuning.curve import Curve
from cai.tuning.folder import link_best, mark_pruned
from cai.tuning.space import points_of
from cai.tuning.study import Outcome, Point, Study

log = logging.getLogger(__name__)

PATIENCE = 100
"""Points that are passed over in a row before the space is taken to have no others."""


@dataclass
class Trial:
    """A trial that runs."""

    point: Point
    job: JobProcess
    curve: Curve
    pruned: str | None = None
    """Why it was asked to stop."""


@dataclass
class Trials:
    """Runs trials until there are as many as asked for."""

    study: Study
    sweep: Sweep
    search: Search
    running: dict[int, Trial] = field(default_factory=dict)
    """By the number of the job in the sweep."""
    begun: int = 0
    """Trials of the study that are running or have ended, those of earlier commands included."""
    closed: str | None = None
    """Why no other trial is begun, though there are not as many as asked for."""
    failed_fast: bool = False

    def run(self, words: Sequence[str]) -> None:
        """Go on with what was interrupted, then begin others. ``words`` are added to the command of every job.

        Asked to stop, it asks the trials, waits for them, and raises ``Interrupted``. Raises ``RunError`` if another
        process runs one of them.
        """
        unfinished = deque(point for point in self.study.unfinished() if not self._has_ended(point))
        self.begun = sum(one.status != "skipped" for one in self.study.outcomes())
        with JobProcesses(self.search.base.tune.jobs, words) as processes:
            while unfinished or processes.running or not self._is_over():
                with deferred():  # the study and the sweep are told the same
                    while processes.has_room and (point := unfinished.popleft() if unfinished else self._next()):
                        self._begin(point, processes)
                    for job in processes.running.values():
                        self._watch(self.running[job.number])
                    for job in processes.take_ended():
                        self._end(self.running.pop(job.number), processes)
                time.sleep(PAUSE)

    def _is_over(self) -> bool:
        return self.closed is not None or self.begun >= self.search.base.tune.trials

    def _next(self) -> Point | None:
        """A point that was not tried before and whose config is valid; ``None`` if there are trials enough, or no other."""
        skipped = 0
        while not self._is_over():
            outcomes = self.study.outcomes()
            tried = {tuple(one.point.values.values()): one.point.number for one in outcomes}
            if skipped == PATIENCE or len(tried) >= points_of(self.search.space):
                self.closed = f"no other point was found ({_why_closed(outcomes)})"
                break
            point = self.study.ask(at_random=bool(outcomes) and outcomes[-1].status == "skipped")
            if (why_not := self._why_not(point, tried)) is None:
                self.begun += 1
                return point
            log.debug("trial %d: %s", point.number, why_not)
            self.study.fail(point.number, why_not, skipped=True)
            skipped += 1
        return None

    def _why_not(self, point: Point, tried: Mapping[tuple[str, ...], int]) -> str | None:
        """Why a point is passed over."""
        if (before := tried.get(tuple(point.values.values()))) is not None:
            return f"the same values as trial {before}"
        try:
            config = self.search.config(point.values).of_a_run()
        except ConfigError as error:
            return str(error)
        self._list(point, to_tree(config))
        return None

    def _list(self, point: Point, config: Mapping[str, object]) -> None:
        """Put a point into ``sweep.json``, unless it is there. The number of its folder is that of the trial."""
        if self._number(point) is None:
            job = SweepJob(job_folder(point.number, point.words), point.words, config)
            self.sweep = self.sweep.with_jobs([job])
            self.sweep.save()

    def _number(self, point: Point) -> int | None:
        folder = job_folder(point.number, point.words)
        return next((number for number, job in enumerate(self.sweep.jobs) if job.folder == folder), None)

    def _has_ended(self, point: Point) -> bool:
        """Tell the study of a trial that ended when nobody watched: the command was killed, or `cai resume` was used.

        One that was killed before it was listed is listed, or passed over.
        """
        number = self._number(point)
        if number is None:
            outcomes = self.study.outcomes()
            tried = {tuple(one.point.values.values()): one.point.number for one in outcomes if one.point != point}
            if (reason := self._why_not(point, tried)) is not None:
                self.study.fail(point.number, reason, skipped=True)
            return reason is not None
        status, folder = self.sweep.status(number), self.sweep.folder(number)
        if status == "running":
            raise RunError(f"{folder} must be free, but another process is running it. Wait until it has ended.")
        curve = Curve(folder, self.search.base.tune.metric)
        self.study.report(point.number, curve.news())
        return self._tell(point, number, curve, None)

    def _begin(self, point: Point, processes: JobProcesses) -> None:
        number = self._number(point)
        assert number is not None
        log.info("\n[trial %d] %s", point.number, " ".join(point.words))
        job = processes.start(self.sweep, number, label=str(point.number))
        self.running[number] = Trial(point, job, Curve(self.sweep.folder(number), self.search.base.tune.metric))

    def _watch(self, trial: Trial) -> None:
        """Report what a trial has found, and have it stop if others did better at that step."""
        if trial.pruned or not (news := trial.curve.news()):
            return
        step = self.study.report(trial.point.number, news)
        folder = self.sweep.folder(trial.job.number)
        if step is not None and step < read_facts(folder).get("max_steps", step + 1):
            value = trial.curve.values[step]
            trial.pruned = f"pruned at step {step:,}, as {trial.curve.tag} {value:.4f} is worse than the median of others"
            log.info("\n[trial %d] %s", trial.point.number, trial.pruned)
            trial.job.ask_to_stop(signal.SIGTERM)

    def _end(self, trial: Trial, processes: JobProcesses) -> None:
        """Tell the study how a trial has ended. One that somebody stopped stays open, for the next command."""
        code, folder = settle(self.sweep, trial.job), self.sweep.folder(trial.job.number)
        self.study.report(trial.point.number, trial.curve.news())
        if trial.pruned:
            mark_pruned(folder, trial.pruned)
        killed = f"its process was killed ({signal.Signals(-code).name})" if code < 0 else None
        told = self._tell(trial.point, trial.job.number, trial.curve, killed)
        if told and self.sweep.status(trial.job.number) not in DONE and self.search.base.sweep.fail_fast:
            self.closed, self.failed_fast = f"sweep.fail_fast: trial {trial.point.number} failed", True
            processes.ask_to_stop(signal.SIGTERM)

    def _tell(self, point: Point, number: int, curve: Curve, killed: str | None) -> bool:
        """Tell the study what a run came to; ``False`` if it has not ended."""
        status, folder = self.sweep.status(number), self.sweep.folder(number)
        best = curve.best(self.search.base.tune.better)
        if status == "finished" and best is not None:
            self.study.finish(point.number, *best)
            self._show_best()
        elif status == "finished":
            self.study.fail(point.number, f"its metrics.jsonl has no {curve.tag}")
        elif status == "pruned":
            reason = read_facts(folder).get("pruned")
            self.study.prune(point.number, reason if isinstance(reason, str) else "its siblings did better")
        elif status == "failed":
            self.study.fail(point.number, str(read_facts(folder).get("error", "it failed")))
        elif killed is not None:
            self.study.fail(point.number, killed)
        else:
            return False
        return True

    def _show_best(self) -> None:
        """Have the link point at the best trial so far."""
        best = self.study.best()
        if best is not None and (number := self._number(best.point)) is not None:
            link_best(self.sweep.directory, self.sweep.jobs[number].folder)


def _why_closed(outcomes: Sequence[Outcome]) -> str:
    if any(one.status != "skipped" for one in outcomes):
        return "the others were tried, or make no valid config"
    last = outcomes[-1]
    return f"of the last, {' '.join(last.point.words)}: {last.error}"
