"""Attention that looks ahead, or is off by more than its rounding, is told from one that rounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cai.device import Precision
from cai.diagnosis import numerics_attention as attention
from cai.diagnosis import numerics_models as models
from cai.diagnosis.numerics import self_test
from cai.diagnosis.numerics_rounding import Wrong
from cai.model import gpt2, layers
from tests.diagnosis.devices import device

HALVES: list[Precision] = ["bf16", "fp16"]
sdpa = F.scaled_dot_product_attention


def in_half(q: Tensor) -> bool:
    return q.dtype in (torch.bfloat16, torch.float16)


def masked(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    return sdpa(q, k, v, attn_mask=seen, enable_gqa=q.shape[1] != k.shape[1])


def lower(q: Tensor, k: Tensor, diagonal: int = 0) -> Tensor:
    return torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(k.shape[2] - q.shape[2] + diagonal)


# -- attention that looks ahead


def off_by_one(q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False, **options: Any) -> Tensor:
    return masked(q, k, v, lower(q, k, 1)) if is_causal else sdpa(q, k, v, **options)


def leaking_in_half(q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False, **options: Any) -> Tensor:
    y = sdpa(q, k, v, is_causal=is_causal, **options)
    if not is_causal or not in_half(q):
        return y
    later = v.repeat_interleave(q.shape[1] // v.shape[1], dim=1).roll(-1, dims=2)
    return torch.cat([y[:, :, :-1] + 1e-3 * later[:, :, :-1], y[:, :, -1:]], dim=2)


def in_groups_of_four(q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False, **options: Any) -> Tensor:
    """As PyTorch did on MPS."""
    if not is_causal or not in_half(q) or torch.is_grad_enabled():
        return sdpa(q, k, v, is_causal=is_causal, **options)
    places = torch.arange(q.shape[2])
    return masked(q, k, v, places <= places[:, None] // 4 * 4 + 3)


@pytest.mark.parametrize(
    ("tampered", "caught"), [(off_by_one, ["fp32", "bf16"]), (leaking_in_half, HALVES), (in_groups_of_four, HALVES)]
)
def test_a_kernel_that_looks_ahead_is_caught_in_the_precision_in_which_it_does(
    tampered: Callable[..., Tensor], caught: list[Precision], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(F, "scaled_dot_product_attention", tampered)
    for precision in dict.fromkeys([*caught, "fp32"]):
        there = device(precision)
        looks = [partial(attention.causal, look, there, attention.FEW) for look in (attention.kernel, attention.attend)]
        looks.append(partial(models.causal, "gpt2", there, models.LENGTHS[1:]))
        for look in looks:
            if precision in caught:
                with pytest.raises(Wrong, match=r"token \d+ changes by \S+ with token \d+, which comes after it"):
                    look()
            else:
                look()


def test_attention_spelled_out_with_a_mask_off_by_one_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor, *_: object, **__: object) -> Tensor:
        return masked(q, k, v, lower(q, k, 1))

    monkeypatch.setattr(layers, "attend", attend)
    monkeypatch.setattr(gpt2, "attend", attend)
    for look in (attention.attend, attention.spelled_out, attention.documents_apart):
        with pytest.raises(Wrong, match="comes after it"):
            attention.causal(look, device(), attention.FEW)
    with pytest.raises(Wrong, match="comes after it"):
        models.causal("gpt2", device())
    failed = {check.name for check in self_test(device("bf16"), short=True) if not check.passed}
    assert failed >= {"CAI's attention, bf16", "gpt2, bf16"}
    assert failed.isdisjoint({"PyTorch's attention, bf16", "llama, bf16"})


def test_documents_that_see_each_other_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "isolation", lambda segments: None)
    with pytest.raises(Wrong, match="off by"):
        attention.causal(attention.documents_apart, device(), attention.FEW)


def test_a_gradient_that_goes_from_a_token_to_a_later_one_is_caught() -> None:
    class Leaking(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, v: Tensor) -> Tensor:
            return v.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return gradient + 1e-6 * gradient.roll(1, dims=2)

    def look(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention.kernel(q, k, Leaking.apply(v))  # type: ignore[no-untyped-call]

    with pytest.raises(Wrong, match=r"v of a token has a gradient \(of \S+\) from a token before it"):
        attention.causal(look, device(), attention.FEW)


def test_what_differs_from_pass_to_pass_is_not_taken_for_looking_ahead_and_must_be_within_rounding() -> None:
    source = torch.Generator().manual_seed(0)

    def shaky(size: float, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        y = attention.kernel(q, k, v)
        return y * (1 + size * (torch.rand(y.shape, generator=source).round() * 2 - 1))

    attention.causal(partial(shaky, 2e-7), device(), attention.FEW)
    with pytest.raises(Wrong, match="of which rounding explains"):
        attention.causal(partial(shaky, 1e-3), device(), attention.FEW)


# -- wrong values


@pytest.mark.parametrize(
    "tampered",
    [
        lambda q, k, v: attention.kernel(q * 1.001, k, v),
        lambda q, k, v: attention.kernel(q.bfloat16(), k.bfloat16(), v.bfloat16()).float(),
        lambda q, k, v: attention.kernel(q, k, v).masked_fill(torch.arange(q.shape[2])[:, None] == 5, math.nan),
        lambda q, k, v: attention.kernel(q, k.flip(1), v),
    ],
    ids=["scale", "rounded to bf16", "nan", "heads"],
)
def test_attention_that_is_off_by_more_than_its_rounding_is_caught(tampered: Callable[..., Tensor]) -> None:
    with pytest.raises(Wrong, match=r"off by|not finite"):
        attention.causal(tampered, device(), [attention.Shape(64, 64, 2, 2)])


def test_fp32_may_be_multiplied_in_tf32_only_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_tf32(*numbers: Tensor) -> Tensor:
        rounded = [((x.detach().view(torch.int32) + 2**12) & -(2**13)).view(torch.float32) for x in numbers]
        return attention.kernel(*(x + (y - x).detach() for x, y in zip(numbers, rounded, strict=True)))

    with pytest.raises(Wrong, match="off by"):
        attention.causal(in_tf32, device(), attention.FEW)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    attention.causal(in_tf32, device(), attention.FEW)


def test_keys_that_are_read_beyond_their_end_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def beyond(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        if k.shape[2] % 32 and q.shape[2] == 1:
            k, v = (torch.cat([x, torch.zeros_like(x[:, :, :1])], dim=2) for x in (k, v))
        return sdpa(q, k, v, **options)

    attention.behind_a_cache(device("bf16"))
    monkeypatch.setattr(F, "scaled_dot_product_attention", beyond)
    with pytest.raises(Wrong, match="tokens that see"):
        attention.behind_a_cache(device("bf16"))
