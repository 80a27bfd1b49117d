"""What a run is about to do, in figures, before it does it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cai.config.roots import TrainConfig
from cai.model.base import ModelConfig
from cai.model.decoder import Decoder
from cai.schedule.base import ScheduleConfig
from cai.tokens.shards import Shards
from cai.trainer.trainer import Trainer


def count_parameters(model: nn.Module) -> dict[str, int]:
    """All parameters, and those outside embeddings and a separate head (what computes)."""
    total = sum(p.numel() for p in model.parameters())
    embeddings = sum(p.numel() for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters())
    head = getattr(model, "lm_head", None)
    computing = total - embeddings - (head.weight.numel() if isinstance(head, nn.Linear) else 0)
    return {"total": total, "without_embeddings": computing}


def flops_per_token(model: nn.Module, config: ModelConfig) -> float:
    """Of forward and backward: 6 for each parameter that multiplies, 12 for each pair in attention (arXiv:2204.02311)."""
    computing = count_parameters(model)["without_embeddings"]
    head = model.head_weight().numel() if isinstance(model, Decoder) else 0
    width = getattr(config, "n_head", 0) * getattr(config, "head_dim", 0) or getattr(config, "n_embd", 0)
    return 6.0 * (computing + head) + 12.0 * getattr(config, "n_layer", 0) * width * config.block_size


def describe_plan(config: TrainConfig, trainer: Trainer, *, note: str, seconds: float) -> str:
    """The plan as aligned lines, warnings last. ``note`` is the data's, ``seconds`` the expected duration."""
    shards, device = trainer.dataset.shards, trainer.device
    parameters = count_parameters(trainer.model)
    train, val = shards.train, shards.val
    tokens_per_step = config.trainer.batch_size * config.model.block_size
    epochs = trainer.max_steps * config.trainer.batch_size / trainer.dataset.n_windows
    rows = [
        ("documents", f"{train.documents:,} train + {val.documents:,} val ({(train.bytes + val.bytes) / 1e6:.1f} MB)"),
        (
            "tokens",
            f"{train.tokens:,} train + {val.tokens:,} val, vocabulary {shards.vocab_size:,},"
            f" {train.bytes / train.tokens:.2f} bytes per token",
        ),
        (
            "parameters",
            f"{parameters['total']:,} ({parameters['without_embeddings']:,} without embeddings),"
            f" {train.tokens / parameters['total']:.1f} train tokens for each",
        ),
        (
            "steps",
            f"{trainer.max_steps:,} of {tokens_per_step:,} tokens"
            f" ({config.trainer.batch_size} x {config.model.block_size}) = {epochs:.2f} epochs",
        ),
        ("device", f"{device.type}, {device.precision} ({device.reason})"),
        ("time", f"about {format_duration(seconds)} (measured on two trial passes)"),
    ]
    if device.type == "cuda" and not device.peak_flops:
        gpu = torch.cuda.get_device_name()
        rows.append(("mfu", f"not logged, as the peak speed of {gpu} in {device.precision} is not known to CAI"))
    lines = [f"  {name:<11}{value}" for name, value in rows]
    lines += [_wrapped("note", note)] * bool(note)
    return "\n".join([*lines, *(_wrapped("warning", text) for text in _warnings(config, shards, trainer))])


def describe_resumption(trainer: Trainer, state: Mapping[str, Any], schedule: ScheduleConfig) -> str:
    """From where a run goes on, given a checkpoint's ``state``; and, if it is longer now, how its learning rate does."""
    step, before = state["step"], state["max_steps"]
    lines = [f"  {'resumes':<11}at step {step:,} of {trainer.max_steps:,}"]
    if before != trainer.max_steps:
        old, new = schedule.build(before)(min(step, before - 1)), schedule.build(trainer.max_steps)(step)
        text = (
            f"computed anew from here on, for {trainer.max_steps:,} steps instead of {before:,}: the learning rate was"
            f" {old:.3g} of its peak and goes on at {new:.3g}. The run is not what one of {trainer.max_steps:,} steps from"
            " the start would have been."
        )
        lines.append(_wrapped("schedule", text))
    return "\n".join(lines)


def _wrapped(name: str, text: str) -> str:
    width = 110 if text.isascii() else 70  # a Hangul syllable takes two columns
    return textwrap.fill(text, width=width, initial_indent=f"  {name:<11}", subsequent_indent=" " * 13)


def _warnings(config: TrainConfig, shards: Shards, trainer: Trainer) -> list[str]:
    """What is allowed but probably not meant."""
    found = []
    if config.schedule.warmup_steps >= trainer.max_steps:
        found.append(
            f"schedule.warmup_steps ({config.schedule.warmup_steps}) is not below the number of steps"
            f" ({trainer.max_steps}): the learning rate never gets past its warmup."
            f" Try schedule.warmup_steps={trainer.max_steps // 10}."
        )
    if shards.val.unknown:
        share = shards.val.unknown / shards.val.tokens
        found.append(f"{share:.2%} of the validation text is outside the alphabet of the train text and became <unk>.")
    return found


def format_duration(seconds: float) -> str:
    """``48 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
