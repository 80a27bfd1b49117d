"""The profiler: what it leaves behind, what it says bounds the speed, and that no number that is computed differs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch.autograd import DeviceType, _profiler_enabled  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity

from cai import interruption
from cai.errors import OutputError
from cai.tokens.batches import Arrays, TokenDataset
from cai.trainer import bottleneck
from cai.trainer.bottleneck import KINDS, Kind, Operation, Profiled, bounds, describe, kind_of, options_for, short
from cai.trainer.profiling import ACTIVE, WAIT, WARMUP, activities_of, read_events
from cai.trainer.trainer import Trainer
from tests.trainer.making import computed, make_trainer, reached

ON = "trainer.profile=true"
BUSY = ("model.dropout=0.1", "trainer.log_every=1", "trainer.eval_every=3", "trainer.max_steps=12", "trainer.save_every=12")


class SlowDataset(TokenDataset):
    """Takes long to read."""

    def batch(self, step: int, batch_size: int) -> Arrays:
        time.sleep(0.1)
        return super().batch(step, batch_size)


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs, the second one profiled; evaluations lie within the steps that are watched."""
    folders = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("profiled")
    for folder, options in zip(folders, ([], [ON]), strict=True):
        make_trainer(folder, *BUSY, *options, dataset_class=SlowDataset).fit()
    return folders


def test_no_number_differs(profiled: tuple[Path, Path]) -> None:
    plain, watched = profiled
    assert computed(plain) == computed(watched)
    assert len(computed(plain)) == 13
    for name in ("last", "best"):
        saved = f"checkpoints/{name}.safetensors"
        assert reached(plain / saved)["model"] == reached(watched / saved)["model"]
    assert not (plain / "profile").exists()


def test_the_trace_has_the_steps_their_parts_and_their_operations(profiled: tuple[Path, Path]) -> None:
    trace = json.loads((profiled[1] / "profile/trace.json").read_text(encoding="utf-8"))
    names = [event.get("name") for event in trace["traceEvents"]]
    assert names.count("step") == ACTIVE
    assert names.count("batch") == ACTIVE
    assert {"forward", "backward", "Optimizer.step#AdamW.step", "aten::embedding"} <= set(names)
    assert [path.name for path in (profiled[1] / "profile").iterdir() if path.name.startswith(".")] == []


def test_the_table_has_parts_operations_and_what_bounds_the_speed(profiled: tuple[Path, Path]) -> None:
    text = (profiled[1] / "profile/table.txt").read_text(encoding="utf-8")
    assert text.startswith(f"profile of {ACTIVE} steps (")
    assert "opens in https://ui.perfetto.dev" in text
    assert "batch " in text
    assert "optimizer " in text
    assert "reading its batch takes " in text  # first or, on a busy machine, second
    assert "What helps: output_dir=... on a local disk" in text


@pytest.mark.parametrize(("steps", "active"), [(1, 0), (2, 1), (3, 2), (WAIT + WARMUP + ACTIVE + 3, ACTIVE)])
def test_a_short_run_is_profiled_as_far_as_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, steps: int, active: int
) -> None:
    make_trainer(tmp_path, ON, f"trainer.max_steps={steps}").fit()
    table = tmp_path / "profile/table.txt"
    if active:
        assert table.read_text(encoding="utf-8").startswith(f"profile of {active} steps")
    else:
        assert not table.exists()
        assert any("nothing is profiled" in record.message for record in caplog.records)


def test_a_run_that_is_stopped_within_leaves_no_profiler_behind(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, ON)
    original = trainer.updater.update

    def update(step: int) -> Any:
        if step == WAIT + WARMUP:
            interruption.request(15)
        return original(step)

    trainer.updater.update = update  # type: ignore[method-assign]
    try:
        with pytest.raises(interruption.Interrupted):
            trainer.fit()
    finally:
        interruption.reset()
    assert not _profiler_enabled()
    assert not (tmp_path / "profile").exists()
    make_trainer(tmp_path / "next", ON, "trainer.max_steps=3").fit()  # a second profiler can only be started by itself
    assert (tmp_path / "next/profile/trace.json").is_file()


def test_a_trace_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("in the way")
    with pytest.raises(OutputError, match=r"profile.* could not be written"):
        make_trainer(tmp_path, ON, "trainer.max_steps=3").fit()


def event(name: str, start: float, end: float, own: float, device: DeviceType = DeviceType.CPU, **more: Any) -> Any:
    """As much of PyTorch's ``FunctionEvent`` as is looked at; microseconds."""
    span = SimpleNamespace(start=start, end=end)
    return SimpleNamespace(name=name, time_range=span, self_cpu_time_total=own, device_type=device, kernels=[], **more)


def test_only_what_lies_within_a_step_counts() -> None:
    events = [
        event("step", 0, 1000, 100),
        event("batch", 10, 210, 150),
        event("aten::index", 20, 70, 50),
        event("forward", 300, 600, 50),
        event("aten::mm", 310, 560, 250),
        event("Optimizer.step#AdamW.step", 700, 900, 200),
        event("aten::mm", 2000, 9000, 7000),  # of an evaluation
    ]
    found = read_events(events, 1, 1e-3, 9e-4)
    assert found.phases == pytest.approx({"batch": 2e-4, "forward": 3e-4, "optimizer": 2e-4})
    assert {(one.name, one.of_batch): one.seconds for one in found.queue}["aten::mm", False] == pytest.approx(2.5e-4)
    shares = {"data": 0.2, "overhead": 0.35, "products": 0.25, "attention": 0, "elements": 0}
    assert found.shares() == pytest.approx(shares)


def test_of_a_gpu_its_kernels_count_and_what_it_waits_for() -> None:
    kernels = [
        ("void cutlass::Kernel2<x>(Params)", 300),
        ("flash_fwd_kernel<x>", 100),
        ("vectorized_elementwise_kernel", 50),
    ]
    launch = event("aten::mm", 310, 560, 250)
    launch.kernels = [SimpleNamespace(name=name, duration=duration) for name, duration in kernels]
    events = [event("step", 0, 900, 100), event("batch", 10, 210, 150), launch]
    events.append(event("void cutlass::Kernel2<x>(Params)", 320, 620, 0, DeviceType.CUDA))
    found = read_events(events, 1, 1e-3, 1e-3)
    shares = {"data": 0.2, "overhead": 0.35, "products": 0.3, "attention": 0.1, "elements": 0.05}
    assert found.shares() == pytest.approx(shares)
    assert "cutlass::Kernel2 " in describe(found, Path("t"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::mm", "products"),
        ("aten::addmm", "products"),
        ("aten::baddbmm", "products"),
        ("aten::bmm", "products"),
        ("mkldnn::_linear_pointwise", "products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "attention"),
        ("aten::mul", "elements"),
        ("aten::copy_", "elements"),
        ("aten::_softmax", "elements"),
        ("_ShiftBackward", "overhead"),
        ("autograd::engine::evaluate_function: MmBackward0", "overhead"),
        ("Optimizer.step#Muon.step", "overhead"),
        ("step", "overhead"),
    ],
)
def test_operations_are_told_apart_by_name_and_size(name: str, kind: Kind) -> None:
    assert kind_of(Operation(name, 1e-3, 2, of_batch=False)) == kind
    assert kind_of(Operation(name, 1e-5, 2, of_batch=False)) == "overhead"
    assert kind_of(Operation(name, 1e-3, 2, of_batch=True)) == "data"


def made(**shares: float) -> Profiled:
    """A step of 10 ms with these shares."""
    names = {"data": "x", "overhead": "step", "products": "aten::mm", "attention": "aten::flash", "elements": "aten::mul"}
    queue = [Operation(names[kind], share / 100, 1, kind == "data") for kind, share in shares.items()]
    return Profiled(3, 0.01, 0.009, {"forward": 0.005}, queue, [])


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    return make_trainer(tmp_path_factory.mktemp("one"))


def test_what_takes_most_is_told_and_whatever_takes_much(trainer: Trainer) -> None:
    for kind in KINDS:
        (said,) = bounds(made(**{kind: 0.8}), trainer)
        assert "80%" in said
        assert "What helps: " in said
    both = bounds(made(attention=0.35, elements=0.4, products=0.1), trainer)
    assert ["40%" in both[0], "35%" in both[1], len(both)] == [True, True, 2]


def test_an_mps_device_either_waits_or_is_waited_for(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "device", SimpleNamespace(type="mps", precision="fp32", compile=False))
    short_queue, long_queue = made(overhead=0.4), made(overhead=0.9)._replace(phases={"forward": 0.009})
    assert "matrix products" in bounds(short_queue, trainer)[0]
    assert "90% of a step is no computing" in bounds(long_queue, trainer)[0]


def test_what_is_set_already_is_not_advised(trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bottleneck, "multiplies_bf16", lambda _: True)
    monkeypatch.setattr(bottleneck, "physical_cores", lambda: 1)
    plain = list(options_for("products", trainer))
    assert plain == ["device.precision=bf16", "a smaller model (model.n_layer, model.n_embd)"]
    costly = ("trainer.gradient_checkpointing=true", "trainer.chunked_loss=true", "trainer.micro_batch_size=2")
    other = make_trainer(tmp_path, *costly, "model.dropout=0.1")
    said = "; ".join(options_for("elements", other))
    for option in ("gradient_checkpointing=false", "chunked_loss=auto", "micro_batch_size=auto", "model.dropout=0"):
        assert option in said
    assert "trainer.micro_batch_size=4" in list(options_for("overhead", other))
    assert not any("micro_batch" in option for option in options_for("overhead", trainer))
    monkeypatch.setattr(bottleneck, "physical_cores", lambda: 64)
    assert any("device.threads=0" in option for option in options_for("attention", trainer))
    cuda = SimpleNamespace(type="cuda", precision="bf16", compile=False)
    monkeypatch.setattr(trainer, "device", cuda)
    assert next(iter(options_for("overhead", trainer))) == "device.compile=true"
    cuda.compile = True
    assert "device.compile=true" not in list(options_for("overhead", trainer))


def test_the_speed_is_compared_with_a_large_product(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = SimpleNamespace(flops={"fp32": 5e10})
    monkeypatch.setattr("cai.diagnosis.machine.measure", lambda device: measured)
    monkeypatch.setattr(trainer.meter, "flops_per_token", 9e6)
    (said,) = bounds(made(products=0.8), trainer)  # 4 x 16 tokens in 9 ms
    assert "The whole step computes 64 GFLOP/s; a product of large matrices 50 in fp32." in said


def test_names_are_shortened() -> None:
    assert short("aten::_scaled_dot_product") == "scaled_dot_product"
    assert short("void at::native::vectorized_elementwise_kernel<4, x>(int)") == "at::native::vectorized_elementwise_kernel"
    assert len(short("a" * 100)) == 48


def test_a_gpu_is_watched_where_there_is_one() -> None:
    assert activities_of("cuda") == [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    assert activities_of("mps") == activities_of("cpu") == [ProfilerActivity.CPU]
