"""What is to be said about a machine and a config: only what was seen."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

from cai.columns import duration
from cai.config.roots import TrainConfig
from cai.device import Device
from cai.diagnosis.expected import Size, Trial
from cai.diagnosis.machine import Machine, Speed
from cai.diagnosis.telling import falls_back, flops_of, parts_of, size_text
from cai.symptoms.speed import slow_device
from cai.symptoms.table import Told, tell

NEAR = 0.8
"""Share of the free memory from which on it is little: what is needed is computed, and not all of it."""
SPARE = 2**30
"""Bytes of disk that are to be left beside the checkpoints, for text and records."""
WAITS = 0.1
"""Share of an accelerator's speed below which it mostly waits."""
LONG = 86_400
"""Seconds of a long run."""

OF_MEMORY = {"cpu": "host_memory", "cuda": "cuda_memory", "mps": "mps_memory"}


def of_machine(machine: Machine) -> Iterator[Told]:
    """About what is there, whatever the config."""
    if machine.driver and not machine.gpus:
        hidden = machine.variables.get("CUDA_VISIBLE_DEVICES")
        if machine.torch_cuda is None:
            yield tell("torch_without_cuda", driver=machine.driver, version=machine.versions["torch"])
        elif hidden is not None:
            yield tell("cuda_hidden", driver=machine.driver, value=hidden)
        else:
            yield tell("cuda_unusable", driver=machine.driver, built=machine.torch_cuda)
    if machine.mps_available and not falls_back(machine.mps_fallback):
        yield tell("mps_stops", value=machine.mps_fallback or "")
    cores = usable_cores(machine)
    if machine.threads > cores:
        yield tell("many_threads", threads=machine.threads, why=machine.threads_reason, cores=cores)
    elif 2 * machine.threads <= cores:
        yield tell("few_threads", threads=machine.threads, cores=cores)


def usable_cores(machine: Machine) -> int:
    """Physical ones, or as many as a container leaves the time of."""
    return min(machine.cores, math.ceil(machine.quota or machine.cores))


def of_speed(device: Device, machine: Machine, speed: Speed) -> Iterator[Told]:
    """About the device that was chosen, and what was measured on it."""
    if machine.load is not None and machine.load > (cpus := os.cpu_count() or 1):
        yield tell("busy", load=machine.load, cpus=cpus)
    for told in slow_device(device):
        # Whether bf16 is emulated can be asked of x86 and CUDA alone: what is as fast as fp32 is not.
        if told.name != "emulated" or speed.flops["bf16"] < speed.flops["fp32"]:
            yield told


def of_size(config: TrainConfig, device: Device, machine: Machine, size: Size) -> Iterator[Told]:
    """About what a config takes."""
    needed, free = size.needed, size.free
    remedy = "fewer_at_once" if size.micro_batch_size > 1 else "less"
    if free is not None and not size.fits:
        what = f"this config (about {size_text(needed)}: {parts_of(size.memory)})"
        yield tell(OF_MEMORY[device.type], remedy=remedy, what=what, reason=f"{size_text(free)} are free.")
    elif free is not None and needed > NEAR * free:
        yield tell("little_memory", remedy=remedy, needed=size_text(needed), free=size_text(free))
    saved = checkpoint_bytes(config, size)
    if machine.disk < saved + SPARE:
        yield tell("little_disk", free=size_text(machine.disk), folder=config.output_dir, needed=size_text(saved))


def checkpoint_bytes(config: TrainConfig, size: Size) -> int:
    """Of all checkpoints at the end: `last`, the one before it and those kept with all that training needs, and `best`."""
    memory = size.memory
    whole = memory.weights + memory.optimizer + memory.average
    return (2 + config.trainer.keep) * whole + memory.weights


def of_trial(device: Device, size: Size, trial: Trial, speed: Speed) -> Iterator[Told]:
    """About what the trial came to."""
    share = flops_of(size, trial) / speed.flops[device.precision]
    if device.type != "cpu" and share < WAITS and not device.compile:
        yield tell("waiting", device=device.type.upper(), share=share)
    if size.steps is not None and (seconds := size.steps * trial.seconds) > LONG:
        yield tell("long_run", time=duration(seconds), device=device.type.upper())
