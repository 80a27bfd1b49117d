"""A machine as it is told: what is asked, and what is measured. CUDA by fakes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from cai import hardware
from cai.device import Device, DeviceConfig
from cai.diagnosis import machine, timing
from cai.diagnosis.machine import Machine, look_at, measure
from cai.diagnosis.telling import rows_of_machine, rows_of_speed
from cai.resources import conf_folder


def options(**values: Any) -> DeviceConfig:
    tree = yaml.safe_load((conf_folder() / "device" / "auto.yaml").read_text())
    tree.pop("_target_")
    return DeviceConfig(**{**tree, "type": "cpu", "precision": "fp32", **values})


def device(**values: Any) -> Device:
    return options(**values).build()


def look(tmp_path: Path, environment: dict[str, str] | None = None, **values: Any) -> Machine:
    return look_at(options(**values), tmp_path, environment or {})


def test_a_machine_is_plain_json_with_its_versions_and_room(tmp_path: Path) -> None:
    facts = json.loads(json.dumps(dataclasses.asdict(look(tmp_path))))
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()
    assert facts["disk"] == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    assert facts["memory"] is None or 0 < facts["memory"]["free"] <= facts["memory"]["total"]


def test_variables_that_matter_are_told_and_no_others(tmp_path: Path) -> None:
    environment = {"OMP_NUM_THREADS": "1", "HOME": "/root", "PYTORCH_CUDA_ALLOC_CONF": "x", "CUDA_VISIBLE_DEVICES": "0"}
    found = look(tmp_path, environment | {"PYTORCH_ENABLE_MPS_FALLBACK": "1"})
    assert list(found.variables) == ["CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTORCH_CUDA_ALLOC_CONF"]
    assert found.mps_fallback == "1"


@pytest.mark.parametrize(
    ("threads", "environment", "cores", "reason"),
    [
        (3, {"OMP_NUM_THREADS": "1"}, 8, "device.threads"),
        (0, {"OMP_NUM_THREADS": "1"}, 8, "OMP_NUM_THREADS"),
        (0, {}, 8, "the physical cores that this process may use"),
        (0, {}, None, "PyTorch's choice"),
    ],
)
def test_it_is_said_why_there_are_so_many_threads(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    threads: int,
    environment: dict[str, str],
    cores: int | None,
    reason: str,
) -> None:
    monkeypatch.setattr(machine, "physical_cores", lambda: cores)
    assert look(tmp_path, environment, threads=threads).threads_reason == reason


def test_gpus_are_told_each_with_its_own_facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    current = [0]

    @contextlib.contextmanager
    def chosen(number: int) -> Any:
        current[0] = number
        yield

    facts = [("NVIDIA H100", 9, 0), ("Tesla T4", 7, 5)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", chosen)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (2**30 * (number + 1), 2**34))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: current[0] == 0)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda number: SimpleNamespace(**dict(zip(("name", "major", "minor"), facts[number], strict=True))),
    )
    found = look(tmp_path)
    assert [(gpu.name, gpu.capability, gpu.bf16, gpu.free) for gpu in found.gpus] == [
        ("NVIDIA H100", "9.0", True, 2**30),
        ("Tesla T4", "7.5", False, 2**31),
    ]
    told = dict(rows_of_machine(found))["CUDA"]
    assert "NVIDIA H100, 1.0 GiB free of 16 GiB, compute capability 9.0, bf16 in hardware; Tesla T4" in told


@pytest.mark.parametrize(
    ("info", "name"),
    [("processor : 0\nmodel name\t: AMD  EPYC 9B14\nmodel name\t: other\n", "AMD EPYC 9B14"), ("Features : fp\n", "arm64")],
)
def test_the_cpu_has_its_makers_name_or_its_architecture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, info: str, name: str
) -> None:
    (tmp_path / "cpuinfo").write_text(info)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(hardware, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert hardware.cpu_name() == name


def test_the_nvidia_driver_is_found_without_pytorch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hardware, "NVIDIA_DRIVER", tmp_path / "version")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert hardware.nvidia_driver() is None
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19\nGCC version: 12\n"
    )
    assert hardware.nvidia_driver() == "535.129.03"


@pytest.mark.parametrize(("said", "version"), [("550.54.14\n550.54.14\n", "550.54.14"), ("", None)])
def test_elsewhere_its_own_program_is_asked(monkeypatch: pytest.MonkeyPatch, said: str, version: str | None) -> None:
    monkeypatch.setattr(hardware, "NVIDIA_DRIVER", Path("nowhere"))
    monkeypatch.setattr(shutil, "which", lambda name: "nvidia-smi.exe")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=said))
    assert hardware.nvidia_driver() == version


def test_matrices_grow_until_their_product_takes_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    flops = 1e12

    def seconds(work: functools.partial[object], *_: Any, **__: Any) -> float:
        size: int = work.args[0].shape[0]
        sizes.append(size)
        return 2.0 * size**3 / flops

    monkeypatch.setattr(machine, "lap", seconds)
    monkeypatch.setattr(machine, "typical", seconds)
    monkeypatch.setattr(torch, "randn", lambda *shape, **__: torch.empty(shape, device="meta"))
    assert machine._flops(device(), torch.float32) == pytest.approx(flops)
    assert max(sizes) == 2048  # 17 ms; of 1024 it were 2
    flops = 1e18
    assert machine._flops(device(), torch.float32) == pytest.approx(flops)
    assert max(sizes) == machine.LARGEST


def test_what_is_measured_is_in_the_precision_that_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SECONDS": 0.0, "LONG_ENOUGH": 0.0, "SMALLEST": 64, "COPIED": 2**16}.items():
        monkeypatch.setattr(machine, name, value)
    speed = measure(device(precision="fp64"))
    assert list(speed.flops) == ["fp32", "fp64"]
    assert min(*speed.flops.values(), speed.bytes) > 0
    ((name, told),) = rows_of_speed(machine.Speed({"fp32": 48.4e9, "bf16": 1.24e12}, 12.3e9))
    assert (name, told) == (
        "measured",
        "matrix products 48 GFLOP/s in fp32, 1.2 TFLOP/s in bf16; memory 12 GB/s, read and written",
    )


def test_a_lap_has_the_work_that_is_still_queued_and_the_median_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now, queued = [0.0], [0.0]
    durations = iter([1.0, 50.0, 2.0, 3.0])

    class Queue(Device):
        def synchronize(self) -> None:
            now[0] += queued[0]
            queued[0] = 0.0

    def work() -> None:
        queued[0] += next(durations)

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    slow = Queue(**vars(device()))
    assert timing.lap(work, slow) == 1.0
    assert timing.typical(work, slow, budget=0.0) == 3.0
