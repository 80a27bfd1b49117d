"""Whole models, a small one of each family: do they look ahead, is what they compute right, at once or with a cache."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cai.device import Device
from cai.diagnosis.numerics_rounding import Errors, after, exact, unchanged
from cai.model.decoder import Decoder
from cai.model.gpt2 import GPT2Config
from cai.model.layers import SHORT
from cai.model.llama import LlamaConfig
from cai.model.modern import ModernConfig
from cai.model.qwen3 import Qwen3Config

VOCAB_SIZE = 97
LENGTHS = (70, SHORT + 5)
"""Tokens of a pass: attention is spelled out on a CPU, and is not."""
CAPACITY = SHORT + 8
_ANY: dict[str, Any] = {"block_size": CAPACITY, "n_layer": 2, "dropout": 0.0, "tie_weights": True}
_LLAMA = _ANY | {"n_head": 4, "n_kv_head": 2, "n_embd": 48, "head_dim": 64, "intermediate_size": 80}
_LLAMA |= {"rope_base": 1e4, "norm_eps": 1e-5}
FAMILIES = {
    "gpt2": GPT2Config(**_ANY, n_head=2, n_embd=128, bias=True),
    "llama": LlamaConfig(**_LLAMA),
    "qwen3": Qwen3Config(**_LLAMA, previous_token_heads=3),
    "modern": ModernConfig(
        **_ANY,
        n_head=1,
        n_embd=64,
        activation="relu2",
        qk_norm=True,
        zero_init=True,
        token_shift=3,
        block_shift=3,
        shift_init=0.5,
        value_embeddings=True,
        logit_softcap=15.0,
        rope_base=1e4,
    ),
}
"""Heads of 64, as most have; every idea of a family in use."""

ROUNDINGS = 40
"""From ids to logits, one behind the other: 16 in each block, 8 around them."""
TERMS = 1024
"""Of the sums on the way, one behind the other: eight of some 128."""


def exact_model(family: str) -> Decoder:
    """In float64 on the CPU, its weights random numbers of float32, none of them 0."""
    model = FAMILIES[family].build(VOCAB_SIZE)
    assert isinstance(model, Decoder)
    source = torch.Generator().manual_seed(len(family))
    with torch.no_grad():
        for p in model.parameters():
            random = torch.randn(p.shape, generator=source)
            p.copy_(random * p.shape[-1] ** -0.5 if p.ndim > 1 else p + random / 4)
    return model.double()


def on_device(model: Decoder, device: Device) -> Decoder:
    """A copy, as it is trained; its type first, as MPS has no float64."""
    return copy.deepcopy(model).to(device.parameter_dtype).to(device.torch_device)


def random_ids(*shape: int) -> Tensor:
    return torch.randint(VOCAB_SIZE, shape, generator=torch.Generator().manual_seed(5))


def causal(family: str, device: Device, lengths: Sequence[int] = LENGTHS) -> str:
    """Logits, with gradients and without, and what changes with a later token. Raises ``Wrong``."""
    errors, reference = Errors(), exact_model(family)
    model = on_device(reference, device)
    for length in lengths:
        places = torch.tensor([length, 1, length // 2, length - 1])  # none in the first row
        rows = random_ids(1, length).repeat(len(places), 1)  # (B, T)
        others = rows.clone()
        others[range(1, len(places)), places[1:]] = (rows[range(1, len(places)), places[1:]] + 1) % VOCAB_SIZE
        with torch.no_grad():
            expected = reference(rows[:1])
        for training in (False, True):
            where = f"{length} tokens{', with gradients' if training else ''}"
            model.train(training)
            with torch.set_grad_enabled(training), device.autocast():
                first, again, other = (model(ids.to(device.torch_device)) for ids in (rows, rows, others))
            unchanged(first, again, other, places, where)
            errors.add(first[:1], expected, after(ROUNDINGS, TERMS, _type(device, first)), where)
    return f"no token changes with a later one; {errors}"


def cached(family: str, device: Device) -> str:
    """Rows read with a cache, many tokens at once, few, or one, each row at its own place. Raises ``Wrong``."""
    errors, reference = Errors(), exact_model(family)
    model, ids = on_device(reference, device).eval(), random_ids(3, CAPACITY)
    with torch.inference_mode():
        expected, whole = reference(ids), exact(model(ids.to(device.torch_device)))
        found = _read(model, ids.to(device.torch_device))
    allowed = after(ROUNDINGS, TERMS, device.parameter_dtype)
    errors.add(whole, expected, allowed, "the full pass")
    for (row, start, end), logits in found:
        for right, times, name in ((expected, 1, "float64"), (whole, 2, "the full pass")):
            where = f"tokens {start} to {end - 1} of row {row}, against {name}"
            errors.add(logits, right[row, start:end], times * allowed, where)
    return f"{sum(end - start for (_, start, end), _ in found)} tokens; {errors}"


def _read(model: Decoder, ids: Tensor) -> list[tuple[tuple[int, int, int], Tensor]]:
    """Of each piece of a row, its logits ``(n, V)``: prompts, single tokens, drafts of three, single ones to the end."""
    cache, found = model.new_cache(len(ids)), []
    prompts = [SHORT, 9, 38]
    for takes in (prompts, *[[1, 1, 1]] * 3, *[[3, 2, 1]], *[[1, 1, 1]] * 2):
        width, starts = max(takes), list(cache.lengths)
        rows = [row[start : start + width] for row, start in zip(ids, starts, strict=True)]
        places = torch.arange(width, device=ids.device).expand(len(ids), -1)
        logits = model.read(torch.stack(rows), cache, places)
        cache.lengths = [start + take for start, take in zip(starts, takes, strict=True)]
        for row, (start, take) in enumerate(zip(starts, takes, strict=True)):
            found.append(((row, start, start + take), logits[row, :take]))
    return found


def _type(device: Device, logits: Tensor) -> torch.dtype:
    """In which a pass was computed: that of autocast, whatever the logits became behind it."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(device.precision, logits.dtype)
