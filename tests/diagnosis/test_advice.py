"""Each thing that may be wrong with a machine or a config is told where it is seen, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import cai
from cai.config.roots import TrainConfig
from cai.device import Device
from cai.diagnosis import advice
from cai.diagnosis.expected import Size, Trial
from cai.diagnosis.limits import Room
from cai.diagnosis.machine import Gpu, Machine, Speed
from cai.diagnosis.telling import parts_of, rows_of_machine, rows_of_size, rows_of_trial, size_text
from cai.inspection.memory import Memory

GIB = 2**30
HEALTHY = Machine(
    versions={"cai": "1", "python": "3.11", "torch": "2.13", "numpy": "2", "tokenizers": "0.2", "hydra-core": "1.3"},
    torch_cuda=None,
    system="Linux",
    cpu="A CPU",
    cores=8,
    cpus=16,
    quota=None,
    threads=8,
    threads_reason="device.threads",
    load=0.1,
    vectors="AVX2",
    bf16=True,
    driver=None,
    gpus=[],
    mps_built=False,
    mps_available=False,
    mps_fallback=None,
    memory=Room(8 * GIB, 16 * GIB),
    memory_limit=None,
    disk=100 * GIB,
    variables={},
)
GPU = Gpu("NVIDIA L4", 24 * GIB, 20 * GIB, "8.9", bf16=True)
SPEED = Speed({"fp32": 1e11, "bf16": 2e11}, 1e10)
SIZE = Size(
    vocab_size=300,
    vocab_note="",
    parameters={"total": 10, "without_embeddings": 5},
    flops_per_token=1e6,
    steps=100,
    tokens_per_step=1000,
    micro_batch_size=4,
    memory=Memory(GIB, GIB, 2 * GIB, average=0, activations=4 * GIB, logits=0, update=0, peak=5 * GIB),
    needed=6 * GIB,
    free=16 * GIB,
)
TRIAL = Trial(seconds=0.01, forward=1e-6, micro_batch_size=4, parts=1, peak_memory=GIB)


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    composed: TrainConfig = cai.compose(["device=cpu", "device.precision=fp32", "trainer=smoke", "tokenizer=byte"])
    return composed


@pytest.fixture
def device(config: TrainConfig) -> Device:
    return config.device.build()


def names(told: Any) -> list[str]:
    return [one.name for one in told]


def test_of_a_healthy_machine_and_a_small_config_there_is_nothing_to_be_told(config: TrainConfig, device: Device) -> None:
    told = [*advice.of_machine(HEALTHY), *advice.of_speed(device, HEALTHY, SPEED)]
    told += [*advice.of_size(config, device, HEALTHY, SIZE), *advice.of_trial(device, SIZE, TRIAL, SPEED)]
    assert told == []


@pytest.mark.parametrize(
    ("facts", "name", "words"),
    [
        ({"driver": "550.1"}, "torch_without_cuda", ("550.1", "2.13", "pytorch.org")),
        (
            {"driver": "550.1", "torch_cuda": "CUDA 12.6", "variables": {"CUDA_VISIBLE_DEVICES": ""}},
            "cuda_hidden",
            ("CUDA_VISIBLE_DEVICES=''",),
        ),
        ({"driver": "550.1", "torch_cuda": "CUDA 12.6"}, "cuda_unusable", ("CUDA 12.6", "nvidia-smi")),
        ({"mps_available": True, "mps_fallback": "0"}, "mps_stops", ("is '0'", "PYTORCH_ENABLE_MPS_FALLBACK=1")),
        ({"mps_available": True}, "mps_stops", ("is ''",)),
        ({"threads": 1}, "few_threads", ("1 of 8 cores",)),
        ({"threads": 4}, "few_threads", ("4 of 8 cores",)),
        ({"threads": 9}, "many_threads", ("9 threads (device.threads)", "device.threads=8")),
        ({"quota": 1.5}, "many_threads", ("8 threads", "device.threads=2")),
    ],
)
def test_what_is_seen_of_a_machine_is_told(facts: dict[str, Any], name: str, words: tuple[str, ...]) -> None:
    (told,) = advice.of_machine(replace(HEALTHY, **facts))
    assert told.name == name
    assert all(word in told.sentence for word in words), told.sentence


@pytest.mark.parametrize(
    "facts",
    [
        {"driver": "550.1", "torch_cuda": "CUDA 12.6", "gpus": [GPU]},
        {"mps_available": True, "mps_fallback": "1"},
        {"mps_fallback": "0"},
        {"threads": 5},
        {"quota": 7.5},
        {"quota": 2.0, "threads": 2},
    ],
)
def test_what_is_right_is_not(facts: dict[str, Any]) -> None:
    assert list(advice.of_machine(replace(HEALTHY, **facts))) == []


def test_bf16_that_is_slower_than_fp32_is_emulated(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    slow, asked = Speed({"fp32": 1e11, "bf16": 1e10}, 1e10), replace(device, precision="bf16")
    monkeypatch.setattr("cai.symptoms.speed.multiplies_bf16", lambda _: False)
    assert names(advice.of_speed(asked, HEALTHY, slow)) == ["emulated"]
    assert names(advice.of_speed(asked, HEALTHY, SPEED)) == []  # not to be asked of this CPU, but it does it in hardware
    monkeypatch.setattr("cai.symptoms.speed.multiplies_bf16", lambda _: True)
    assert names(advice.of_speed(asked, HEALTHY, slow)) == []


def test_other_programs_at_work_are_told(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert names(advice.of_speed(device, replace(HEALTHY, load=16.0), SPEED)) == []
    assert names(advice.of_speed(device, replace(HEALTHY, load=16.1), SPEED)) == ["busy"]


@pytest.mark.parametrize(
    ("kind", "free", "name"),
    [
        ("cpu", 6 * GIB - 1, "host_memory"),
        ("cuda", GIB, "cuda_memory"),
        ("mps", GIB, "mps_memory"),
        ("cpu", 7 * GIB, "little_memory"),
        ("cpu", 8 * GIB, None),
        ("cpu", None, None),
    ],
)
def test_memory_that_is_not_there_is_told_with_what_takes_it(
    config: TrainConfig, device: Device, kind: Any, free: int | None, name: str | None
) -> None:
    told = list(advice.of_size(config, replace(device, type=kind), HEALTHY, replace(SIZE, free=free)))
    assert names(told) == [name] * (name is not None)
    if name in advice.OF_MEMORY.values():
        assert "about 6.0 GiB: activations 4.0 GiB, optimizer 2.0 GiB" in told[0].sentence
        assert "trainer.micro_batch_size=auto" in told[0].sentence
        less = list(advice.of_size(config, device, HEALTHY, replace(SIZE, free=free, micro_batch_size=1)))
        assert "micro_batch_size" not in less[0].sentence


def test_a_disk_without_room_for_the_checkpoints_is_told(config: TrainConfig, device: Device) -> None:
    needed = 2 * 3 * GIB + GIB  # `last` and the one before: weights and state; `best`: weights
    assert advice.checkpoint_bytes(config, SIZE) == needed
    kept = config.model_copy(update={"trainer": config.trainer.model_copy(update={"keep": 5})})
    assert advice.checkpoint_bytes(kept, SIZE) == needed + 5 * 3 * GIB
    machine = replace(HEALTHY, disk=needed + GIB - 1)
    (told,) = advice.of_size(config, device, machine, SIZE)
    assert told.name == "little_disk"
    assert "about 7.0 GiB" in told.sentence
    assert names(advice.of_size(config, device, replace(machine, disk=needed + GIB), SIZE)) == []


def test_an_accelerator_that_waits_and_a_run_of_days_are_told(device: Device) -> None:
    gpu, slow = replace(device, type="cuda"), replace(TRIAL, seconds=1.0)  # 1 of 100 GFLOP/s
    assert names(advice.of_trial(gpu, SIZE, slow, SPEED)) == ["waiting"]
    assert names(advice.of_trial(gpu, SIZE, TRIAL, SPEED)) == []
    assert names(advice.of_trial(device, SIZE, slow, SPEED)) == []
    assert names(advice.of_trial(replace(gpu, compile=True), SIZE, slow, SPEED)) == []
    assert names(advice.of_trial(device, replace(SIZE, steps=100_000), slow, SPEED)) == ["long_run"]
    assert names(advice.of_trial(device, replace(SIZE, steps=None), slow, SPEED)) == []


def test_a_machine_is_told_with_its_container_and_its_accelerators() -> None:
    told = dict(rows_of_machine(replace(HEALTHY, memory_limit=Room(GIB, 2 * GIB), quota=1.5, driver="550.1")))
    assert told["memory"] == "8.0 GiB free of 16 GiB; 1.0 GiB of the 2.0 GiB of this container"
    assert (
        told["CPU"]
        == "A CPU, 8 physical cores for this process (16 logical), limited to the time of 1.5, AVX2, bf16 in hardware"
    )
    assert told["CUDA"] == "none: this PyTorch is built without it (NVIDIA driver 550.1)"
    assert told["MPS"] == "none: this PyTorch is built without it"
    mac = replace(HEALTHY, mps_built=True, mps_available=True, mps_fallback="1", memory=None, torch_cuda="CUDA 12.6")
    told = dict(rows_of_machine(mac))
    assert told["MPS"].startswith("available; operators that it lacks run on the CPU")
    assert told["CUDA"] == "none: no device that it can use"
    assert told["memory"] == "this system does not tell"


@pytest.mark.parametrize(
    ("seconds", "what"),
    [
        (0.005, "matrix products: 200 GFLOP/s; something disturbed"),
        (0.02, "matrix products: 50 GFLOP/s, 50%"),
        (0.05, "matrix products, small"),
        (0.06, "small operations and passes"),
    ],
)
def test_what_bounds_a_step_is_told(config: TrainConfig, device: Device, seconds: float, what: str) -> None:
    rows = dict(rows_of_trial(config, device, SIZE, replace(TRIAL, seconds=seconds), SPEED))
    assert rows["bound by"].startswith(what)


def test_on_cuda_the_memory_that_was_measured_stands_beside_what_was_computed(config: TrainConfig, device: Device) -> None:
    gpu = replace(device, type="cuda")
    assert dict(rows_of_trial(config, gpu, SIZE, TRIAL, SPEED))["peak memory"] == "1.0 GiB (measured in the trial)"
    assert dict(rows_of_size(config, gpu, SIZE))["memory"].startswith(
        "about 6.0 GiB beside the program itself (computed: act"
    )


def test_what_the_optimizer_steps_with_is_told_where_it_is_what_takes_most() -> None:
    assert parts_of(replace(SIZE.memory, update=5 * GIB)).startswith("update 5.0 GiB, optimizer 2.0 GiB")
    assert "update" not in parts_of(SIZE.memory)


def test_bytes_are_told_in_what_suits_them() -> None:
    assert [size_text(count * 2**20) for count in (0.5, 5, 900, 1000, 9000, 30_000)] == [
        *("512 KiB", "5 MiB", "900 MiB", "1.0 GiB", "8.8 GiB", "29 GiB"),
    ]
