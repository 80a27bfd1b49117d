"""What a run says about itself: ``metrics.jsonl`` (the truth), TensorBoard (the same numbers), ``samples.md``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cai.config.base import Config

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Scalar = bool | int | float | str


class Recorder:
    """Writes metrics and samples of one run into its directory. One object for each step, whatever was measured."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._metrics = (directory / "metrics.jsonl").open("a", encoding="utf-8", buffering=1)  # a line is whole at once
        self._writer: SummaryWriter | None = None

    @property
    def writer(self) -> SummaryWriter:
        """TensorBoard's writer, one event file for each process of a run; imported late, as it takes a while."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.directory))
        return self._writer

    def hyperparameters(self, values: Mapping[str, Scalar], metrics: tuple[str, ...], name: str) -> None:
        """Make the run a row of TensorBoard's HParams table, whose metrics are the scalar series themselves.

        Through the run's own writer: ``SummaryWriter.add_hparams`` would add a second run in a folder of its own.
        """
        from tensorboard.plugins.hparams import summary_v2 as hp

        columns = [hp.Metric(tag) for tag in metrics]
        writer = self.writer._get_file_writer()  # type: ignore[no-untyped-call]
        writer.add_summary(hp.hparams_config_pb(hparams=[hp.HParam(key) for key in values], metrics=columns))
        writer.add_summary(hp.hparams_pb(dict(values), trial_id=name))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Record what was measured after ``step`` updates."""
        self._metrics.write(json.dumps({"step": step, **finite_or_null(values)}, allow_nan=False) + "\n")
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)

    def sample(self, step: int, title: str, text: str) -> None:
        """Record a generated text."""
        with (self.directory / "samples.md").open("a", encoding="utf-8") as file:
            file.write(f"## Step {step}: {title}\n\n```\n{text.strip()}\n```\n\n")
        self.writer.add_text("samples", f"**{title}**\n\n```\n{text.strip()}\n```", step)

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._metrics.flush()
        if self._writer is not None:
            self._writer.flush()

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
