"""What a run is about to do, in figures, before it does it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from cai.columns import duration
from cai.config.roots import TrainConfig
from cai.data.forms import one_sided
from cai.data.report import describe_report
from cai.model.base import ModelConfig
from cai.model.decoder import Decoder
from cai.schedule.base import ScheduleConfig
from cai.symptoms.speed import slow_signs
from cai.symptoms.table import Told, tell
from cai.symptoms.training import large_model, unusual_epochs
from cai.tokenizer.report import TokenizerReport
from cai.tokens.batches import TokenDataset
from cai.tokens.shards import DROPPED, Shards
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


def describe_plan(config: TrainConfig, trainer: Trainer, gate: TokenizerReport, *, note: str, seconds: float) -> str:
    """The plan as aligned lines, warnings last. ``note`` is the data's, ``seconds`` the expected duration."""
    shards, device = trainer.dataset.shards, trainer.device
    parameters = count_parameters(trainer.model)
    train = shards.train
    tokens_per_step = config.trainer.batch_size * config.model.block_size
    epochs = trainer.max_steps * config.trainer.batch_size / trainer.dataset.n_windows
    again = config.trainer.overfit_batches
    read = f", the first {again} again and again (trainer.overfit_batches)" if again else f" = {epochs:.2f} epochs"
    rows = [
        *data_rows(shards),
        ("tokenizer", gate.summary()),
        *rows_of(trainer.dataset),
        (
            "parameters",
            f"{parameters['total']:,} ({parameters['without_embeddings']:,} without embeddings),"
            f" {train.tokens / parameters['total']:.1f} train tokens for each",
        ),
        (
            "steps",
            f"{trainer.max_steps:,} of {tokens_per_step:,} tokens"
            f" ({config.trainer.batch_size} x {config.model.block_size}){read}",
        ),
        ("device", f"{device.type}, {device.precision} ({device.reason})"),
        ("time", f"about {duration(seconds)} (measured on two trial passes)"),
    ]
    if device.type == "cuda" and not device.peak_flops:
        gpu = torch.cuda.get_device_name()
        rows.append(("mfu", f"not logged, as the peak speed of {gpu} in {device.precision} is not known to CAI"))
    advice = [] if again else of_text(train.tokens, parameters["without_embeddings"], epochs)
    advice += slow_signs(trainer, seconds)
    rows += [("advice", told.sentence) for told in advice]
    lines = described(rows)
    lines += [wrapped("note", note)] * bool(note)
    warnings = [*gate.symptoms(), *one_sided(shards.report), *_warnings(config, shards, trainer)]
    return "\n".join([*lines, *(wrapped("warning", told.sentence) for told in warnings)])


def of_text(tokens: int, parameters: int, epochs: float) -> list[Told]:
    """Whether there is little text for so many ``parameters``, and whether it is read more or less often than is usual."""
    return [*unusual_epochs(tokens, epochs), *large_model(tokens, parameters)]


def described(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Names and values in two columns; sentences folded."""
    return [wrapped(name, value) if len(value) > 97 and "/" not in value else f"  {name:<11}{value}" for name, value in rows]


def data_rows(shards: Shards) -> list[tuple[str, str]]:
    """What was read, left out and made of it: names and values."""
    train, val, report = shards.train, shards.val, shards.report
    rows = []
    if report.get("dropped") or report.get("changed"):
        rows.append(("text", describe_report(report)))
    if report.get("dropped"):
        rows.append(("", f"what was left out is listed in {shards.dropped or shards.folder / DROPPED}"))
    rows.append(
        ("documents", f"{train.documents:,} train + {val.documents:,} val ({(train.bytes + val.bytes) / 1e6:.1f} MB)")
    )
    rows.append(
        (
            "tokens",
            f"{train.tokens:,} train + {val.tokens:,} val, vocabulary {shards.vocab_size:,},"
            f" {train.bytes / train.tokens:.2f} bytes per token",
        )
    )
    return rows


def rows_of(dataset: TokenDataset) -> list[tuple[str, str]]:
    """How rows are packed and what of them counts, where that is not all."""
    said = []
    if dataset.packing == "documents":
        apart = ", each apart" if dataset.isolate else ""
        said.append(f"{dataset.n_windows:,} rows of whole documents{apart}, {dataset.fill:.1%} full")
    if dataset.loss == "answer":
        train = dataset.shards.train
        said.append(f"{train.answer_tokens / train.tokens:.0%} of the tokens count (answers)")
    return [("rows", "; ".join(said))] * bool(said)


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
        lines.append(wrapped("schedule", text))
    return "\n".join(lines)


def wrapped(name: str, text: str) -> str:
    """A line of the plan, its text folded."""
    width = 110 if text.isascii() else 70  # a Hangul syllable takes two columns
    return textwrap.fill(text, width=width, initial_indent=f"  {name:<11}", subsequent_indent=" " * 13)


def _warnings(config: TrainConfig, shards: Shards, trainer: Trainer) -> Iterator[Told]:
    """What is allowed but probably not meant."""
    warmup, steps = config.schedule.warmup_steps, trainer.max_steps
    if warmup >= steps:
        yield tell("never_warm", warmup=warmup, steps=steps, less=steps // 10)
    if shards.val.unknown:
        yield tell("unknown_in_val", share=shards.val.unknown / shards.val.tokens)
