"""Layers that several models share."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cai.dropout import Dropout
from cai.model import layers
from cai.model.layers import SHORT, RMSNorm, Rotary, SwiGLU, attend, merge_heads, split_heads

LENGTHS = [1, 16, SHORT, SHORT + 1, SHORT + 40]


def queries_keys_values(T: int, heads: int = 4, key_heads: int = 4) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, h, T, 6, dtype=torch.float64, requires_grad=True) for h in (heads, key_heads, key_heads)]


def by_pytorch(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """With an explicit mask and each key head written out as often as it is used."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    mask = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_attention_is_that_of_pytorch_on_both_paths(T: int, key_heads: int) -> None:
    q, k, v = queries_keys_values(T, key_heads=key_heads)
    torch.testing.assert_close(attend(q, k, v), by_pytorch(q, k, v), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("T", [16, SHORT + 1])
def test_gradients_of_attention_are_those_of_pytorch_on_both_paths(T: int) -> None:
    inputs = queries_keys_values(T, key_heads=2)
    upstream = torch.randn(2, 4, T, 6, dtype=torch.float64)
    ours = torch.autograd.grad(attend(*inputs), inputs, upstream)
    theirs = torch.autograd.grad(by_pytorch(*inputs), inputs, upstream)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("training", [True, False])
def test_dropout_that_drops_nothing_changes_nothing(T: int, training: bool) -> None:
    q, k, v = queries_keys_values(T, key_heads=2)
    dropout = Dropout(0.0 if training else 0.5).train(training)
    torch.testing.assert_close(attend(q, k, v, dropout), by_pytorch(q, k, v), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("T", [16, SHORT + 1])
def test_attention_with_dropout_drops_weights_by_the_keys_of_the_layer_alone(T: int) -> None:
    q, k, _ = queries_keys_values(T, key_heads=2)
    ones = torch.ones(2, 2, T, 6, dtype=torch.float64)  # what comes out is then the sum of the weights that are kept
    dropout = Dropout(0.25).train()
    dropout.keys = torch.tensor([[1, 2], [3, 4]], dtype=torch.int32)
    kept = attend(q, k, ones, dropout)
    torch.manual_seed(5)
    assert torch.equal(attend(q, k, ones, dropout), kept)
    assert not torch.allclose(kept, torch.ones_like(kept))
    assert float(kept[..., 0].detach().mean()) == pytest.approx(1, abs=0.1)


def test_the_spelled_out_path_and_the_fused_one_are_the_same_function(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = queries_keys_values(SHORT + 1, key_heads=2)
    fused = attend(q, k, v)
    monkeypatch.setattr(layers, "SHORT", 10**6)
    monkeypatch.setattr(F, "scaled_dot_product_attention", None)
    torch.testing.assert_close(attend(q, k, v), fused, rtol=1e-10, atol=1e-12)


def test_heads_are_split_off_in_order_and_merged_back() -> None:
    x = torch.arange(24.0).view(1, 2, 12)
    heads = split_heads(x, 4)
    assert heads.shape == (1, 3, 2, 4)
    assert heads[0, 1].tolist() == [[4, 5, 6, 7], [16, 17, 18, 19]]
    assert torch.equal(merge_heads(heads), x)


def test_rotary_leaves_the_first_position_and_every_length_as_they_are() -> None:
    x = torch.randn(1, 2, 9, 6, dtype=torch.float64)
    y = Rotary(9, 6, 100.0).double()(x)
    torch.testing.assert_close(y[..., 0, :], x[..., 0, :])
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1), rtol=1e-6, atol=0)


def test_rotary_makes_scores_depend_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 8, dtype=torch.float64)
    rotary = Rotary(40, 8, 100.0).double()
    scores = rotary(q.expand(1, 1, 40, 8))[0, 0] @ rotary(k.expand(1, 1, 40, 8))[0, 0].T
    for distance in (-5, 0, 1, 17):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-5, atol=1e-5)
    assert float((scores[0, 0] - scores[0, 1]).abs()) > 0.01


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_rotary_keeps_the_type_of_what_it_turns(dtype: torch.dtype) -> None:
    assert Rotary(8, 4, 100.0)(torch.ones(1, 1, 8, 4, dtype=dtype)).dtype == dtype


def test_rotary_tables_are_exact_far_into_a_long_block() -> None:
    """An angle of 1e5 radians in fp32 would be off by 4e-3."""
    position = 100_000
    table = Rotary(position + 1, 4, 1e4).cos[position]
    expected = torch.tensor([position, position / 100], dtype=torch.float64).cos().float()
    torch.testing.assert_close(table, expected, rtol=0, atol=1e-7)


def test_the_rms_norm_is_that_of_pytorch_with_its_gain() -> None:
    norm = RMSNorm(6, 1e-3).double()
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (6,), norm.weight, 1e-3), rtol=1e-12, atol=1e-12)


def test_the_gate_of_swiglu_goes_through_the_sigmoid() -> None:
    layer = SwiGLU(4, 10).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    gate, up = x @ layer.gate_proj.weight.T, x @ layer.up_proj.weight.T
    expected = (gate / (1 + (-gate).exp()) * up) @ layer.down_proj.weight.T
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
