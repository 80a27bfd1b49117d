"""What is said at the end of a run or sweep: where it is, how good it is, how to go on."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.evaluation.scores import in_short
from cai.runs import CONFIG, STATUS, read_facts
from cai.sweeps import DONE, Sweep
from cai.symptoms.failures import message_of

if TYPE_CHECKING:
    from cai.config.roots import TrainConfig
    from cai.trainer.progress import FitResult


def describe_end(directory: Path, result: FitResult, config: TrainConfig, *, again: str, trust: str) -> str:
    """The end of a run, commands last, ready to paste. ``again`` and ``trust`` are words that repeat the user's choices."""
    run = shlex.quote(str(directory))
    best = f"{result.best_val_loss:.4f} (step {result.best_step})" if result.best_val_loss is not None else "none"
    answers = in_short(result.metrics)
    how = f"stopped at step {result.step:,}, as it improved no more" if result.stopped_early else f"{result.step:,} steps"
    how = f"pruned at step {result.step:,}, as its siblings did better" if result.pruned else how
    return "\n".join(
        [
            "",
            _last_sample(directory),
            f"run       {directory}",
            f"done      {how}, peak memory {result.metrics['perf/memory_gib']:.2f} GiB",
            f"val loss  {best}, {result.metrics['val/bits_per_byte']:.3f} bits per byte at the end",
            *[f"answers   {answers}"] * bool(answers),
            "",
            "Go on with:",
            f"  cai board {shlex.quote(str(directory.parent))}",
            f"  cai generate run={run}{trust} {config.data.example}",
            f"  cai train -m{again} optimizer.lr={config.optimizer.lr / 2:g},{config.optimizer.lr * 2:g}",
            f"  cai reproduce {run}{trust}",
        ]
    )


def describe_finished(directory: Path, config: TrainConfig, facts: Mapping[str, Any], trust: str) -> str:
    """That a run is finished already, and how it would go on."""
    if facts["status"] == "pruned":
        command = f"{resume_command(directory, trust)} trainer.prune=null"
        return f"already finished: {directory} was pruned at step {facts['steps']:,}. To go on nevertheless: {command}"
    if facts["steps"] < facts["max_steps"]:
        return (
            f"already finished: {directory} stopped early at step {facts['steps']:,}, as it improved no more"
            f" (trainer.patience={config.trainer.patience})."
        )
    key = "max_epochs" if config.trainer.max_steps is None else "max_steps"
    more = f"{resume_command(directory, trust)} trainer.{key}={2 * getattr(config.trainer, key)}"
    return f"already finished: {directory} ({facts['steps']:,} steps). For more steps: {more}"


def describe_sweep(sweep: Sweep, trust: str = "") -> str:
    """A table of all jobs, best first, and how to go on. ``trust`` is ready to paste, with a blank before it."""
    runs = [_job_facts(sweep, number) for number in range(len(sweep.jobs))]
    rows = sorted(zip(sweep.jobs, runs, strict=True), key=lambda row: row[1].get("best_val_loss") or float("inf"))
    width = max((len(job.folder) for job in sweep.jobs), default=0)
    lines = ["", f"{'job':<{width}}  {'status':<11}  {'best val loss':>13}  {'at step':>8}  {'steps':>8}"]
    for job, run in rows:
        loss, at, steps = (run.get(key) for key in ("best_val_loss", "best_step", "steps"))
        shown = f"{loss:.4f}" if loss is not None else "-"
        at, steps = ("-" if number is None else f"{number:,}" for number in (at, steps))
        error = f"  {str(run['error']).splitlines()[0][:100]}" if run.get("error") else ""
        lines.append(f"{job.folder:<{width}}  {run['status']:<11}  {shown:>13}  {at:>8}  {steps:>8}{error}")
    counts = Counter(run["status"] for run in runs)
    rest = ", ".join(f"{count} {status}" for status, count in counts.items() if status != "finished")
    folder = shlex.quote(str(sweep.directory))
    lines += ["", f"sweep     {sweep.directory}"]
    lines += [f"done      {counts['finished']} of {len(runs)} jobs finished{f', {rest}' if rest else ''}", "", "Go on with:"]
    if any(run["status"] not in DONE for run in runs):
        lines.append(f"  {resume_command(sweep.directory, trust)}")
    return "\n".join([*lines, f"  cai compare {folder}", f"  cai board {folder}"])


def _job_facts(sweep: Sweep, number: int) -> dict[str, Any]:
    """A job's ``run.json``; of one that has not begun, that it waits."""
    status = sweep.status(number)
    return {"status": status} if status == "waiting" else {**read_facts(sweep.folder(number)), "status": status}


def describe_interruption(directory: Path, trust: str) -> str:
    """Where an interrupted run is, and the command that goes on with it."""
    if not (directory / STATUS).is_file():
        return "\ninterrupted before the run had begun; start it again"
    step = read_facts(directory).get("saved_step")
    how = f"all up to step {step:,} is saved" if step else "nothing was to be saved yet"
    return f"\ninterrupted; {how}. Go on with:\n  {resume_command(directory, trust)}"


def resume_command(directory: Path, trust: str) -> str:
    """Ready to paste."""
    return f"cai resume {shlex.quote(str(directory))}{trust}"


def describe_failure(error: BaseException, directory: Path, trust: str = "") -> str:
    """One line for a person; the traceback is in the run directory. When it was the disk, the way to go on."""
    message = message_of(error)
    recorded = (directory / STATUS).is_file() and "traceback" in read_facts(directory)
    traceback = "; the traceback is in its train.log" if recorded else ""
    again = isinstance(error, OSError) and (directory / CONFIG).is_file()
    then = f"\nThen go on with:\n  {resume_command(directory, trust)}" if again else ""
    return f"{message}\n(run directory: {directory}{traceback}){then}"


def _last_sample(directory: Path) -> str:
    """The newest entry of ``samples.md``, as written there."""
    path = directory / "samples.md"
    if not path.is_file():
        return ""
    return "## " + path.read_text(encoding="utf-8").rsplit("\n## ", 1)[-1].removeprefix("## ")
