"""What bounds the speed of a step: the time of its operations by their kind, and the options that help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import torch

from cai import randomness
from cai.columns import cut, pad
from cai.hardware import multiplies_bf16, physical_cores
from cai.symptoms.table import tell

if TYPE_CHECKING:
    from cai.trainer.trainer import Trainer

Kind = Literal["data", "overhead", "products", "attention", "elements"]

KINDS: Final[dict[Kind, str]] = {
    "data": "reading the batch",
    "overhead": "Python, small operations",
    "products": "matrix product",
    "attention": "attention",
    "elements": "memory",
}
"""What takes time, and how an operation of it is called: ``elements`` go through memory once for little computing."""

ATTENTION = re.compile(r"scaled_dot_product|flash|fmha|efficient_attention")
PRODUCT = re.compile(r"::(add|b|baddb)?mm\b|::linear|mkldnn.*linear|gemm|cutlass|cublas|xmma|matmul|_mm_|::mv\b")
OPERATOR = re.compile(r"^(?!autograd|profiler|cuda)\w+::")
"""What computes: ``aten::mul``. Spans, functions of autograd and of Python have names without a namespace of operators."""
SMALL = 10e-6
"""Seconds below which an operation on a CPU is mostly its own start."""
NOTABLE = 0.3
"""Share of a step from which on what takes it is told even where something else takes more."""
SHOWN = 12
"""Operations in the table."""


class Operation(NamedTuple):
    """What was called under one name, in the mean step."""

    name: str
    seconds: float
    """Of its own, without what it calls."""
    calls: float
    of_batch: bool
    """Whether it was called while the batch was read."""


class Profiled(NamedTuple):
    """What was seen of some steps."""

    steps: int
    seconds: float
    """Of a step, while it was watched."""
    plain: float
    """Of a step that was not."""
    phases: dict[str, float]
    """Seconds of the spans in a step; on an accelerator: until all was queued."""
    queue: list[Operation]
    """What the CPU does."""
    device: list[Operation]
    """Kernels of an accelerator; none where it is not watched, or there is none."""

    def shares(self) -> dict[Kind, float]:
        """Of a step, by kind: how much each takes. Together at most 1, but for rounding."""
        shares: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
        for operation in self.device or self.queue:
            shares[kind_of(operation, is_kernel=bool(self.device))] += operation.seconds / self.seconds
        if self.device:  # what it waits for: the batch, and the CPU that queues its work
            idle = max(0.0, 1 - sum(shares.values()))
            shares["data"] = min(idle, self.phases.get("batch", 0.0) / self.seconds)
            shares["overhead"] = idle - shares["data"]
        return shares


def kind_of(operation: Operation, *, is_kernel: bool = False) -> Kind:
    """By its name, and whether it was long enough to be worth its start."""
    name = operation.name
    if operation.of_batch:
        return "data"
    if not is_kernel and (not OPERATOR.search(name) or operation.seconds < SMALL * operation.calls):
        return "overhead"
    if ATTENTION.search(name):
        return "attention"
    return "products" if PRODUCT.search(name) else "elements"


def describe(profiled: Profiled, trace: Path) -> str:
    """The table of the most expensive operations, and of the phases of a step on a CPU."""
    took = f"{1e3 * profiled.seconds:,.1f} ms a step, {1e3 * profiled.plain:,.1f} ms without the profiler"
    lines = [f"profile of {profiled.steps} steps ({took})", f"  the trace: {trace} (opens in https://ui.perfetto.dev)"]
    if not profiled.device:
        rest = profiled.seconds - sum(profiled.phases.values())
        phases = {**profiled.phases, "the rest": max(0.0, rest)}
        lines.append("  " + ", ".join(f"{name} {seconds / profiled.seconds:.0%}" for name, seconds in phases.items()))
    rows = [("operation", "calls", "ms", "share", "")]
    operations = profiled.device or profiled.queue
    for one in sorted(operations, key=lambda one: -one.seconds)[:SHOWN]:
        kind = KINDS[kind_of(one, is_kernel=bool(profiled.device))]
        share = f"{one.seconds / profiled.seconds:.1%}"
        rows.append((short(one.name), f"{one.calls:,.0f}", f"{1e3 * one.seconds:,.2f}", share, kind))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        cells = (pad(text, widths[place], right=0 < place < 4) for place, text in enumerate(row))
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def short(name: str) -> str:
    """Of an operator without its namespace, of a kernel without types and arguments."""
    name = name.removeprefix("void ").removeprefix("aten::").removeprefix("autograd::engine::evaluate_function: ")
    return cut(name.partition("<")[0].partition("(")[0].lstrip("_"), 48)


def bounds(profiled: Profiled, trainer: Trainer) -> list[str]:
    """A sentence on what takes most of a step, and on all that takes much, with the options that help."""
    shares = sorted(profiled.shares().items(), key=lambda pair: -pair[1])
    if trainer.device.type == "mps":  # whose kernels are not seen: either the CPU queues all the time, or it waits for them
        queued = min(1.0, sum(profiled.phases.values()) / profiled.seconds)
        shares = [("overhead", queued)] if queued > 0.8 else [("products", 1 - queued)]
    told = []
    for number, (kind, share) in enumerate(shares):
        if number and share < NOTABLE:
            break
        options = "; ".join(options_for(kind, trainer))
        calls = sum(one.calls for one in profiled.device or profiled.queue)
        speed = speed_of(profiled, trainer) if kind == "products" else ""
        told.append(tell(f"bound_by_{kind}", share=share, calls=calls, speed=speed, options=options).sentence)
    return told


def speed_of(profiled: Profiled, trainer: Trainer) -> str:
    """Operations a second, and what share they are of the device's peak or of what a large product reaches there."""
    flops = trainer.meter.flops_per_token
    if not flops:
        return ""
    reached = flops * trainer.config.batch_size * trainer.dataset.block_size / profiled.plain
    if (peak := trainer.device.peak_flops) is not None:
        return f" The whole step computes {reached / 1e12:.1f} TFLOP/s, {reached / peak:.0%} of this device's peak."
    from cai.diagnosis.machine import measure  # takes a second, and few need it

    with randomness.preserved():
        peak = measure(trainer.device).flops[trainer.device.precision]
    return (
        f" The whole step computes {reached / 1e9:,.0f} GFLOP/s; a product of large matrices {peak / 1e9:,.0f} in"
        f" {trainer.device.precision}."
    )


def options_for(kind: Kind, trainer: Trainer) -> Iterator[str]:
    """What makes it faster, the least cost first; only what is not so already."""
    if kind == "data":
        yield "output_dir=... on a local disk, as the token shards lie in its cache"
        yield "a larger model, which is free then"
        return
    config, device, size = trainer.config, trainer.device, trainer.updater.micro_batch.size
    if device.type == "cuda" and not device.compile:
        yield "device.compile=true"
    if kind == "overhead":
        if size < config.batch_size:
            yield f"trainer.micro_batch_size={config.batch_size}"
        if device.type == "cpu" and torch.get_num_threads() > 1:
            yield "device.threads=1"
        yield "a larger trainer.batch_size, which takes hardly longer"
        yield "fewer and wider layers (model.n_layer, model.n_embd)"
        return
    if device.precision == "fp64":
        yield "device.precision=fp32"
    elif device.precision == "fp32" and multiplies_bf16(device.type):
        yield "device.precision=bf16"
    if device.type == "cpu" and torch.get_num_threads() < (physical_cores() or 1):
        yield "device.threads=0, with OMP_NUM_THREADS unset"
    if config.gradient_checkpointing:
        yield "trainer.gradient_checkpointing=false"
    if config.chunked_loss is True:
        yield "trainer.chunked_loss=auto"
    if config.micro_batch_size != "auto":
        yield "trainer.micro_batch_size=auto"
    if trainer.dataset.fill < 0.9:
        yield f"data.packing=stream, as rows are only {trainer.dataset.fill:.0%} full"
    if kind == "elements" and trainer.built_from.get("dropout"):
        yield "model.dropout=0"
    if kind == "attention":
        yield "a smaller model.block_size, with which attention grows squared"
    else:
        yield "a smaller model (model.n_layer, model.n_embd)"
