"""The folder of a study: what is asked in it, who works on it, which trial is the best."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from filelock import Timeout

from cai.comparison.options import flatten_tree
from cai.config.saved import FORMAT, upgrade
from cai.errors import ConfigError, RunError
from cai.files import write_whole
from cai.runs import STATUS, lock_of, read_facts

QUESTION: Final = "tune.json"
BEST: Final = "best"


@dataclass(frozen=True)
class Question:
    """What a study searches for. Another question is another study."""

    space: Mapping[str, str]
    """Option → what it may be, as typed."""
    metric: str
    direction: str
    config: Mapping[str, Any]
    """The tree of all that is not searched; what is has some value here."""
    format: int = FORMAT
    """Of the config."""

    @property
    def fingerprint(self) -> str:
        """The same for the same question, whatever computes it and wherever it is kept."""
        return hashlib.sha256(json.dumps(self._facts(), sort_keys=True).encode()).hexdigest()[:8]

    def save(self, directory: Path) -> None:
        """Write ``tune.json``."""
        write_whole(directory / QUESTION, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Question:
        """What was asked in ``directory``. Raises ``RunError`` if that cannot be read."""
        path = directory / QUESTION
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**facts, "config": upgrade(facts["config"], facts["format"], path), "format": FORMAT})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} must say what is searched, but cannot be read ({error}).") from error

    def differences(self, before: Question) -> list[str]:
        """A sentence for each thing that was another ``before``."""
        old, new = before._facts(), self._facts()
        return [
            f"`{path}` must stay {old.get(path, 'left out')} as in the study, but is {new.get(path, 'left out')}."
            for path in dict.fromkeys([*old, *new])
            if old.get(path) != new.get(path)
        ]

    def _facts(self) -> dict[str, Any]:
        """All that decides it, flat. Not where data lie, nor what computes."""
        options = {
            path: value
            for path, value in flatten_tree(self.config).items()
            if path not in self.space and not path.startswith("device.") and not path.endswith(".path")
        }
        searched = {path: f"searched over {text}" for path, text in self.space.items()}
        return {"tune.metric": self.metric, "tune.direction": self.direction, **options, **searched}


def begin(directory: Path, question: Question) -> bool:
    """Make ``directory`` the folder of a study with this ``question``. Whether it is so already.

    Raises ``ConfigError`` if the study there asks something else, ``RunError`` if something else is there.
    """
    if (directory / QUESTION).is_file():
        if problems := question.differences(Question.load(directory)):
            raise ConfigError([*problems, f"{directory} is another study. Give this one a name: tune.study=<name>"])
        return True
    if any(path.name != ".lock" for path in directory.iterdir()):
        raise RunError(f"{directory} must be a study or empty, but holds something else. Try tune.study=<name>.")
    question.save(directory)
    return False


def link_best(directory: Path, folder: str) -> Path:
    """Point ``best`` at the folder of a trial; a file ``best.txt`` with its name where links are not possible."""
    link, unfinished = directory / BEST, directory / f".{BEST}.unfinished"
    unfinished.unlink(missing_ok=True)
    try:
        unfinished.symlink_to(folder, target_is_directory=True)
        os.replace(unfinished, link)
    except OSError:
        link = link.with_suffix(".txt")
        write_whole(link, folder + "\n")
    return link


def mark_pruned(folder: Path, why: str) -> bool:
    """Have a run that was stopped on behalf of the study say so in its ``run.json``. Whether it does.

    It does not if it has ended by itself meanwhile, or somebody has taken it up.
    """
    try:
        with lock_of(folder).acquire(timeout=0):
            facts = read_facts(folder)
            if facts["status"] not in ("interrupted", "running"):  # running: it was killed before it could say more
                return False
            text = json.dumps({**facts, "status": "pruned", "pruned": why}, indent=2, ensure_ascii=False, allow_nan=False)
            write_whole(folder / STATUS, text + "\n")
            return True
    except Timeout:
        return False
