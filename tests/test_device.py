"""Which device, in which precision. Accelerators are faked: only the choices are tested here."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cai
from cai.cli import main
from cai.device import Device
from cai.errors import ConfigError
from cai.hardware import cpu_has_bf16, default_threads
from cai.runs import read_run
from cai.trainer.checkpoint import load_checkpoint
from tests.conftest import train_tiny


def build(*overrides: str) -> Device:
    device: Device = cai.compose(list(overrides)).device.build()
    return device


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: bool = False, mps: bool = False, bf16: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr("cai.device.cpu_has_bf16", cpu_has_bf16.__wrapped__)  # not what it found on another machine


@pytest.mark.parametrize(
    ("there", "type_", "precision"),
    [
        ({"cuda": True, "mps": True, "bf16": True}, "cuda", "bf16"),
        ({"cuda": True}, "cuda", "fp16"),
        ({"mps": True}, "mps", "fp32"),
        ({"bf16": True}, "cpu", "bf16"),
        ({}, "cpu", "fp32"),
    ],
)
def test_auto_takes_cuda_then_mps_then_cpu_in_the_precision_of_the_hardware(
    monkeypatch: pytest.MonkeyPatch, there: dict[str, bool], type_: str, precision: str
) -> None:
    machine(monkeypatch, **there)
    device = build("device=auto")
    assert (device.type, device.precision) == (type_, precision)
    assert device.reason


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    machine(monkeypatch)
    with pytest.raises(ConfigError, match=rf"`device\.type` must be .*\(cpu\), but is {name}.*device=auto"):
        build(f"device={name}")


def test_fp16_on_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    with pytest.raises(ConfigError, match=r"`device\.precision` must be fp32, bf16 or fp64 on CPU, but is fp16"):
        build("device=cpu", "device.precision=fp16")


def test_double_precision_is_refused_on_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, mps=True)
    with pytest.raises(ConfigError, match=r"`device\.precision` must be .* on MPS, .* but is fp64\. Try device=cpu"):
        build("device=mps", "device.precision=fp64")
    assert build("device=cpu", "device.precision=fp64").precision == "fp64"


@pytest.mark.parametrize(("precision", "dtype"), [("fp64", torch.float64), ("fp32", torch.float32), ("bf16", torch.float32)])
def test_weights_are_double_for_fp64_alone(precision: str, dtype: torch.dtype) -> None:
    assert build("device=cpu", f"device.precision={precision}").parameter_dtype == dtype


def test_a_run_in_double_precision_is_double_from_end_to_end(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train_tiny("model=gpt2", "optimizer=adamw", "device.precision=fp64")
    for name in ("last", "best"):
        checkpoint = load_checkpoint(run / "checkpoints" / f"{name}.safetensors")
        assert {tensor.dtype for tensor in checkpoint.model.values()} == {torch.float64}
    last = load_checkpoint(run / "checkpoints" / "last.safetensors")
    moments = [state[key] for state in last.optimizer.values() for key in ("exp_avg", "exp_avg_sq")]
    assert {tensor.dtype for tensor in moments} == {torch.float64}
    assert read_run(run)["device"]["precision"] == "fp64"
    assert "device     cpu, fp64" in capsys.readouterr().out
    assert main(["generate", f"run={run}", "prompt=가", "device=cpu", "generation.max_new_tokens=3"]) == 0
    assert capsys.readouterr().out.startswith("가")


@pytest.mark.parametrize(
    ("there", "overrides", "scales"),
    [
        ({"cuda": True}, ["device=cuda", "device.precision=fp16"], True),
        ({"cuda": True, "bf16": True}, ["device=cuda"], False),
        ({"cuda": True}, ["device=cuda", "device.precision=fp32"], False),
        ({"mps": True}, ["device=mps", "device.precision=fp16"], False),
        ({}, ["device=cpu"], False),
    ],
)
def test_the_loss_is_scaled_for_fp16_on_cuda_only(
    monkeypatch: pytest.MonkeyPatch, there: dict[str, bool], overrides: list[str], scales: bool
) -> None:
    machine(monkeypatch, **there)
    made: list[tuple[str, bool]] = []
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: made.append((device, enabled)))
    device = build(*overrides)
    device.grad_scaler()
    assert made == [(device.type, scales)]


def test_autocast_names_the_real_device(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, mps=True)
    seen: list[tuple[str, torch.dtype]] = []
    monkeypatch.setattr(torch, "autocast", lambda device, dtype: seen.append((device, dtype)))
    build("device=mps", "device.precision=fp16").autocast()
    build("device=mps", "device.precision=fp32").autocast()
    assert seen == [("mps", torch.float16)]


def test_cpu_runs_are_deterministic_and_cuda_runs_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=True)
    assert build("device=cpu").deterministic
    assert not build("device=cuda").deterministic
    assert build("device=cuda", "device.deterministic=true").deterministic


def test_set_up_applies_threads_and_determinism() -> None:
    build("device=cpu", "device.threads=2").set_up()
    try:
        assert torch.get_num_threads() == 2
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_job_that_leaves_its_threads_open_has_those_of_the_process_whatever_an_earlier_job_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr("cai.device.default_threads", functools.cache(default_threads.__wrapped__))
    torch.set_num_threads(2)  # as PyTorch does at its start
    for threads, expected in ((1, 1), (0, 2), (3, 3), (0, 2)):
        build("device=cpu", f"device.threads={threads}").set_up()
        assert torch.get_num_threads() == expected
    torch.use_deterministic_algorithms(False)


SET_UP = """
import sys, torch
from cai.device import DeviceConfig
options = dict(type="cpu", precision="fp32", compile_optimizer=False, threads=1, deterministic=False, self_test=False)
options |= dict(processes=1, strategy='ddp', cpu_offload=False)
DeviceConfig(compile=sys.argv[1] == "compile", **options).build().set_up()
config = sys.modules.get("torch._inductor.config")
enabled = torch.are_deterministic_algorithms_enabled()
print(enabled, "torch._inductor" in sys.modules, config is not None and config.deterministic)
"""
"""Prints whether algorithms are deterministic, whether the compiler was imported, and whether it is deterministic too."""


@pytest.mark.slow
@pytest.mark.parametrize(("word", "expected"), [("eager", "True False False"), ("compile", "True True True")])
def test_determinism_reaches_the_compiler_and_does_not_import_it_where_nothing_is_compiled(word: str, expected: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SET_UP, word], cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == expected


def test_a_cpu_run_keeps_freed_memory_and_one_on_a_gpu_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=True)
    kept: list[str] = []
    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr("cai.device.keep_freed_memory", lambda: kept.append("kept"))
    try:
        build("device=cuda", "device.threads=1").set_up()
        assert kept == []
        build("device=cpu", "device.threads=1").set_up()
        assert kept == ["kept"]
    finally:
        torch.use_deterministic_algorithms(False)


def test_only_what_is_no_cpu_queues_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=True, mps=True)
    assert [build(f"device={name}").queues for name in ("cpu", "cuda", "mps")] == [False, True, True]


def test_bf16_on_this_cpu_runs_forward_in_bf16_and_keeps_the_loss_in_fp32() -> None:
    config = cai.compose(["device=cpu", "device.precision=bf16", "model.n_layer=1", "model.n_embd=16", "model.block_size=8"])
    model, device = config.model.build(300), config.device.build()
    ids = torch.randint(300, (2, 8))
    with device.autocast():
        assert model(ids).dtype == torch.bfloat16
        assert model(ids, ids).dtype == torch.float32


def test_each_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert build("device=cuda", "device.processes=2").type == "cuda"
    with pytest.raises(ConfigError, match=r"number of GPUs of this machine \(2\), but is 3. Try device.processes=2"):
        build("device=cuda", "device.processes=3")
