"""What can be seen, without measuring long, to make a training slower than it must be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import torch

from cai.columns import duration
from cai.hardware import multiplies_bf16, physical_cores
from cai.runs import SWEEP
from cai.symptoms.table import Told, tell

if TYPE_CHECKING:
    from cai.device import Device
    from cai.trainer.trainer import Trainer

WORTH: Final = 60.0
"""Seconds of a run below which its speed is not spoken of."""
LONG: Final = 86_400.0
"""Seconds that are long on a CPU."""
FEW: Final = 2
"""Times the threads there might be."""
READING: Final = 0.25
"""Share of a step that reading its batch may take. An accelerator works meanwhile, so there it may take all of it."""
TRIES: Final = 3
"""Batches that are read to see how long it takes."""


def slow_device(device: Device) -> Iterator[Told]:
    """Whether another device or precision would be faster; for whoever computes on it."""
    there = "CUDA" if torch.cuda.is_available() else "MPS" if torch.backends.mps.is_available() else ""
    if device.type == "cpu" and there:
        yield tell("cpu_beside_gpu", there=there)
    if device.precision == "bf16" and device.type in ("cpu", "cuda") and not multiplies_bf16(device.type):
        yield tell("emulated", precision="bf16", device="GPU" if device.type == "cuda" else "CPU")


def slow_signs(trainer: Trainer, seconds: float) -> Iterator[Told]:
    """What makes a training of about ``seconds`` slow, and what to switch."""
    if seconds < WORTH:
        return
    yield from slow_device(trainer.device)
    cores, threads = physical_cores(), torch.get_num_threads()
    is_job = (trainer.recorder.directory.parent / SWEEP).is_file()  # which shares the cores with its siblings
    if trainer.device.type == "cpu" and cores is not None and threads * FEW <= cores and not is_job:
        yield tell("few_threads", threads=threads, cores=cores)
    share = reading_seconds(trainer) * (trainer.max_steps - trainer.progress.step) / seconds
    if share > (1.0 if trainer.device.queues else READING):
        yield tell("slow_data", share=share)
    if trainer.device.type == "cpu" and seconds > LONG:
        yield tell("long_run", time=duration(seconds), device="CPU")


def reading_seconds(trainer: Trainer) -> float:
    """How long it takes to read a batch, from places all over the text."""
    took = []
    for number in range(TRIES):
        begun = time.perf_counter()
        trainer.dataset.batch(number * trainer.max_steps // TRIES, trainer.config.batch_size)
        took.append(time.perf_counter() - begun)
    return min(took)
