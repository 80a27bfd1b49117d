"""What was found out about a machine and a config, as names and sentences for aligned lines."""

from __future__ import annotations

from cai.columns import duration
from cai.config.roots import TrainConfig
from cai.device import Device
from cai.diagnosis.expected import Size, Trial
from cai.diagnosis.machine import Gpu, Machine, Speed
from cai.inspection.memory import Memory
from cai.trainer.estimate import evaluations

Rows = list[tuple[str, str]]

MOSTLY, PARTLY = 0.5, 0.2
"""Shares of the speed of large matrix products from which on they bound a step alone, and together with the rest."""


def size_text(count: float) -> str:
    """Bytes, to be read: ``12 KiB``, ``850 MiB``, ``1.2 GiB``, ``23 GiB``."""
    gib = count / 2**30
    if count < 2**20:
        return f"{count / 2**10:,.0f} KiB"
    return f"{count / 2**20:,.0f} MiB" if gib < 0.95 else f"{gib:,.1f} GiB" if gib < 9.95 else f"{gib:,.0f} GiB"


def rows_of_machine(machine: Machine) -> Rows:
    """What was asked for."""
    versions = machine.versions
    return [
        ("CAI", f"{versions['cai']}, Python {versions['python']}, {machine.system}"),
        (
            "PyTorch",
            f"{versions['torch']}, built for {machine.torch_cuda or 'the CPU'}{' and MPS' * machine.mps_built}; numpy"
            f" {versions['numpy']}, tokenizers {versions['tokenizers']}, hydra {versions['hydra-core']}",
        ),
        ("CPU", f"{machine.cpu}, {_cores(machine)}, {machine.vectors}, bf16 {_bf16(machine.bf16)}"),
        ("threads", f"{machine.threads} ({machine.threads_reason})"),
        ("CUDA", _cuda(machine)),
        ("MPS", _mps(machine)),
        ("memory", _memory(machine)),
        ("disk", f"{size_text(machine.disk)} free where outputs go"),
        ("variables", ", ".join(f"{name}={value}" for name, value in machine.variables.items()) or "none that matter"),
    ]


def rows_of_speed(speed: Speed) -> Rows:
    """What was measured."""
    products = ", ".join(f"{flops_text(flops)} in {precision}" for precision, flops in speed.flops.items())
    return [("measured", f"matrix products {products}; memory {speed.bytes / 1e9:,.0f} GB/s, read and written")]


def flops_text(flops: float) -> str:
    """``48 GFLOP/s``, ``1.2 TFLOP/s``, ``312 TFLOP/s``."""
    tera = flops / 1e12
    return (
        f"{flops / 1e9:,.0f} GFLOP/s" if tera < 0.995 else f"{tera:,.1f} TFLOP/s" if tera < 9.95 else f"{tera:,.0f} TFLOP/s"
    )


def rows_of_size(config: TrainConfig, device: Device, size: Size) -> Rows:
    """What a config takes, before it is tried."""
    steps = (
        f"{size.steps:,}"
        if size.steps is not None
        else f"as many as trainer.max_epochs={config.trainer.max_epochs:g} needs,"
    )
    note = f" ({size.vocab_note})" if size.vocab_note else ""
    return [
        (
            "parameters",
            f"{size.parameters['total']:,} ({size.parameters['without_embeddings']:,} without embeddings), vocabulary"
            f" {size.vocab_size:,}{note}",
        ),
        (
            "steps",
            f"{steps} of {size.tokens_per_step:,} tokens ({config.trainer.batch_size} x {config.model.block_size}),"
            f" {size.micro_batch_size} sequence{'s' * (size.micro_batch_size > 1)} at once",
        ),
        ("device", f"{device.type}, {device.precision} ({device.reason})"),
        ("memory", _memory_of_training(size)),
    ]


def parts_of(memory: Memory) -> str:
    """What takes the memory, the largest first. Activations and what the optimizer steps with are not there at once."""
    passing = "activations" if memory.activations >= memory.update else "update"
    parts = {name: getattr(memory, name) for name in ("weights", "gradients", "optimizer", "average", passing)}
    by_size = sorted(parts.items(), key=lambda part: -part[1])
    return ", ".join(f"{name} {size_text(taken)}" for name, taken in by_size if taken)


def rows_of_trial(config: TrainConfig, device: Device, size: Size, trial: Trial, speed: Speed) -> Rows:
    """What the trial came to."""
    targets = ", half of them targets (data.loss=answer)" if config.data.loss == "answer" else ""
    tried = "steps" if trial.parts * trial.micro_batch_size == config.trainer.batch_size else "parts of steps"
    rows = [
        (
            "speed",
            f"about {size.tokens_per_step / trial.seconds:,.0f} tokens/s, {duration(trial.seconds)} a step ({tried} tried on"
            f" random ids{targets})",
        ),
        ("time", _time(config, size, trial)),
        ("bound by", _bound(device, size, trial, speed)),
    ]
    if device.type == "cuda":
        rows.append(("peak memory", f"{size_text(trial.peak_memory)} (measured in the trial)"))
    return rows


def flops_of(size: Size, trial: Trial) -> float:
    """Floating-point operations a second that a step reaches."""
    return size.flops_per_token * size.tokens_per_step / trial.seconds


def _cores(machine: Machine) -> str:
    cores = f"{machine.cores} physical core{'s' * (machine.cores > 1)} for this process"
    cores += f" ({machine.cpus} logical)" if machine.cpus != machine.cores else ""
    return cores if machine.quota is None else f"{cores}, limited to the time of {machine.quota:g}"


def _bf16(in_hardware: bool) -> str:
    return "in hardware" if in_hardware else "emulated"


def _cuda(machine: Machine) -> str:
    if machine.gpus:
        return "; ".join(map(_gpu, machine.gpus))
    why = "no device that it can use" if machine.torch_cuda else "this PyTorch is built without it"
    return f"none: {why}" + (f" (NVIDIA driver {machine.driver})" if machine.driver else "")


def _gpu(gpu: Gpu) -> str:
    memory = f"{size_text(gpu.free)} free of {size_text(gpu.memory)}"
    return f"{gpu.name}, {memory}, compute capability {gpu.capability}, bf16 {_bf16(gpu.bf16)}"


def _mps(machine: Machine) -> str:
    if not machine.mps_available:
        return "none: not on this Mac or its macOS" if machine.mps_built else "none: this PyTorch is built without it"
    does = "run on the CPU" if falls_back(machine.mps_fallback) else "end a run"
    return f"available; operators that it lacks {does} (PYTORCH_ENABLE_MPS_FALLBACK={machine.mps_fallback or ''})"


def falls_back(value: str | None) -> bool:
    """Whether PyTorch takes this value of PYTORCH_ENABLE_MPS_FALLBACK as a yes."""
    return bool(value) and value != "0"


def _memory(machine: Machine) -> str:
    if machine.memory is None:
        return "this system does not tell"
    text = f"{size_text(machine.memory.free)} free of {size_text(machine.memory.total)}"
    limit = machine.memory_limit
    return text + (f"; {size_text(limit.free)} of the {size_text(limit.total)} of this container" if limit else "")


def _memory_of_training(size: Size) -> str:
    free = "" if size.free is None else f"; {size_text(size.free)} are free"
    return f"about {size_text(size.needed)} beside the program itself (computed: {parts_of(size.memory)}){free}"


def _time(config: TrainConfig, size: Size, trial: Trial) -> str:
    if size.steps is None:
        epoch = duration(1e6 * trial.seconds / size.tokens_per_step)
        return f"about {epoch} for each million tokens of an epoch, evaluations and samples left out"
    passes, limit = evaluations(config.trainer, size.steps), config.trainer.eval_max_tokens
    seconds, left_out = size.steps * trial.seconds, ["preparing the text", "samples"]
    if limit is not None:
        seconds += passes * limit * trial.forward
        of = f", {passes} evaluations of {limit:,} tokens included"
    else:
        of = ""
        left_out.insert(1, f"{passes} evaluations ({duration(1e6 * trial.forward)} for each million validation tokens)")
    left_out += ["answers at the end"] * bool(config.trainer.answers and config.data.asks)
    return f"about {duration(seconds)}{of}; left out: {', '.join(left_out)}"


def _bound(device: Device, size: Size, trial: Trial, speed: Speed) -> str:
    flops = flops_of(size, trial)
    share = flops / speed.flops[device.precision]
    others = "small operations and passes over memory"
    what = f"matrix products, {others}" if share >= PARTLY else others
    if share > 1:
        return f"matrix products: {flops_text(flops)}; something disturbed the measurement of large ones, which were slower"
    if share >= MOSTLY:
        return f"matrix products: {flops_text(flops)}, {share:.0%} of the speed of large ones"
    return f"{what}: {flops_text(flops)}, {share:.0%} of the speed of large matrix products"
