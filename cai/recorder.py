"""What a run says about itself: ``metrics.jsonl`` (the truth), TensorBoard (the same numbers), ``samples.md``."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from cai.config.base import Config
from cai.errors import OutputError
from cai.files import sync, told

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

Scalar = bool | int | float | str
METRICS, SAMPLES, EVENTS = "metrics.jsonl", "samples.md", "events.out.tfevents.*"


class Recorder:
    """Writes metrics and samples of one run into its directory. One object for each step, whatever was measured."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._metrics: TextIO | None = None
        self._writer: SummaryWriter | None = None
        self._purge_step = 0  # TensorBoard takes the first such mark as the beginning and purges from the second on

    def go_on(self, state: Mapping[str, Any] | None, sizes: Mapping[str, int] | None = None) -> None:
        """Before anything is recorded: take out of the records what came after the checkpoint with this ``state``; it will
        come again. Without a checkpoint all of it, TensorBoard's files included: the run begins anew.

        ``sizes``: of the records when they held something more that stays. Event files of before a checkpoint stay too;
        TensorBoard is told to forget their tail.
        """
        sizes = sizes or (state["sizes"] if state else {})
        for name in (METRICS, SAMPLES):
            _cut_back(self.directory / name, sizes.get(name, 0))
        if state:
            # The first step that is recorded anew: the checkpoint's own, if that one's records were still to come.
            self._purge_step = state["step"] + (state["owed"] is None)
        else:
            for path in self.directory.glob(EVENTS):
                path.unlink()

    @property
    def writer(self) -> SummaryWriter:
        """TensorBoard's writer, one event file for each process of a run; imported late, as it takes a while."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.directory), purge_step=self._purge_step)
        return self._writer

    def hyperparameters(self, values: Mapping[str, Scalar], metrics: tuple[str, ...], name: str) -> None:
        """Make the run a row of TensorBoard's HParams table, whose metrics are the scalar series themselves.

        Through the run's own writer: ``SummaryWriter.add_hparams`` would add a second run in a folder of its own.
        """
        from tensorboard.plugins.hparams import summary_v2 as hp

        columns = [hp.Metric(tag) for tag in metrics]
        with told(self.directory / EVENTS):
            writer = self.writer._get_file_writer()  # type: ignore[no-untyped-call]
            writer.add_summary(hp.hparams_config_pb(hparams=[hp.HParam(key) for key in values], metrics=columns))
            writer.add_summary(hp.hparams_pb(dict(values), trial_id=name))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Record what was measured after ``step`` updates."""
        with told(self.directory / METRICS):
            if self._metrics is None:
                self._metrics = (self.directory / METRICS).open(
                    "a", encoding="utf-8", buffering=1
                )  # a line is whole at once
            self._metrics.write(json.dumps({"step": step, **finite_or_null(values)}, allow_nan=False) + "\n")
        with told(self.directory / EVENTS):
            for tag, value in values.items():
                self.writer.add_scalar(tag, value, step)

    def sample(self, step: int, title: str, text: str) -> None:
        """Record a generated text."""
        with told(self.directory / SAMPLES), (self.directory / SAMPLES).open("a", encoding="utf-8") as file:
            file.write(f"## Step {step}: {title}\n\n```\n{text.strip()}\n```\n\n")
        with told(self.directory / EVENTS):
            self.writer.add_text("samples", f"**{title}**\n\n```\n{text.strip()}\n```", step)

    def sync(self) -> None:
        """Have everything on the disk: metrics and samples synced, events handed over."""
        for name in self.sizes():
            with told(self.directory / name):
                sync(self.directory / name)
        if self._writer is not None:
            with told(self.directory / EVENTS):
                self._writer.flush()

    def sizes(self) -> dict[str, int]:
        """Bytes of each record, for ``go_on``."""
        return {name: path.stat().st_size for name in (METRICS, SAMPLES) if (path := self.directory / name).is_file()}

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


def newest_step(directory: Path) -> int:
    """The last step in a run's ``metrics.jsonl``, which may end in the middle of a line; 0 if there is none."""
    path = directory / METRICS
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    return int(json.loads(whole[-1])["step"]) if whole else 0


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
