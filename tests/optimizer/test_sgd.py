"""SGD is PyTorch's, and its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.optimizer.making import Weights, after, optimizer_config, set_gradients


def by_hand(steps: int, lr: float, momentum: float, nesterov: bool, weight_decay: float) -> dict[str, torch.Tensor]:
    """The algorithm in the documentation of ``torch.optim.SGD``, without dampening."""
    model = Weights()
    theta = {name: p.detach().clone() for name, p in model.named_parameters()}
    buffers = {name: torch.zeros_like(p) for name, p in theta.items()}
    for step in range(steps):
        set_gradients(model.parameters(), step)
        for name, p in model.named_parameters():
            gradient = p.grad + (weight_decay if p.ndim >= 2 else 0.0) * theta[name]
            buffers[name] = momentum * buffers[name] + gradient
            theta[name] -= lr * (gradient + momentum * buffers[name] if nesterov else buffers[name])
    return theta


@pytest.mark.parametrize("weight_decay", [0.0, 0.25])
@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_four_steps_are_those_of_the_formula(momentum: float, nesterov: bool, weight_decay: float) -> None:
    config = optimizer_config("sgd", lr=0.5, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    expected = by_hand(4, 0.5, momentum, nesterov, weight_decay)
    torch.testing.assert_close(after(4, Weights(), config.build), expected, rtol=1e-12, atol=1e-12)


def test_four_steps_are_those_of_pytorchs_loop() -> None:
    def theirs(model: nn.Module) -> torch.optim.Optimizer:
        matrices, vectors = ([p for p in model.parameters() if (p.ndim >= 2) == matrix] for matrix in (True, False))
        groups = [{"params": matrices, "weight_decay": 0.25}, {"params": vectors}]
        return torch.optim.SGD(groups, lr=0.5, momentum=0.9, nesterov=True, foreach=False, fused=False)

    ours = optimizer_config("sgd", lr=0.5, momentum=0.9, nesterov=True, weight_decay=0.25).build
    torch.testing.assert_close(after(4, Weights(), ours), after(4, Weights(), theirs), rtol=1e-12, atol=1e-12)


def test_without_momentum_there_is_no_state() -> None:
    model = Weights()
    optimizer = optimizer_config("sgd", momentum=0.0, nesterov=True).build(model)
    set_gradients(model.parameters(), 0)
    optimizer.step()
    assert not any(isinstance(value, torch.Tensor) for state in optimizer.state.values() for value in state.values())
