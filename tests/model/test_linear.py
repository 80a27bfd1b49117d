"""Linear maps are linear maps, whichever library multiplies."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cai.model import linear as module
from cai.model.linear import Linear, linear

SHAPES = [(128, 512), (512, 128), (128, 74), (96, 64), (130, 130)]


@pytest.fixture
def by_onednn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """As on a processor where oneDNN is faster; the shapes of what it is given first."""
    assert hasattr(torch.ops.mkldnn, "_linear_pointwise"), "PyTorch has renamed it: see cai/model/linear.py"
    seen: list[tuple[int, ...]] = []
    product = module._product

    def noting(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        seen.append(tuple(x.shape))
        return product(x, weight, bias)

    monkeypatch.setattr(module, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(module, "_product", noting)
    return seen


def results(function: object, n_in: int, n_out: int, *, bias: bool) -> list[Tensor]:
    """The output and every gradient, for the same random numbers."""
    torch.manual_seed(0)
    x, weight = torch.randn(3, 50, n_in, requires_grad=True), torch.randn(n_out, n_in, requires_grad=True)
    offset = torch.randn(n_out, requires_grad=True) if bias else None
    y = function(x, weight, offset)  # type: ignore[operator]
    y.backward(torch.randn(3, 50, n_out))
    return [y.detach(), *(t.grad for t in (x, weight, offset) if t is not None and t.grad is not None)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n_in", "n_out"), SHAPES)
def test_output_and_gradients_are_those_of_pytorch(
    by_onednn: list[tuple[int, ...]], n_in: int, n_out: int, bias: bool
) -> None:
    found, expected = (results(function, n_in, n_out, bias=bias) for function in (linear, F.linear))
    assert by_onednn
    assert len(found) == len(expected) == 3 + bias
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)


def test_the_smaller_side_comes_first_and_very_small_ones_stay_with_mkl(by_onednn: list[tuple[int, ...]]) -> None:
    for n_in, n_out in SHAPES[:3]:
        results(linear, n_in, n_out, bias=False)
    of_weights = [shape for shape in by_onednn if len(shape) == 2]
    assert of_weights == [(128, 150), (128, 150)]


def test_no_gradient_is_computed_for_what_needs_none(by_onednn: list[tuple[int, ...]]) -> None:
    x, weight = torch.randn(5, 128), torch.randn(128, 128, requires_grad=True)
    linear(x, weight).sum().backward()
    assert len(by_onednn) == 2  # forward, and the gradient of the weight
    assert weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_pytorch(by_onednn: list[tuple[int, ...]], dtype: torch.dtype) -> None:
    x, layer = torch.randn(4, 128, dtype=dtype), Linear(128, 256, dtype=dtype)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(torch.randn(4, 128), torch.randn(8, 128)).dtype == torch.bfloat16
    assert by_onednn == []


def test_where_mkl_is_as_fast_it_is_pytorch_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "onednn_is_faster", lambda: False)
    x, layer = torch.randn(4, 128), Linear(128, 256)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


def test_a_compiled_model_is_left_to_the_compiler(by_onednn: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    linear(torch.randn(4, 128), torch.randn(256, 128))
    assert by_onednn == []
