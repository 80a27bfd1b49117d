"""Functions with gradients of their own are the plain formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck

from cai.model.passes import rms_norm, rotate, shift_in, squared_relu

T, C = 5, 6
EPS = 0.05
"""Large enough to be missed where it is forgotten."""


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))


ANGLES = random(T, C // 2)
MIX = random(2, C)


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """The halves of the last dimension as the real and the imaginary part of numbers that are turned by the angles."""
    first, second = x.double().chunk(2, dim=-1)
    product = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([product.real, product.imag], dim=-1).to(x.dtype)


def shifted(x: Tensor, mix: Tensor) -> Tensor:
    """The sum of what was padded at the front and cut at the end."""
    return x + sum(F.pad(x, (0, 0, back, 0))[:, : x.shape[1]] * share for back, share in enumerate(mix, start=1))


Function = Callable[[Tensor], Tensor]
PAIRS: dict[str, tuple[Function, Function]] = {
    "squared_relu": (squared_relu, lambda x: F.relu(x) ** 2),
    "rms_norm": (lambda x: rms_norm(x, EPS), lambda x: F.rms_norm(x, (x.shape[-1],), eps=EPS)),
    "rotate": (
        lambda x: rotate(x, ANGLES.cos().to(x.dtype), ANGLES.sin().to(x.dtype)),
        lambda x: turned(x, ANGLES),
    ),
    "shift_in": (lambda x: shift_in(x, MIX.to(x.dtype)), lambda x: shifted(x, MIX.to(x.dtype))),
}
of_each = pytest.mark.parametrize(("ours", "plain"), PAIRS.values(), ids=PAIRS)


def with_gradient(function: Function, x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    y = function(x)
    return y.detach(), torch.autograd.grad(y, x, upstream)[0]


def layouts() -> list[Tensor]:
    """``(3, T, C)``: dense, transposed, every other element, and one row for all."""
    return [random(3, T, C), random(T, 3, C).transpose(0, 1), random(3, T, 2 * C)[..., ::2], random(1, T, C).expand(3, T, C)]


@of_each
def test_the_gradient_is_the_derivative(ours: Function, plain: Function) -> None:
    assert gradcheck(ours, random(3, T, C).requires_grad_())


@of_each
@pytest.mark.parametrize("layout", range(4))
def test_value_and_gradient_are_those_of_the_plain_formula(ours: Function, plain: Function, layout: int) -> None:
    x, upstream = layouts()[layout], random(3, T, C)
    torch.testing.assert_close(with_gradient(ours, x, upstream), with_gradient(plain, x, upstream), rtol=1e-12, atol=1e-12)


@of_each
def test_a_gradient_in_another_layout_is_taken_as_it_is(ours: Function, plain: Function) -> None:
    x, upstream = random(3, T, C), random(C, T, 3).transpose(0, 2)
    torch.testing.assert_close(with_gradient(ours, x, upstream), with_gradient(plain, x, upstream), rtol=1e-12, atol=1e-12)


@of_each
def test_a_second_derivative_is_refused_and_not_wrong(ours: Function, plain: Function) -> None:
    x = random(3, T, C).requires_grad_()
    (gradient,) = torch.autograd.grad(ours(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@of_each
def test_neither_the_input_nor_the_upstream_gradient_is_overwritten(ours: Function, plain: Function) -> None:
    x, upstream = random(3, T, C), random(3, T, C) + 1
    kept = x.clone(), upstream.clone()
    with_gradient(ours, x, upstream)
    assert torch.equal(x, kept[0])
    assert torch.equal(upstream, kept[1])


@of_each
def test_bf16_stays_bf16_in_value_and_gradient(ours: Function, plain: Function) -> None:
    x, upstream = random(3, T, C, dtype=torch.bfloat16), random(3, T, C + 1, dtype=torch.bfloat16)[..., 1:]
    pair = with_gradient(ours, x, upstream)
    assert [tensor.dtype for tensor in pair] == [torch.bfloat16] * 2
    exact = with_gradient(plain, x.double(), upstream.double())
    torch.testing.assert_close([tensor.double() for tensor in pair], list(exact), rtol=0.03, atol=0.03)


@pytest.mark.parametrize("reach", [0, 1, 3, T - 1, T, T + 3])
def test_a_shift_reaches_as_far_back_as_there_is_something(reach: int) -> None:
    x, mix = random(2, T, C).requires_grad_(), random(reach, C).requires_grad_()
    y = shift_in(x, mix)
    torch.testing.assert_close(y, shifted(x, mix), rtol=1e-12, atol=1e-12)
    assert gradcheck(shift_in, (x, mix))
    (gradient,) = torch.autograd.grad(y.sum(), mix)
    assert not gradient[T - 1 :].any()  # there is nothing that far back


def test_the_shares_of_a_shift_have_a_gradient_of_their_own_type() -> None:
    x, mix = random(2, T, C, dtype=torch.bfloat16), random(2, C, dtype=torch.float32).requires_grad_()
    y = shift_in(x, mix)
    y.float().square().sum().backward()
    assert (y.dtype, mix.grad.dtype) == (torch.bfloat16, torch.float32)


def test_a_single_token_is_shifted_into_itself() -> None:
    x = random(2, 1, C)
    assert torch.equal(shift_in(x, random(3, C)), x)


def test_the_mean_square_of_a_norm_is_not_taken_in_half_precision() -> None:
    """300² is beyond the largest number of fp16."""
    x = torch.full((1, 8), 300.0, dtype=torch.float16)
    assert torch.equal(rms_norm(x, 1e-6), torch.ones_like(x))


def test_a_norm_of_zeros_is_zeros_with_finite_gradients() -> None:
    y, gradient = with_gradient(lambda x: rms_norm(x, 1e-6), torch.zeros(1, 8), torch.ones(1, 8))
    assert not y.any()
    torch.testing.assert_close(gradient, torch.full((1, 8), 1e3))


def test_turning_back_gives_what_was_there() -> None:
    x = random(2, T, C)
    back = rotate(rotate(x, ANGLES.cos(), ANGLES.sin()), ANGLES.cos(), -ANGLES.sin())
    torch.testing.assert_close(back, x, rtol=1e-12, atol=1e-12)
