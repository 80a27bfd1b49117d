"""What TensorBoard is given beside scalars and texts: a row of its HParams table, a layout, histograms, pictures."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cai.config.base import Config

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Scalar = bool | int | float | str

BEST = {"val/loss": "_best/val_loss", "val/bits_per_byte": "_best/bits_per_byte"}
"""Metric → the series of what it was at the best evaluation so far. The table shows its first five metrics, and sorts them
by name: hence the underscore."""

PARTS = ("model", "data", "tokenizer", "optimizer", "schedule")
"""Groups all of whose options decide what a run comes to."""
OPTIONS = frozenset(
    {"seed", "device.precision"}
    | {f"trainer.{name}" for name in ("max_steps", "max_epochs", "batch_size", "ema_decay", "grad_clip")}
)
"""The other options that do."""

LONGEST = 100
"""Characters of a cell."""

CHARTS = {
    "loss": {"train and validation": ["train/loss", "val/loss"], "bits per byte": ["val/bits_per_byte"]},
    "speed": {"tokens per second": ["perf/tokens_per_sec"], "memory (GiB)": ["perf/memory_gib"]},
    "optimizer": {"learning rate": ["train/lr"], "gradient norm": ["train/grad_norm"]},
    "answers": {"answers at the end": ["answers/.*"]},
}
"""Heading → chart → patterns of the series in it."""


class Histogram(NamedTuple):
    """How often values of each size occur in a tensor."""

    low: float
    high: float
    size: int
    """How many values there are."""
    total: float
    squares: float
    limits: list[float]
    """The upper end of each bucket, ascending."""
    counts: list[float]


class Picture(NamedTuple):
    """An image in shades of gray."""

    pixels: NDArray[np.uint8]
    """``(height, width)``; 0 is black."""
    about: str
    """Markdown, shown beside it."""


class Look(NamedTuple):
    """What was seen inside a model at one step, by tag."""

    histograms: Mapping[str, Histogram]
    pictures: Mapping[str, Picture]


def hyperparameters(config: Config, overrides: Collection[str] = ()) -> dict[str, Scalar]:
    """The options of a run that decide what it comes to, and every one that its ``overrides`` name, by dotted path.

    The class of each part goes under the part's own name. Options that are null have no value in the table.
    """
    chosen = OPTIONS | {word.lstrip("+~").partition("=")[0] for word in overrides}
    flat = {
        path: value
        for path, value in flatten(config).items()
        if path.partition(".")[0] in PARTS or any(f"{path}.".startswith(f"{name}.") for name in chosen)
    }
    parts = {name: type(part).__name__.removesuffix("Config") for name in PARTS if (part := getattr(config, name, None))}
    values = parts | {path: value for path, value in flat.items() if value != str(None)}
    return {path: value[:LONGEST] if isinstance(value, str) else value for path, value in values.items()}


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


def introduce(writer: SummaryWriter, values: Mapping[str, Scalar]) -> None:
    """Make the run of ``writer`` a row of the HParams table, and lay out its charts.

    No summary of an experiment is written: TensorBoard would take the columns of the whole log root from that of one run.
    Without it the columns are those of all runs together, what differs first, and the metrics are the scalar series
    themselves at their last step. ``SummaryWriter.add_hparams`` would add a second run in a folder of its own.
    """
    from tensorboard.plugins.hparams import summary_v2 as hp

    file_writer: Any = writer._get_file_writer()  # type: ignore[no-untyped-call]
    # Rows go by the group's name, or, if it is empty, by the run's: two sweeps may have a job folder of the same name.
    file_writer.add_summary(hp.hparams_pb(dict(values), trial_id=""))
    layout = {
        heading: {title: ["Multiline", [f"^{tag}$" for tag in tags]] for title, tags in charts.items()}
        for heading, charts in CHARTS.items()
    }
    writer.add_custom_scalars(layout)


def add_look(writer: SummaryWriter, step: int, look: Look) -> None:
    """Write what was seen at ``step``."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

    for tag, seen in look.histograms.items():
        writer.add_histogram_raw(
            tag,
            min=seen.low,
            max=seen.high,
            num=seen.size,
            sum=seen.total,
            sum_squares=seen.squares,
            bucket_limits=seen.limits,
            bucket_counts=seen.counts,
            global_step=step,
        )
    file_writer: Any = writer._get_file_writer()  # type: ignore[no-untyped-call]
    for tag, picture in look.pictures.items():
        height, width = picture.pixels.shape
        image = Summary.Image(height=height, width=width, colorspace=1, encoded_image_string=png(picture.pixels))
        about = SummaryMetadata(display_name=tag, summary_description=picture.about)
        file_writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image, metadata=about)]), step)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """``pixels (height, width)`` in shades of gray as a PNG file (ISO/IEC 15948)."""
    height, width = pixels.shape
    rows = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # before each row the number of its filter: 0, none
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
