"""Lion is the paper's algorithm."""

from __future__ import annotations

import pytest
import torch

from tests.optimizer.making import Weights, after, optimizer_config, set_gradients


def algorithm_2(steps: int, lr: float, beta1: float, beta2: float, weight_decay: float) -> dict[str, torch.Tensor]:
    """arXiv:2302.06675, algorithm 2, line by line."""
    model = Weights()
    theta = {name: p.detach().clone() for name, p in model.named_parameters()}
    m = {name: torch.zeros_like(p) for name, p in theta.items()}
    for step in range(steps):
        set_gradients(model.parameters(), step)
        for name, p in model.named_parameters():
            decay = weight_decay if p.ndim >= 2 else 0.0
            c = beta1 * m[name] + (1 - beta1) * p.grad
            theta[name] -= lr * (c.sign() + decay * theta[name])
            m[name] = beta2 * m[name] + (1 - beta2) * p.grad
    return theta


@pytest.mark.parametrize(
    ("lr", "betas", "weight_decay"), [(0.01, (0.9, 0.99), 0.5), (0.1, (0.5, 0.2), 0.0), (0.1, (0.0, 0.0), 1.0)]
)
def test_four_steps_are_the_published_ones(lr: float, betas: tuple[float, float], weight_decay: float) -> None:
    config = optimizer_config("lion", lr=lr, betas=betas, weight_decay=weight_decay)
    torch.testing.assert_close(
        after(4, Weights(), config.build), algorithm_2(4, lr, *betas, weight_decay), rtol=1e-12, atol=1e-12
    )


def test_a_coordinate_moves_by_the_rate_whatever_its_gradient() -> None:
    model = Weights()
    before = model.vector.detach().clone()
    optimizer = optimizer_config("lion", lr=0.125).build(model)
    model.vector.grad = torch.tensor([1e-12, -3.0, 0.0, 1e6, -1e-3, 2.0], dtype=torch.float64)
    optimizer.step()
    expected = before - 0.125 * torch.tensor([1, -1, 0, 1, -1, 1], dtype=torch.float64)
    torch.testing.assert_close(model.vector.detach(), expected, rtol=1e-12, atol=1e-12)


def test_its_state_is_half_of_adamws() -> None:
    def numbers(name: str) -> int:
        model = Weights()
        optimizer = optimizer_config(name).build(model)
        set_gradients(model.parameters(), 0)
        optimizer.step()
        return sum(value.numel() for state in optimizer.state.values() for value in state.values() if value.numel() > 1)

    assert numbers("adamw") == 2 * numbers("lion")


def test_a_rate_that_is_a_tensor_acts_as_the_number() -> None:
    """So it is where the update is compiled."""
    config = optimizer_config("lion", lr=0.125, weight_decay=0.5)
    by_number, by_tensor = config.build(Weights()), config.build(Weights())
    for optimizer in (by_number, by_tensor):
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"]) if optimizer is by_tensor else group["lr"]
            set_gradients(group["params"], 0)
        optimizer.step()
    for one, other in zip(by_number.param_groups, by_tensor.param_groups, strict=True):
        torch.testing.assert_close(one["params"], other["params"], rtol=1e-7, atol=1e-7)
