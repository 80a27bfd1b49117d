"""Rows of the table: the machine, its memory and its speed."""

from __future__ import annotations

from typing import Final

from cai.symptoms.symptom import Symptom

OF_MACHINE: Final[dict[str, Symptom]] = {
    # -- the machine, before anything is trained (cai doctor)
    "torch_without_cuda": Symptom(
        "an NVIDIA driver ({driver}) is there, but this PyTorch ({version}) is built without CUDA.",
        "Install a build for CUDA, as https://pytorch.org/get-started/locally says.",
        "Training is too slow",
    ),
    "cuda_hidden": Symptom(
        "an NVIDIA driver ({driver}) is there, but CUDA_VISIBLE_DEVICES={value!r} hides its devices.",
        "Unset that variable.",
        "Training is too slow",
    ),
    "cuda_unusable": Symptom(
        "an NVIDIA driver ({driver}) is there, and PyTorch is built for {built}, but can use no device.",
        "Compare with the newest CUDA that `nvidia-smi` shows: install a newer driver, or a PyTorch for an older CUDA"
        " (https://pytorch.org/get-started/previous-versions).",
        "Training is too slow",
    ),
    "mps_stops": Symptom(
        "PYTORCH_ENABLE_MPS_FALLBACK is {value!r}: an operator that MPS lacks will end a run.",
        "Leave it unset (CAI sets it to 1), or export PYTORCH_ENABLE_MPS_FALLBACK=1: such operators then run on the CPU.",
        "MPS lacks an operator",
    ),
    "many_threads": Symptom(
        "{threads} threads ({why}) share the time of {cores} cores and get in each other's way.",
        "Try device.threads={cores}.",
        "Training is too slow",
    ),
    "busy": Symptom(
        "other programs are at work here: {load:.1f} want one of {cpus} CPUs. What was measured is less than the machine can"
        " do.",
        "Ask again when they have ended.",
        "Training is too slow",
    ),
    "waiting": Symptom(
        "the {device} reaches {share:.0%} of its speed in matrix products: it mostly waits for small operations.",
        "Try device.compile=true, a larger trainer.micro_batch_size or a larger trainer.batch_size.",
        "Training is too slow",
    ),
    "long_run": Symptom(
        "this run takes about {time} on the {device}.",
        "Try a smaller model (model=..._nano), fewer trainer.max_steps, or a faster device.",
        "Training is too slow",
    ),
    "little_memory": Symptom(
        "training takes about {needed} of memory, nearly all of the {free} that are free.",
        "{remedy}",
        "The computer's memory runs out",
    ),
    "little_disk": Symptom(
        "{free} are free on the disk of {folder}, and the checkpoints of this config take about {needed}.",
        "Free some space, or set output_dir=... to a place on another disk.",
        "The disk is full",
    ),
    # -- the machine
    "device_missing": Symptom(
        "`device.type` must be a device of this machine ({there}), but is {asked}.",
        "Try device=auto.",
        "Training is too slow",
    ),
    "mps_operator": Symptom(
        "the operator {operator} is not there for MPS, and PYTORCH_ENABLE_MPS_FALLBACK is {fallback}.",
        "Leave that variable unset (CAI sets it to 1), or export PYTORCH_ENABLE_MPS_FALLBACK=1: such operators then run on"
        " the CPU. Or take device=cpu.",
        "MPS lacks an operator",
    ),
    "mps_memory": Symptom("the device must have memory for {what}, but has not: {reason}", "{remedy}", "MPS out of memory"),
    "cuda_memory": Symptom(
        "the device must have memory for {what}, but has not: {reason}", "{remedy}", "CUDA out of memory"
    ),
    "host_memory": Symptom(
        "the computer must have memory for {what}, but has not: {reason}", "{remedy}", "The computer's memory runs out"
    ),
    "disk_full": Symptom(
        "{where} could not be written: no space left on the disk.",
        "Free some space or set output_dir=...",
        "The disk is full",
    ),
    "cpu_beside_gpu": Symptom(
        "device.type=cpu was asked for, though this machine has {there}.", "Try device=auto.", "Training is too slow"
    ),
    "emulated": Symptom(
        "{precision} is emulated on this {device}, and many times slower than fp32.",
        "Try device.precision=auto.",
        "Training is too slow",
    ),
    "few_threads": Symptom(
        "{threads} of {cores} cores are used.",
        "Try device.threads=0, and leave OMP_NUM_THREADS unset.",
        "Training is too slow",
    ),
    "slow_data": Symptom(
        "reading a batch takes {share:.0%} of the time of a step.",
        "Put output_dir=... on a faster disk; trainer.profile=true tells more.",
        "Training is too slow",
    ),
    "slowed": Symptom(
        "step {step}: {now:,.0f} tokens/s, where there were {before:,.0f}: the machine is busy with something else, hot, or"
        " out of memory.",
        "Look at what else runs; trainer.profile=true tells what bounds the speed.",
        "Training is too slow",
    ),
    # -- what bounds the speed (trainer.profile)
    "bound_by_data": Symptom(
        "reading its batch takes {share:.0%} of a step, and nothing computes meanwhile.",
        "What helps: {options}.",
        "Training is too slow",
    ),
    "bound_by_overhead": Symptom(
        "{share:.0%} of a step is no computing, but Python and the start of {calls:,.0f} operations, most of them short.",
        "What helps: {options}.",
        "Training is too slow",
    ),
    "bound_by_products": Symptom(
        "matrix products take {share:.0%} of a step: computing itself is the limit.{speed}",
        "What helps: {options}.",
        "Training is too slow",
    ),
    "bound_by_attention": Symptom(
        "attention takes {share:.0%} of a step.", "What helps: {options}.", "Training is too slow"
    ),
    "bound_by_elements": Symptom(
        "operations that go through memory once, element by element, take {share:.0%} of a step: the memory's speed is the"
        " limit.",
        "What helps: {options}.",
        "Training is too slow",
    ),
}
"""By name."""
