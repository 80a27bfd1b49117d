"""What the machine is asked, and what is made of the answers. The machines are made up."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cai import hardware
from cai.hardware import cpu_has_bf16, default_threads, keep_freed_memory, multiplies_bf16, peak_flops, physical_cores

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    """No answer of another machine is remembered, before or after."""
    for cached in (cpu_has_bf16, default_threads, keep_freed_memory):
        cached.cache_clear()
    yield
    for cached in (cpu_has_bf16, default_threads, keep_freed_memory):
        cached.cache_clear()


def sysfs(folder: Path, cores: list[list[int]]) -> Path:
    """Linux's description of a machine with these CPUs on its cores."""
    for siblings in cores:
        for number in siblings:
            (place := folder / f"cpu{number}" / "topology").mkdir(parents=True)
            (place / "thread_siblings_list").write_text(",".join(map(str, siblings)) + "\n")
    return folder


def allow(monkeypatch: pytest.MonkeyPatch, numbers: set[int]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: numbers, raising=False)


TWO_THREADS = [[0, 4], [1, 5], [2, 6], [3, 7]]


@pytest.mark.parametrize(
    ("cores", "allowed", "expected"),
    [
        (TWO_THREADS, {0, 1, 2, 3, 4, 5, 6, 7}, 4),
        (TWO_THREADS, {0, 4}, 1),
        (TWO_THREADS, {0, 1, 4}, 2),
        (TWO_THREADS, {5, 6}, 2),
        ([[0], [1], [2]], {0, 1, 2}, 3),
        ([[0, 1], [2, 3], [4], [5]], {0, 1, 2, 3, 4, 5}, 4),  # fast cores with two threads, slow ones with one
    ],
)
def test_physical_cores_are_those_of_the_cpus_that_the_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: list[list[int]], allowed: set[int], expected: int
) -> None:
    allow(monkeypatch, allowed)
    assert physical_cores(sysfs(tmp_path, cores)) == expected


def test_where_linux_tells_nothing_of_cores_nobody_knows_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, {0, 1})
    assert physical_cores(tmp_path / "nowhere") is None
    assert physical_cores(sysfs(tmp_path, [[0]])) is None  # of CPU 1 nothing is known
    monkeypatch.delattr(os, "sched_getaffinity")
    assert physical_cores(sysfs(tmp_path / "whole", TWO_THREADS)) is None


@pytest.mark.parametrize(
    ("variable", "cores", "expected"), [(None, 6, 6), ("3", 6, 1), (None, None, 1)], ids=["cores", "variable", "torch"]
)
def test_as_many_threads_as_cores_unless_the_variable_of_openmp_or_nobody_has_said(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, cores: int | None, expected: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(hardware, "physical_cores", lambda: cores)
    assert torch.get_num_threads() == 1  # as PyTorch has it in these tests
    assert default_threads() == expected


@pytest.mark.slow
def test_the_variable_of_openmp_decides_in_a_process_that_begins_with_it() -> None:
    program = "from cai import hardware; hardware.physical_cores = lambda: 5; print(hardware.default_threads())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("gpu", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA A10G", 70),
        ("NVIDIA A10", 125),
        ("Tesla T4", 65),
        ("NVIDIA GeForce RTX 4090", 165.2),
    ],
)
def test_the_peak_of_a_gpu_is_found_by_its_name(gpu: str, tflops: float) -> None:
    assert peak_flops(gpu, "bf16") == peak_flops(gpu, "fp16") == pytest.approx(tflops * 1e12)


@pytest.mark.parametrize(
    "gpu",
    [
        *("NVIDIA L40", "NVIDIA RTX A1000", "NVIDIA T400", "Quadro P4000", "AMD Instinct MI300X", ""),
        *("NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 3090 Ti", "NVIDIA A100-SXM4-40GB MIG 1g.5gb"),
    ],
)
def test_the_peak_of_a_gpu_that_is_not_in_the_table_is_not_known(gpu: str) -> None:
    assert peak_flops(gpu, "bf16") is None


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_the_table_holds_for_16_bits_alone(precision: str) -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3", precision) is None


@pytest.mark.parametrize(("avx512", "amx", "expected"), [(False, False, False), (True, False, True), (False, True, True)])
def test_bf16_is_in_hardware_where_one_of_two_extensions_is(
    monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool, expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert cpu_has_bf16() is expected
    assert multiplies_bf16("cpu") is expected
    assert multiplies_bf16("mps") is False


@pytest.mark.parametrize("there", [True, False])
def test_on_cuda_emulated_bf16_is_not_counted(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: there or including_emulation)
    assert multiplies_bf16("cuda") is there


def calls_of_the_c_library(monkeypatch: pytest.MonkeyPatch, *, has_mallopt: bool = True) -> list[tuple[int, int]]:
    """What a made-up C library is told from now on."""
    told: list[tuple[int, int]] = []

    class Library:
        def __init__(self, name: None) -> None:
            pass

        def __getattr__(self, name: str) -> Any:
            if name != "mallopt" or not has_mallopt:
                raise AttributeError(name)
            return lambda *arguments: told.append(arguments)

    monkeypatch.setattr(ctypes, "CDLL", Library)
    return told


def test_on_linux_the_c_library_is_told_once_to_keep_what_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    told = calls_of_the_c_library(monkeypatch)
    monkeypatch.setattr(sys, "platform", "linux")
    keep_freed_memory()
    keep_freed_memory()
    assert dict(told) == {-4: 0, -1: -1, -2: 2**26}  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
    assert len(told) == 3


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_on_another_system_nothing_is_asked_of_it(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("it was"))
    monkeypatch.setattr(sys, "platform", system)
    keep_freed_memory()


def test_on_linux_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    told = calls_of_the_c_library(monkeypatch, has_mallopt=False)
    monkeypatch.setattr(sys, "platform", "linux")
    keep_freed_memory()
    assert told == []


@pytest.mark.parametrize(
    ("vendor", "capability", "faster"),
    [("AuthenticAMD", "AVX512", True), ("AuthenticAMD", "AVX2", False), ("GenuineIntel", "AVX512", False)],
)
def test_onednn_is_taken_on_amd_processors_with_avx512(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: str, capability: str, faster: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n")
    monkeypatch.setattr(hardware, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert hardware.onednn_is_faster.__wrapped__() is faster
    monkeypatch.setattr(hardware, "CPU_INFO", tmp_path / "missing")
    assert hardware.onednn_is_faster.__wrapped__() is False
