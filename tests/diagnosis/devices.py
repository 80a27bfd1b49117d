"""Devices that are not asked for: of any type, in any precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cai.device import Device, Precision


def device(precision: Precision = "fp32", type: Any = "cpu") -> Device:
    return Device(type, precision, "asked for", compile=False, compile_optimizer=False, threads=1, deterministic=True)


def compute_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a device says that it is, it is the CPU."""
    real = Device.autocast
    monkeypatch.setattr(Device, "torch_device", torch.device("cpu"))
    monkeypatch.setattr(Device, "autocast", lambda self: real(device(self.precision)))
    monkeypatch.setattr(Device, "synchronize", lambda self: None)
    monkeypatch.setattr(Device, "peak_memory", lambda self: 0)
