"""Dropout is right as dropout, and a pure function of (seed, step, sequence)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cai
from cai.dropout import Dropout, keyed, random_bits
from cai.model.gpt2 import CausalSelfAttention, GPT2Config

N = 200_000


@contextmanager
def dropout(p: float, rows: range = range(4), seed: int = 1, step: int = 0) -> Iterator[Dropout]:
    """A layer with keys."""
    layer = Dropout(p)
    with keyed(with_a_parameter(layer), seed, step, rows):
        yield layer


def with_a_parameter(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(1, 1), *layers)


def dropped(x: Tensor, p: float, rows: range = range(4), seed: int = 1, step: int = 0) -> Tensor:
    with dropout(p, rows, seed, step) as layer:
        out: Tensor = layer(x)
    return out


def kept(p: float, count: int = N, rows: range = range(4), seed: int = 1, step: int = 0) -> Tensor:
    """Which elements stay: ``(rows, count)`` of 0.0 and 1.0."""
    return (dropped(torch.ones(len(rows), count), p, rows, seed, step) > 0).double()


def correlation(a: Tensor, b: Tensor) -> float:
    """In standard deviations of what independent samples give."""
    return float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1]) * math.sqrt(a.numel())


@pytest.mark.parametrize("p", [0.01, 0.1, 0.2, 0.5, 0.9])
def test_the_share_that_is_zeroed_and_the_scale_of_the_rest_are_right(p: float) -> None:
    out = dropped(torch.ones(4, N, dtype=torch.float64), p)
    assert set(out.flatten().tolist()) == {0.0, 1 / (1 - p)}
    deviation = math.sqrt(p * (1 - p) / (4 * N))
    assert float((out == 0).double().mean()) == pytest.approx(p, abs=5 * deviation)
    assert float(out.mean()) == pytest.approx(1, abs=5 * deviation / (1 - p))
    assert float(out.var()) == pytest.approx(p / (1 - p), rel=0.05)
    for row in out:
        assert float((row == 0).double().mean()) == pytest.approx(p, abs=10 * deviation)


def test_every_bit_is_a_fair_coin_and_none_is_the_sign() -> None:
    keys = torch.randint(-(2**31), 2**31, (4, 2), dtype=torch.int32, generator=torch.Generator().manual_seed(0))
    bits = random_bits(keys, N)
    assert bits.dtype == torch.int32
    assert int(bits.min()) >= 0
    for bit in range(31):
        assert float((bits >> bit & 1).double().mean()) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(4 * N))
    assert len(set(bits[0].tolist())) > 0.99 * N


def test_the_bits_never_change_between_versions_and_devices() -> None:
    keys = torch.tensor([[1, 2], [-5, 2**31 - 1]], dtype=torch.int32)
    assert random_bits(keys, 3).tolist() == [[mix(c, *key) for c in range(3)] for key in keys.tolist()]


def mix(count: int, first: int, second: int) -> int:
    """``random_bits`` in unbounded integers."""
    bits = (count * 0x9E3779B9 ^ first) % 2**32
    bits ^= bits >> 16
    bits = (bits * 0x85EBCA6B ^ second) % 2**32
    bits ^= bits >> 13
    bits = bits * 0xC2B2AE35 % 2**32
    return (bits ^ bits >> 16) & 0x7FFFFFFF


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 8, 16, 64, 256, 768, 1024, 2**16])
def test_positions_are_independent(distance: int) -> None:
    mask = kept(0.3)
    assert abs(correlation(mask[:, :-distance], mask[:, distance:])) < 5


def test_rows_steps_seeds_and_places_are_independent() -> None:
    layers = [Dropout(0.3) for _ in range(4)]
    with keyed(with_a_parameter(*layers), 1, 0, range(4)):
        masks = [mask for layer in layers for mask in (layer(torch.ones(4, N)) > 0).double()]  # places, rows
    masks += [*kept(0.3, step=1)[:2], *kept(0.3, step=2)[:2], *kept(0.3, seed=2)[:2]]
    table = torch.corrcoef(torch.stack(masks)) * math.sqrt(N)
    assert float((table - table.diag().diag()).abs().max()) < 5.5


def test_the_number_that_stays_varies_from_row_to_row_as_chance_has_it() -> None:
    counts = kept(0.3, 512, range(2000)).sum(1)
    assert float(counts.var()) == pytest.approx(512 * 0.3 * 0.7, rel=0.15)


def test_a_row_depends_on_its_own_key_alone() -> None:
    whole = kept(0.4, 1000, range(8))
    for row in range(8):
        assert torch.equal(kept(0.4, 1000, range(row, row + 1))[0], whole[row])
    assert torch.equal(kept(0.4, 1000, range(4, 8)), whole[4:])
    with dropout(0.4, range(8)) as layer:
        assert layer.keys is not None
        layer.keys = layer.keys[[7, 0, 3]]
        assert torch.equal((layer(torch.ones(3, 1000)) > 0).double(), whole[[7, 0, 3]])


def test_the_mask_is_that_of_the_place_in_the_row_whatever_its_shape() -> None:
    flat = dropped(torch.ones(4, 6 * 5 * 3), 0.4)
    assert torch.equal(dropped(torch.ones(4, 6, 5, 3), 0.4), flat.view(4, 6, 5, 3))
    turned = torch.ones(4, 3, 5, 6).transpose(1, 3)  # no other strides make a difference
    assert torch.equal(dropped(turned, 0.4), flat.view(4, 6, 5, 3))


def test_the_same_call_gives_the_same_and_draws_from_no_global_source() -> None:
    with dropout(0.4) as layer:
        before = torch.get_rng_state()
        assert torch.equal(layer(torch.ones(4, 100)), layer(torch.ones(4, 100)))
    assert torch.equal(torch.get_rng_state(), before)


def test_not_training_and_a_rate_of_zero_are_the_identity() -> None:
    x = torch.randn(4, 10)
    with dropout(0.5) as layer:
        assert layer.eval()(x) is x
        assert not torch.equal(layer.train()(x), x)
    assert dropped(x, 0.0) is x


def test_without_keys_it_is_the_dropout_of_torch() -> None:
    x = torch.randn(4, 10)
    torch.manual_seed(3)
    ours = Dropout(0.3)(x)
    torch.manual_seed(3)
    assert torch.equal(ours, nn.Dropout(0.3)(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_gradient_flows_through_what_stays_alone(dtype: torch.dtype) -> None:
    x = torch.randn(4, 100, dtype=dtype, requires_grad=True)
    out = dropped(x, 0.25)
    assert out.dtype == dtype
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert torch.equal(x.grad, ((out != 0) * torch.tensor(1 / 0.75, dtype=torch.float64)).to(dtype))


def gpt2_config(dropout: float) -> GPT2Config:
    shape = ("n_layer=2", "n_head=2", "n_embd=16", "block_size=12", f"dropout={dropout}")
    config = cai.compose(["model=gpt2", *(f"model.{option}" for option in shape)]).model
    assert isinstance(config, GPT2Config)
    return config


def test_every_dropout_of_a_model_has_a_key_of_its_own() -> None:
    model = gpt2_config(0.2).build(vocab_size=20)
    layers = [module for module in model.modules() if isinstance(module, Dropout)]
    with keyed(model, 1, 2, range(3)):
        keys = [tuple(key.tolist()) for layer in layers if layer.keys is not None for key in layer.keys]
    assert len(keys) == len(set(keys)) == 3 * (1 + 2 * 3)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_keys_are_gone_after_the_pass_they_were_for(error: type[BaseException] | None) -> None:
    model = gpt2_config(0.2).build(vocab_size=20)

    def forward() -> None:
        with keyed(model, 1, 2, range(3)):
            model(torch.zeros(3, 12, dtype=torch.long))
            if error:
                raise error

    with pytest.raises(error) if error else nullcontext():
        forward()
    assert all(module.keys is None for module in model.modules() if isinstance(module, Dropout))
    assert model(torch.zeros(5, 7, dtype=torch.long)).shape[:2] == (5, 7)  # another batch is dropped by torch


def test_in_training_a_sequence_has_the_same_loss_and_gradient_alone_and_in_a_batch() -> None:
    torch.manual_seed(0)
    model = gpt2_config(0.3).build(vocab_size=20).double().train()
    ids, targets = torch.randint(20, (2, 5, 12))

    def losses(rows: range, step: int = 7) -> Tensor:
        chosen = slice(rows.start, rows.stop)
        with keyed(model, 1, step, rows):
            logits = model(ids[chosen])
        return F.cross_entropy(logits.transpose(1, 2), targets[chosen], reduction="none").sum(1)

    whole = losses(range(5))
    alone = torch.cat([losses(range(row, row + 1)) for row in range(5)])
    torch.testing.assert_close(alone, whole, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(loss.sum(), list(model.parameters())) for loss in (whole, alone)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(losses(range(5), step=8), whole)


def test_attention_that_is_spelled_out_is_that_of_torch_when_nothing_is_dropped() -> None:
    torch.manual_seed(0)
    attention = CausalSelfAttention(gpt2_config(1e-12)).double().train()
    x = torch.randn(3, 12, 16, dtype=torch.float64, requires_grad=True)
    with keyed(attention, 1, 0, range(3)):
        spelled_out = attention(x)
    fused = attention.eval()(x)
    torch.testing.assert_close(spelled_out, fused, rtol=1e-10, atol=1e-12)
    gradients = [torch.autograd.grad(out.square().sum(), x)[0] for out in (spelled_out, fused)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-11)
    with_dropout(attention, 0.5)
    with keyed(attention, 1, 0, range(3)):
        assert not torch.allclose(attention(x), fused)


def with_dropout(attention: CausalSelfAttention, p: float) -> CausalSelfAttention:
    """Of its weights alone, in training mode."""
    attention.train().attn_dropout.p = p
    return attention
