"""What a run says about itself: ``metrics.jsonl`` (the truth), TensorBoard (the same numbers), ``samples.md``."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from cai.errors import OutputError, RunError
from cai.files import sync, told
from cai.runs import METRICS, SAMPLES
from cai.tensorboard import BEST, Look, Scalar, add_look, introduce

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

EVENTS = "events.out.tfevents.*"
EVALUATION = ".eval"
"""How the name of an event file ends that ``cai evaluate`` writes."""


class Recorder:
    """Writes metrics and samples of one run into its directory. One object for each step, whatever was measured."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._metrics: TextIO | None = None
        self._writer: SummaryWriter | None = None
        self._purge_step = 0  # TensorBoard takes the first such mark as the beginning and purges from the second on
        self._best: dict[str, float] = {}

    def go_on(self, state: Mapping[str, Any] | None, sizes: Mapping[str, int] | None = None) -> None:
        """Before anything is recorded: take out of the records what came after the checkpoint with this ``state``; it will
        come again. Without a checkpoint all of it, TensorBoard's files included: the run begins anew.

        ``sizes``: of the records when they held something more that stays. A TensorBoard that has read a tail which is cut
        off is told to forget it. Raises ``RunError`` if something else than records would be cut.
        """
        sizes = sizes or (state["sizes"] if state else {})
        self._refuse_others(sizes)
        for name in (METRICS, SAMPLES):
            _cut_back(self.directory / name, sizes.get(name, 0))
        events = {path.name for path in self._event_files()}
        if known := {name for name in sizes if name not in (METRICS, SAMPLES)}:  # older checkpoints know of none
            for name in known:
                _cut_back(self.directory / name, sizes[name])
            for name in events - known:  # opened after the checkpoint
                (self.directory / name).unlink()
        if state:
            # The first step that is recorded anew: the checkpoint's own, if that one's records were still to come.
            self._purge_step = state["step"] + (state["owed"] is None)
            for line in _lines(self.directory / METRICS):
                self._judge(line)
        else:
            for path in self.directory.glob(EVENTS):
                path.unlink()

    def _refuse_others(self, sizes: Mapping[str, int]) -> None:
        """A run may come from a stranger: its files say what is to be cut, and where a record should be may be a link."""
        for name, size in sizes.items():
            if not is_record(name) or type(size) is not int or size < 0:
                raise RunError(
                    f"{self.directory} must be cut back in its own records alone, but its checkpoint names {name!r}"
                    f" ({size!r}). Nothing was cut. No run of CAI's does that: do not go on with this one."
                )
        for name in {METRICS, SAMPLES, *sizes}:
            if (self.directory / name).is_symlink():
                raise RunError(
                    f"{self.directory / name} must be a file of the run's own, but is a link. Nothing was cut. Put the file"
                    " in its place."
                )

    @property
    def writer(self) -> SummaryWriter:
        """TensorBoard's writer, one event file for each process of a run; imported late, as it takes a while."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.directory), purge_step=self._purge_step)
        return self._writer

    def hyperparameters(self, values: Mapping[str, Scalar]) -> None:
        """Make the run a row of TensorBoard's HParams table, and lay out its charts: once a run, not when it is resumed."""
        with told(self.directory / EVENTS):
            introduce(self.writer, values)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Record what was measured after ``step`` updates."""
        with told(self.directory / METRICS):
            if self._metrics is None:
                self._metrics = (self.directory / METRICS).open(
                    "a", encoding="utf-8", buffering=1
                )  # a line is whole at once
            self._metrics.write(json.dumps({"step": step, **finite_or_null(values)}, allow_nan=False) + "\n")
        scalars = {**values, **self._best} if self._judge(values) else values
        with told(self.directory / EVENTS):
            for tag, value in scalars.items():
                self.writer.add_scalar(tag, value, step)

    def _judge(self, values: Mapping[str, float | None]) -> bool:
        """Whether ``values`` are of an evaluation; the best so far is kept, for the HParams table."""
        loss, best = values.get("val/loss"), self._best.get(BEST["val/loss"], math.inf)
        if loss is None or not math.isfinite(loss):
            return False
        if loss < best:
            self._best = {tag: value for name, tag in BEST.items() if (value := values.get(name)) is not None}
        return True

    def sample(self, step: int, title: str, text: str) -> None:
        """Record a generated text."""
        with told(self.directory / SAMPLES), (self.directory / SAMPLES).open("a", encoding="utf-8") as file:
            file.write(f"## Step {step}: {title}\n\n```\n{text.strip()}\n```\n\n")
        with told(self.directory / EVENTS):
            self.writer.add_text("samples", f"**{title}**\n\n```\n{text.strip()}\n```", step)

    def look(self, step: int, look: Look | None) -> None:
        """Record what was seen inside the model after ``step`` updates, if anything was; in TensorBoard alone."""
        if look is None:
            return
        with told(self.directory / EVENTS):
            add_look(self.writer, step, look)

    def sync(self) -> None:
        """Have everything on the disk."""
        if self._writer is not None:
            with told(self.directory / EVENTS):
                self._writer.flush()
        for name in self.sizes():
            with told(self.directory / name):
                sync(self.directory / name)

    def sizes(self) -> dict[str, int]:
        """Bytes of each record, for ``go_on``."""
        records = [path for name in (METRICS, SAMPLES) if (path := self.directory / name).is_file()]
        return {path.name: path.stat().st_size for path in (*records, *self._event_files())}

    def _event_files(self) -> list[Path]:
        """Of this run's training: those of its evaluations are not its own."""
        return sorted(path for path in self.directory.glob(EVENTS) if path.suffix != EVALUATION)

    def close(self) -> None:
        with told(self.directory / METRICS):
            if self._metrics is not None:
                self._metrics.close()
        with told(self.directory / EVENTS):
            if self._writer is not None:
                self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.close()
        except OutputError as full:
            if error is None:
                raise
            log.error("%s", full)  # the first error is the one to raise


def is_record(name: str) -> bool:
    """Whether a run in training writes a file of this name into its directory."""
    events = fnmatchcase(name, EVENTS) and not name.endswith(EVALUATION) and Path(name).name == name
    return events or name in (METRICS, SAMPLES)


def newest_step(directory: Path) -> int:
    """The last step in a run's ``metrics.jsonl``, which may end in the middle of a line; 0 if there is none."""
    whole = [line for line in _read(directory / METRICS).splitlines(keepends=True) if line.endswith(b"\n")]
    return int(json.loads(whole[-1])["step"]) if whole else 0


def _lines(path: Path) -> Iterator[dict[str, float | None]]:
    """Every line of ``metrics.jsonl`` that can be read."""
    for line in _read(path).splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _cut_back(path: Path, size: int) -> None:
    there = path.stat().st_size if path.is_file() else 0
    if there > size:
        os.truncate(path, size)
    elif there < size:
        log.warning("%s has lost its last %d bytes since the checkpoint was written; they stay lost", path, size - there)


def finite_or_null(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: a gradient may be infinite under loss scaling, which then skips the step. Goes into mappings."""
    return {
        key: finite_or_null(value)
        if isinstance(value, Mapping)
        else None
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for key, value in values.items()
    }
