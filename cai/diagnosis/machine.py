"""What this machine is and how fast it computes: asked from PyTorch and the system, and measured in a second or two."""

from __future__ import annotations

import functools
import itertools
import operator
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cai.diagnosis.limits import Room, memory, memory_of_group, processor_quota
from cai.diagnosis.timing import lap, typical
from cai.files import free_mib
from cai.hardware import cpu_has_bf16, cpu_name, nvidia_driver, physical_cores
from cai.model.linear import linear

if TYPE_CHECKING:
    from cai.device import Device, DeviceConfig

PACKAGES = ("torch", "numpy", "tokenizers", "hydra-core")

VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG")
PREFIXES = ("OMP_", "KMP_", "GOMP_", "MKL_", "PYTORCH_", "TORCH_")
"""Environment variables that change how PyTorch computes."""
MPS_FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"

SECONDS = 0.2
"""For each figure that is measured."""
SMALLEST, LARGEST = 256, 8192
"""Rows of the square matrices that are multiplied: they grow until a product takes long enough to be measured."""
LONG_ENOUGH = 0.01
COPIED = 2**27
"""Bytes that are copied for the memory's speed: more than the caches of most CPUs hold."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}


@dataclass(frozen=True)
class Gpu:
    """A CUDA (or ROCm) device."""

    name: str
    memory: int
    """Bytes that it has."""
    free: int
    """Bytes that are free, of all processes."""
    capability: str
    bf16: bool
    """Whether it computes in bf16 in hardware."""


@dataclass(frozen=True)
class Speed:
    """Measured on the device that would train."""

    flops: dict[str, float]
    """Precision → floating-point operations a second in a product of large matrices, as CAI's linear layers compute it."""
    bytes: float
    """A second, read and written, in a copy of a large tensor."""


@dataclass(frozen=True)
class Machine:
    """All that ``cai doctor`` tells of a machine; no names of hosts or people. ``dataclasses.asdict`` is plain JSON."""

    versions: dict[str, str]
    torch_cuda: str | None
    """What PyTorch is built for: ``CUDA 12.6``, ``ROCm 6.2``; ``None``: for no such device."""
    system: str
    cpu: str
    cores: int
    """Physical ones that this process may run on; where nobody tells, its CPUs."""
    cpus: int
    """Logical ones that this process may run on."""
    quota: float | None
    """CPUs' time that a container leaves to it; ``None``: no limit."""
    threads: int
    threads_reason: str
    load: float | None
    """Programs that wanted a CPU in the last minute, on average; ``None`` if the system does not tell."""
    vectors: str
    """The widest that PyTorch uses: ``AVX2``, ``AVX512``, ..."""
    bf16: bool
    """Whether the CPU multiplies bf16 in hardware, as far as can be asked (x86)."""
    driver: str | None
    """Of NVIDIA, whether PyTorch can use it or not."""
    gpus: list[Gpu]
    mps_built: bool
    mps_available: bool
    mps_fallback: str | None
    memory: Room | None
    memory_limit: Room | None
    """Of the container, if there is any."""
    disk: int
    """Free bytes where outputs go."""
    variables: dict[str, str]


def look_at(config: DeviceConfig, output_dir: Path, environment: Mapping[str, str] = os.environ) -> Machine:
    """The machine as a run of ``config`` finds it. Call it when the device has been set up: its threads are PyTorch's."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = physical_cores()
    hip = getattr(torch.version, "hip", None)
    names = [name for name in environment if name in VARIABLES or name.startswith(PREFIXES)]
    return Machine(
        versions={"cai": metadata.version("cai"), "python": platform.python_version()}
        | {package: metadata.version(package) for package in PACKAGES},
        torch_cuda=f"ROCm {hip}" if hip else f"CUDA {torch.version.cuda}" if torch.version.cuda else None,
        system=platform.platform(),
        cpu=cpu_name(),
        cores=cores or cpus,
        cpus=cpus,
        quota=processor_quota(),
        threads=torch.get_num_threads(),
        threads_reason=_why_so_many(config, environment, told=cores is not None),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        vectors=torch.backends.cpu.get_cpu_capability(),
        bf16=cpu_has_bf16(),
        driver=nvidia_driver(),
        gpus=_gpus(),
        mps_built=torch.backends.mps.is_built(),
        mps_available=torch.backends.mps.is_available(),
        mps_fallback=environment.get(MPS_FALLBACK),
        memory=memory(),
        memory_limit=memory_of_group(),
        disk=round(free_mib(output_dir) * 2**20),
        variables={name: environment[name] for name in sorted(names) if name != MPS_FALLBACK},
    )


def measure(device: Device) -> Speed:
    """Multiply and copy for a second or two. ``device`` has been set up."""
    with torch.no_grad():
        return Speed({name: _flops(device, DTYPES[name]) for name in precisions_of(device)}, _bytes(device))


def precisions_of(device: Device) -> list[str]:
    """Those whose speed is of interest: single precision, and the one chosen."""
    return list(dict.fromkeys(["fp32", device.precision]))


def _flops(device: Device, dtype: torch.dtype) -> float:
    """Of the smallest matrices whose product takes long enough: larger ones bring little, and more of them are tried."""
    for size in itertools.accumulate(itertools.repeat(2), operator.mul, initial=SMALLEST):
        x, y = (torch.randn(size, size, device=device.torch_device, dtype=dtype) for _ in range(2))
        product = functools.partial(linear, x, y)
        lap(product, device)  # libraries are loaded, threads are started
        if lap(product, device) >= LONG_ENOUGH or size == LARGEST:
            break
    return 2.0 * size**3 / typical(product, device, SECONDS)


def _bytes(device: Device) -> float:
    source = torch.ones(COPIED // 4, device=device.torch_device)
    copy = functools.partial(torch.empty_like(source).copy_, source)
    lap(copy, device)  # the system gives the pages
    return 2.0 * COPIED / typical(copy, device, SECONDS)


def _why_so_many(config: DeviceConfig, environment: Mapping[str, str], *, told: bool) -> str:
    if config.threads:
        return "device.threads"
    if "OMP_NUM_THREADS" in environment:
        return "OMP_NUM_THREADS"
    return "the physical cores that this process may use" if told else "PyTorch's choice"


def _gpus() -> list[Gpu]:
    if not torch.cuda.is_available():
        return []
    gpus = []
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        with torch.cuda.device(number):
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        gpus.append(Gpu(facts.name, total, free, f"{facts.major}.{facts.minor}", bf16))
    return gpus
