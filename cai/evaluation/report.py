"""What an evaluation found: as a table, as a file, in TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import Timeout

from cai.errors import ConfigError
from cai.evaluation.answering import Answered, told_of_window
from cai.evaluation.likelihood import Likelihood
from cai.evaluation.scores import Scores, aligned
from cai.files import told, write_whole
from cai.recorder import finite_or_null
from cai.runs import lock_of

FOLDER = "evaluations"
"""Of a run."""


@dataclass(frozen=True)
class Answers:
    """Questions that were answered."""

    about: str
    """What they are: ``about organisations never seen``, ``of questions.jsonl``."""
    scores: Scores
    answered: Sequence[Answered]
    cut: int
    """How many prompts lost their beginning."""

    @property
    def heading(self) -> str:
        """What was asked."""
        count = len(self.answered)
        return f"answers to {count:,} question{'s' * (count != 1)} {self.about}:"


@dataclass(frozen=True)
class Evaluation:
    """All figures of one; ``None``: not asked for, or not to be had."""

    likelihood: Likelihood | None
    answers: Answers | None

    def figures(self) -> dict[str, float]:
        """By name, as in TensorBoard after ``eval/``."""
        of_text = self.likelihood.figures() if self.likelihood else {}
        return {**of_text, **(self.answers.scores.figures() if self.answers else {})}

    def counts(self) -> dict[str, Any]:
        """What the figures are over: numbers of tokens, bytes, characters; how many answers of how many."""
        of_answers = self.answers.scores.counts() if self.answers else {}
        of_text = self.likelihood.counts() if self.likelihood else {}
        return {**of_text, **{key: count._asdict() for key, count in of_answers.items()}}

    def table(self) -> str:
        """For a person, all in the same columns."""
        of_text = self.likelihood.rows() if self.likelihood else []
        of_answers = self.answers.scores.rows() if self.answers else []
        lines = aligned([*of_text, *of_answers])
        shown = ["", "likelihood of the validation text:", *lines[: len(of_text)]] if of_text else []
        if self.answers:
            note = told_of_window(self.answers.cut)
            shown += ["", self.answers.heading, *lines[len(of_text) :], *[note] * bool(note)]
        return "\n".join(shown)

    def page(self, facts: Mapping[str, Any]) -> str:
        """``facts`` and everything that was found, as JSON. But for the date the same whenever it is asked for."""
        answers = self.answers
        tree = {
            "date": datetime.now().astimezone().isoformat(timespec="seconds"),
            **facts,
            "figures": finite_or_null(self.figures()),
            "counts": self.counts(),
            "about": answers.about if answers else None,
            "prompts_cut": answers.cut if answers else 0,
            "answers": [one.record() for one in answers.answered] if answers else [],
        }
        return json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def refuse_existing(out: str | None) -> None:
    """Raise ``ConfigError`` if the file to write to is there already."""
    if out is not None and Path(out).expanduser().exists():
        raise ConfigError(f"`out` must be a new file, but {out} is there already. Nothing was changed; give another.")


def write_page(directory: Path, out: str | None, text: str) -> Path:
    """Write ``text`` to ``out``, or to a new file of today's date in the run; never over another. Returns where."""
    if out is not None:
        path = Path(out).expanduser()
        if not _write_new(path, text):
            refuse_existing(out)
        return path
    stamp, number = datetime.now().strftime("%Y-%m-%d_%H-%M-%S"), 1
    while not _write_new(path := directory / FOLDER / f"{stamp}{f'_{number}' * (number > 1)}.json", text):
        number += 1
    return path


def _write_new(path: Path, text: str) -> bool:
    """Whether there was no such file. Its name is taken first, empty, so that of two writers one finds it taken."""
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.open("x").close()
        except FileExistsError:
            return False
    try:
        write_whole(path, text)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def add_to_tensorboard(directory: Path, figures: Mapping[str, float], step: int, prefix: str) -> str | None:
    """Add ``figures`` to a run's curves at ``step``, by an event file of their own. Returns why not, if it cannot be."""
    from torch.utils.tensorboard import SummaryWriter  # takes a while

    try:
        with lock_of(directory).acquire(timeout=0):
            writer = SummaryWriter(str(directory), filename_suffix=".eval")
            for name, value in figures.items():
                writer.add_scalar(f"{prefix}/{name}", value, step)
            writer.close()
    except Timeout:
        return "another process is writing this run right now"
    except OSError as error:
        return f"{directory} cannot be written to: {error.strerror or error}"
    return None
