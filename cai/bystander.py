"""A process that trains beside the one that writes the run directory: it keeps no record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cai.recorder import Recorder
from cai.run import Run
from cai.world import current

if TYPE_CHECKING:
    from cai.config.base import Config
    from cai.tensorboard import Look, Scalar


class BystandingRun(Run):
    """What a run is to such a process: what was known of it at the start, and nothing to write."""

    def __init__(self, directory: Path, facts: Mapping[str, Any]) -> None:
        self.directory = directory
        self.facts = dict(facts)

    def go_on(self, step: int) -> None:
        """The first process does."""

    def record(self, **facts: Any) -> None:
        """For this process alone."""
        self.facts |= facts

    def confirm_data(self, corpus: str, tokenizer: str, tokens: str, ids: str) -> None:
        """The first process does."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Nothing was opened."""


class BystandingRecorder(Recorder):
    """Takes what a recorder takes."""

    def go_on(self, state: Mapping[str, Any] | None, sizes: Mapping[str, int] | None = None) -> None:
        """The first process does."""

    def hyperparameters(self, values: Mapping[str, Scalar]) -> None:
        """The first process does."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """The first process does."""

    def sample(self, step: int, title: str, text: str) -> None:
        """The first process does."""

    def look(self, step: int, look: Look | None) -> None:
        """The first process does."""

    def sync(self) -> None:
        """Nothing was written."""

    def sizes(self) -> dict[str, int]:
        return {}


@contextmanager
def open_run(
    directory: Path, config: Config, overrides: Sequence[str] = (), *, resumes: Mapping[str, Any] | None = None
) -> Iterator[Run]:
    """The run in ``directory``, written by the first of its processes. A failure of any of them is the run's.

    Raises what ``Run`` does, in all of them.
    """
    world = current()
    written: list[Run] = []

    def begin() -> dict[str, Any]:
        written.append(Run(directory, config, overrides, resumes=resumes))
        return dict(written[0].facts)

    facts = world.agree(begin)
    with written[0] if written else BystandingRun(directory, facts) as run, world.heard():
        yield run


def recorder_of(run: Run) -> Recorder:
    """What records in its directory, if this process does."""
    return (BystandingRecorder if isinstance(run, BystandingRun) else Recorder)(run.directory)
