"""What a run says about itself: ``metrics.jsonl`` (the truth), TensorBoard (the same numbers), ``samples.md``."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cai.config.base import Config
from cai.errors import OutputError
from cai.files import sync

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

Scalar = bool | int | float | str
METRICS, SAMPLES, EVENTS = "metrics.jsonl", "samples.md", "events.out.tfevents.*"


class Recorder:
    """Writes metrics and samples of one run into its directory. One object for each step, whatever was measured."""

    def __init__(self, directory: Path, *, purge_step: int | None = None) -> None:
        """``purge_step``: TensorBoard forgets what it read before of this step and later ones; see ``cut_back``."""
        self.directory = directory
        self.purge_step = purge_step
        with _told(directory / METRICS):
            self._metrics = (directory / METRICS).open("a", encoding="utf-8", buffering=1)  # a line is whole at once
        self._writer: SummaryWriter | None = None

    @property
    def writer(self) -> SummaryWriter:
        """TensorBoard's writer, one event file for each process of a run; imported late, as it takes a while."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.directory), purge_step=self.purge_step)
        return self._writer

    def hyperparameters(self, values: Mapping[str, Scalar], metrics: tuple[str, ...], name: str) -> None:
        """Make the run a row of TensorBoard's HParams table, whose metrics are the scalar series themselves.

        Through the run's own writer: ``SummaryWriter.add_hparams`` would add a second run in a folder of its own.
        """
        from tensorboard.plugins.hparams import summary_v2 as hp

        columns = [hp.Metric(tag) for tag in metrics]
        with _told(self.directory / EVENTS):
            writer = self.writer._get_file_writer()  # type: ignore[no-untyped-call]
            writer.add_summary(hp.hparams_config_pb(hparams=[hp.HParam(key) for key in values], metrics=columns))
            writer.add_summary(hp.hparams_pb(dict(values), trial_id=name))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Record what was measured after ``step`` updates."""
        with _told(self.directory / METRICS):
            self._metrics.write(json.dumps({"step": step, **finite_or_null(values)}, allow_nan=False) + "\n")
        with _told(self.directory / EVENTS):
            for tag, value in values.items():
                self.writer.add_scalar(tag, value, step)

    def sample(self, step: int, title: str, text: str) -> None:
        """Record a generated text."""
        with _told(self.directory / SAMPLES), (self.directory / SAMPLES).open("a", encoding="utf-8") as file:
            file.write(f"## Step {step}: {title}\n\n```\n{text.strip()}\n```\n\n")
        with _told(self.directory / EVENTS):
            self.writer.add_text("samples", f"**{title}**\n\n```\n{text.strip()}\n```", step)

    def sync(self) -> None:
        """Have everything on the disk: metrics and samples synced, events handed over."""
        with _told(self.directory / METRICS):
            self._metrics.flush()
            sync(self.directory / METRICS)
        if (self.directory / SAMPLES).is_file():
            with _told(self.directory / SAMPLES):
                sync(self.directory / SAMPLES)
        if self._writer is not None:
            with _told(self.directory / EVENTS):
                self._writer.flush()

    def sizes(self) -> dict[str, int]:
        """Bytes of each record, for ``cut_back``."""
        return {name: path.stat().st_size for name in (METRICS, SAMPLES) if (path := self.directory / name).is_file()}

    def close(self) -> None:
        try:
            self._metrics.close()
        finally:
            if self._writer is not None:
                self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def cut_back(directory: Path, sizes: Mapping[str, int] | None) -> None:
    """Take out of the records what came after a checkpoint, which knows their ``sizes``; it will come again.

    Without a checkpoint (``None``) all of it, TensorBoard's files included: the run begins anew. Event files of before a
    checkpoint stay, their tail is purged by the next writer.
    """
    for name in (METRICS, SAMPLES):
        path, size = directory / name, (sizes or {}).get(name, 0)
        there = path.stat().st_size if path.is_file() else 0
        if there > size:
            os.truncate(path, size)
        elif there < size:
            log.warning("%s has lost its last %d bytes since the checkpoint was written; they stay lost", path, size - there)
    if sizes is None:
        for path in directory.glob(EVENTS):
            path.unlink()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """A full disk gives an error that does not know its file."""
    try:
        yield
    except OSError as error:
        hint = " Free some space" if error.errno == errno.ENOSPC else " Make it writable"
        raise OutputError(f"{path} could not be written ({error.strerror or error}).{hint}, then resume the run.") from error


def finite_or_null(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no infinity: a gradient may be infinite under loss scaling, which then skips the step."""
    return {tag: value if math.isfinite(value) else None for tag, value in values.items()}


def flatten(config: Config, prefix: str = "") -> dict[str, Scalar]:
    """Dotted path → value, for tables: nested configs opened, sequences and ``None`` as text."""
    flat: dict[str, Scalar] = {}
    for key in type(config).model_fields:
        value = getattr(config, key)
        if isinstance(value, Config):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat
