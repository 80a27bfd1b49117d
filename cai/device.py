"""The device: which one, in which precision, and the few things that differ between them.

CUDA and MPS paths are written to PyTorch's documentation and tested with fakes; no accelerator runs in CI.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from cai.compiler import set_aside, set_deterministic
from cai.config.base import Config
from cai.errors import ConfigError
from cai.hardware import cpu_has_bf16, default_threads, keep_freed_memory, peak_flops
from cai.symptoms.table import tell
from cai.world import ALONE, World, current

DeviceType = Literal["cpu", "cuda", "mps"]
Precision = Literal["fp32", "bf16", "fp16", "fp64"]


class DeviceConfig(Config):
    """Where and how to compute."""

    type: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp64"]
    compile: bool
    compile_optimizer: bool
    threads: Annotated[int, Field(ge=0)]
    deterministic: bool
    self_test: bool
    processes: Annotated[int, Field(gt=0)]
    strategy: Literal["ddp", "fsdp"]
    cpu_offload: bool

    def problems(self) -> Iterator[str]:
        if self.cpu_offload and self.strategy != "fsdp":
            yield "@.cpu_offload goes with @.strategy=fsdp, but @.strategy is ddp. Try @.strategy=fsdp."
        if self.strategy == "fsdp" and self.precision == "fp16":
            yield "@.precision must be bf16, fp32 or fp64 with @.strategy=fsdp, but is fp16. Try @.precision=bf16."

    def build(self) -> Device:
        """The device that is really there. Raises ``ConfigError`` if the one asked for is not."""
        device_type, reason = self._choose_type()
        if device_type == "cuda" and self.processes > max(1, there := torch.cuda.device_count()):
            raise ConfigError(
                f"`device.processes` must be at most the number of GPUs of this machine ({there}), but is {self.processes}."
                f" Try device.processes={there}."
            )
        precision, precision_reason = self._choose_precision(device_type)
        return Device(
            type=device_type,
            precision=precision,
            reason=f"{reason}; {precision_reason}",
            compile=self.compile,
            compile_optimizer=self.compile_optimizer,
            threads=self.threads,
            deterministic=self.deterministic or device_type == "cpu",
            world=current(),
            strategy=self.strategy,
            cpu_offload=self.cpu_offload,
        )

    def _choose_type(self) -> tuple[DeviceType, str]:
        available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        if self.type == "auto":
            chosen: DeviceType = "cuda" if available["cuda"] else "mps" if available["mps"] else "cpu"
            missing = {
                "cuda": "a CUDA device is there",
                "mps": "no CUDA, but MPS",
                "cpu": "neither CUDA nor MPS is there",
            }
            return chosen, missing[chosen]
        if not available[self.type]:
            there = " or ".join(name for name, usable in available.items() if usable)
            raise ConfigError.of(tell("device_missing", there=there, asked=self.type))
        return self.type, "asked for"

    def _choose_precision(self, device_type: DeviceType) -> tuple[Precision, str]:
        if self.precision == "fp16" and device_type == "cpu":
            raise ConfigError(
                "`device.precision` must be fp32, bf16 or fp64 on CPU, but is fp16. Try device.precision=auto."
            )
        if self.precision == "fp64" and device_type == "mps":
            raise ConfigError(
                "`device.precision` must be fp32, bf16 or fp16 on MPS, which has no float64, but is fp64. Try device=cpu."
            )
        if self.precision != "auto":
            return self.precision, f"{self.precision} asked for"
        if device_type == "cuda":
            if torch.cuda.is_bf16_supported(including_emulation=False):
                return "bf16", "bf16 in hardware"
            return "fp16", "fp16 with loss scaling, as this GPU has no bf16"
        if device_type == "cpu" and cpu_has_bf16():
            return "bf16", "bf16 in hardware"
        return (
            "fp32",
            "fp32, as bf16 is emulated on this CPU" if device_type == "cpu" else "fp32, the safe choice on MPS",
        )


@dataclass(frozen=True)
class Device:
    """A device that is there, with its precision decided."""

    type: DeviceType
    precision: Precision
    reason: str
    compile: bool
    compile_optimizer: bool
    threads: int
    deterministic: bool
    world: World = ALONE
    strategy: Literal["ddp", "fsdp"] = "ddp"
    cpu_offload: bool = False

    def set_up(self) -> None:
        """Make the process-wide settings of a run: threads, determinism, counters. What an earlier job set is undone."""
        default = max(1, default_threads() // self.world.local_size)  # asked before the first run sets another
        torch.set_num_threads(self.threads or default)
        if self.type == "cuda" and self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself only with a fixed workspace
        compiles = self.compile or self.compile_optimizer
        set_deterministic(self.deterministic, compiles)
        set_aside(compiles)
        # On by default under determinism: a debugging aid that costs a pass over each new buffer.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        if self.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        if self.type == "cpu":
            keep_freed_memory()
        if compiles:
            torch._dynamo.reset()  # a sweep over shapes would otherwise reach its limit of recompilations

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.type, self.world.local_rank) if self.type == "cuda" else torch.device(self.type)

    @property
    def sharded(self) -> bool:
        """Whether weights lie divided among several processes."""
        return self.strategy == "fsdp" and self.world.size > 1

    @property
    def queues(self) -> bool:
        """Whether work is queued and the program goes on meanwhile."""
        return self.type != "cpu"

    def put(self, ids: Tensor) -> Tensor:
        """Copy a batch over, without waiting where the device can overlap it."""
        if self.type == "cuda":
            return ids.pin_memory().to(self.torch_device, non_blocking=True)
        return ids.to(self.torch_device)

    @property
    def parameter_dtype(self) -> torch.dtype:
        """Of weights and optimizer state: single precision below autocast, double only for fp64."""
        return torch.float64 if self.precision == "fp64" else torch.float32

    @property
    def element_size(self) -> int:
        """Bytes of a number in a forward pass."""
        return {"fp64": 8, "fp32": 4, "bf16": 2, "fp16": 2}[self.precision]

    def autocast(self) -> AbstractContextManager[object]:
        """The context of forward passes."""
        if self.precision in ("fp32", "fp64"):
            return contextlib.nullcontext()
        return torch.autocast(self.type, dtype=torch.bfloat16 if self.precision == "bf16" else torch.float16)

    def grad_scaler(self) -> torch.amp.GradScaler:
        """Loss scaling: fp16 on CUDA only; elsewhere a scaler that does nothing."""
        return torch.amp.GradScaler(self.type, enabled=self.type == "cuda" and self.precision == "fp16")

    @property
    def peak_flops(self) -> float | None:
        """Floating-point operations a second that the device can do at best; ``None`` where nobody knows."""
        return peak_flops(torch.cuda.get_device_name(), self.precision) if self.type == "cuda" else None

    def synchronize(self) -> None:
        """Wait until all queued work is done; for timing."""
        if self.type == "cuda":
            torch.cuda.synchronize()
        elif self.type == "mps":
            torch.mps.synchronize()

    def peak_memory(self) -> int:
        """Bytes at the highest point: of the GPU for CUDA, of the process elsewhere (on MPS what is held now)."""
        if self.type == "cuda":
            return torch.cuda.max_memory_allocated()
        if self.type == "mps":
            return torch.mps.driver_allocated_memory()
        return process_peak_memory()


def plain_cpu() -> Device:
    """The processor in fp32: where things are compared."""
    return Device("cpu", "fp32", "to compare", compile=False, compile_optimizer=False, threads=0, deterministic=True)


def process_peak_memory() -> int:
    """Bytes of resident memory at the process's highest point; 0 where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
