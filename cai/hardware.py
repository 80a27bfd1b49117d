"""What this machine has: cores, number formats, peak speed. Asked from PyTorch and the system, not measured."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import torch

PEAK_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10G": 70.0,
    "A10": 125.0,
    "T4": 65.0,
    "V100": 125.0,
    "RTX 5090": 209.5,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}
"""Dense bf16 or fp16 matrix products with fp32 accumulation, by the makers' data sheets; longer names first."""
OTHER_CHIP = re.compile(r"\b(Laptop|Ti|D|MIG)\b")
"""In a GPU's name: slower or faster than the one whose name it has, or a part of it."""

CPU_INFO = Path("/proc/cpuinfo")
CPU_TOPOLOGY = Path("/sys/devices/system/cpu")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


@functools.cache
def cpu_has_bf16() -> bool:
    """Whether this x86 CPU multiplies bf16 in hardware; without it bf16 is ten to forty times slower than fp32.

    Not ``torch.ops.mkldnn._is_mkldnn_bf16_supported``, which is true for any AVX-512, where bf16 is emulated.
    """
    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(probe() for probe in probes if probe)


@functools.cache
def onednn_is_faster() -> bool:
    """Whether oneDNN multiplies fp32 matrices faster than MKL, PyTorch's choice: on AMD processors with AVX-512."""
    is_there = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return is_there and torch.backends.cpu.get_cpu_capability() == "AVX512" and "AuthenticAMD" in _cpu_info()


def _cpu_info() -> str:
    """What Linux tells about the processor; nothing on other systems."""
    return CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.is_file() else ""


def cpu_name() -> str:
    """As its maker calls it; only the architecture where the system does not tell."""
    if sys.platform == "darwin":
        return _first_line("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    found = re.search(r"^model name\s*: *(.+)$", _cpu_info(), re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.processor() or platform.machine()


def nvidia_driver() -> str | None:
    """The version of the NVIDIA driver that is installed, whether PyTorch can use it or not; ``None`` if there is none."""
    if NVIDIA_DRIVER.is_file():
        found = re.search(r"Kernel Module.*?(\d+(?:\.\d+)+)", NVIDIA_DRIVER.read_text(encoding="utf-8", errors="replace"))
        return found[1] if found else "of an unknown version"
    if shutil.which("nvidia-smi"):
        return _first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return None


def _first_line(*words: str) -> str | None:
    """What a program of the system says; ``None`` if it fails, is not there, or says nothing."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().partition("\n")[0] or None


def multiplies_bf16(device_type: str) -> bool:
    """Whether matrix products in bf16 are faster than in fp32 on a device of this type."""
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device_type == "cpu" and cpu_has_bf16()


@functools.cache
def default_threads() -> int:
    """Physical cores that this process may use: a second thread on a core only gets in the first one's way.

    ``OMP_NUM_THREADS``, if set, has decided already; and where the system does not tell, PyTorch has.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    return physical_cores() or torch.get_num_threads()


def physical_cores(topology: Path = CPU_TOPOLOGY) -> int | None:
    """Distinct cores among the CPUs that this process is allowed to run on; ``None`` where Linux's sysfs is not there."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    siblings = [topology / f"cpu{number}" / "topology" / "thread_siblings_list" for number in os.sched_getaffinity(0)]
    try:
        return len({path.read_text() for path in siblings})
    except OSError:
        return None


@functools.cache
def keep_freed_memory() -> None:
    """Have the C library keep freed blocks for the next allocation. Does nothing but on Linux with glibc.

    By default it hands large blocks back to the system at once, and the same step asks for them again: page faults that
    take an eighth of a small model's step on a CPU.
    """
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # of malloc.h
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, -1)
        libc.mallopt(top_pad, 2**26)


def peak_flops(gpu: str, precision: str) -> float | None:
    """What a GPU of this name does at best in a second; ``None`` if it is not in the table, or not in 16 bits."""
    if precision not in ("bf16", "fp16") or OTHER_CHIP.search(gpu):
        return None
    found = [tflops for name, tflops in PEAK_TFLOPS.items() if re.search(rf"\b{name}\b", gpu)]
    return found[0] * 1e12 if found else None
