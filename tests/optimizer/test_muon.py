"""Muon for the hidden matrices, AdamW for the rest, one rate for both."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cai.optimizer import muon
from cai.optimizer.base import by_role
from cai.optimizer.muon import COEFFICIENTS
from tests.model.making import build
from tests.optimizer.making import Weights, after, group_of, optimizer_config, set_gradients

MATRICES = ("wide", "tall", "square", "row")
CHANGES: dict[str, Any] = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.25}


def by_svd(direction: Tensor, steps: int) -> Tensor:
    """What Newton–Schulz does, seen from its effect: an odd polynomial of every singular value, the vectors kept."""
    a, b, c = COEFFICIENTS
    u, s, vt = np.linalg.svd(direction.numpy(), full_matrices=False)
    s = s / (np.sqrt((s**2).sum()) + 1e-7)
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return torch.from_numpy(u * s @ vt)


def by_hand(steps: int, name: str, *, nesterov: bool, ns_steps: int) -> Tensor:
    """Jordan's algorithm with the scale of arXiv:2502.16982, for one matrix."""
    model = Weights()
    weight, buffer = model.get_parameter(name).detach().clone(), torch.zeros(())
    lr, momentum, decay = CHANGES["lr"], CHANGES["momentum"], CHANGES["weight_decay"]
    for step in range(steps):
        set_gradients(model.parameters(), step)
        gradient = model.get_parameter(name).grad
        buffer = momentum * buffer + (1 - momentum) * gradient
        direction = momentum * buffer + (1 - momentum) * gradient if nesterov else buffer
        update = 0.2 * math.sqrt(max(weight.shape)) * by_svd(direction, ns_steps)
        weight = weight - lr * decay * weight - lr * update
    return weight


@pytest.mark.parametrize("ns_steps", [1, 5])
@pytest.mark.parametrize("nesterov", [True, False])
def test_three_steps_of_each_matrix_are_those_of_the_algorithm(nesterov: bool, ns_steps: int) -> None:
    config = optimizer_config("muon", **CHANGES, nesterov=nesterov, ns_steps=ns_steps)
    weights = after(3, Weights(), config.build)
    for name in MATRICES:
        expected = by_hand(3, name, nesterov=nesterov, ns_steps=ns_steps)
        torch.testing.assert_close(weights[name], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("nesterov", [True, False])
def test_three_updates_are_those_of_pytorchs_muon_within_its_bf16(nesterov: bool) -> None:
    options = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.0, "nesterov": nesterov, "ns_steps": 5}
    start = {name: p.detach() for name, p in Weights(torch.float32).named_parameters()}
    ours = after(3, Weights(torch.float32), optimizer_config("muon", **options).build)

    def build_theirs(model: nn.Module) -> torch.optim.Optimizer:
        parameters = [model.get_parameter(name) for name in MATRICES]
        return torch.optim.Muon(parameters, **options, adjust_lr_fn="match_rms_adamw")

    theirs = after(3, Weights(torch.float32), build_theirs)
    for name in MATRICES:
        expected = theirs[name] - start[name]
        assert float((ours[name] - start[name] - expected).norm() / expected.norm()) < 0.02


@pytest.mark.parametrize("family", ["gpt2", "modern"])
def test_what_is_no_hidden_matrix_moves_as_by_adamw_at_its_multiple_of_the_rate(family: str) -> None:
    ratios = {"embedding": 2.0, "head": 0.5, "vector": 0.25}
    options = {"betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.25}
    config = optimizer_config("muon", lr=0.1, **options, **{f"{role}_lr_ratio": ratio for role, ratio in ratios.items()})

    def build_theirs(model: nn.Module) -> torch.optim.Optimizer:
        roles = by_role(model)
        groups = [{"params": roles[role], "lr": 0.1 * ratio} for role, ratio in ratios.items() if roles[role]]
        groups[-1]["weight_decay"] = 0.0 if roles["vector"] else 0.25
        return torch.optim.AdamW(groups, **options, foreach=False)

    model = build(family, tie_weights=False).double()
    names = [name for role, named in by_role(model).items() if role != "hidden" for name, _ in named]
    ours = after(3, model, config.build)
    theirs = after(3, build(family, tie_weights=False).double(), build_theirs)
    for name in names:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-10, atol=1e-10)


def test_each_role_has_its_own_multiple_of_the_rate() -> None:
    ratios = {"embedding_lr_ratio": 2.0, "head_lr_ratio": 0.5, "vector_lr_ratio": 0.25}
    model = build("gpt2", tie_weights=False)
    groups = group_of(optimizer_config("muon", lr=0.1, **ratios).build(model))
    expected = {"hidden": 0.1, "embedding": 0.2, "head": 0.05, "vector": 0.025}
    for role, named in by_role(model).items():
        assert [groups[name]["lr"] for name, _ in named] == pytest.approx([expected[role]] * len(named))
        assert {groups[name]["orthogonal"] for name, _ in named} == {role == "hidden"}


@pytest.mark.parametrize("shape", [(64, 64), (16, 96), (96, 16), (8, 500)])
def test_the_size_of_an_update_is_that_of_adamw_whatever_the_shape(shape: tuple[int, int]) -> None:
    model = nn.Linear(*shape, bias=False).double()
    before = model.weight.detach().clone()
    optimizer = optimizer_config("muon", lr=0.5, weight_decay=0.0).build(model)
    set_gradients(model.parameters(), 0)
    optimizer.step()
    rms = float((model.weight.detach() - before).square().mean().sqrt())
    assert rms == pytest.approx(0.2 * 0.5, rel=0.15)


def test_a_matrix_and_its_transpose_are_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    original = muon.orthogonalize

    def recording(matrices: Tensor, steps: int, rounds: bool) -> Tensor:
        shapes.append(tuple(matrices.shape))
        return original(matrices, steps, rounds)

    monkeypatch.setattr(muon, "orthogonalize", recording)
    after(1, Weights(), optimizer_config("muon").build)
    assert shapes == [(2, 6, 10), (1, 8, 8), (1, 1, 6)]


def test_a_matrix_in_a_batch_moves_as_it_does_alone() -> None:
    together = after(2, Weights(), optimizer_config("muon", **CHANGES).build)
    for name in ("wide", "tall"):
        model = Weights()
        for other, parameter in model.named_parameters():
            parameter.requires_grad_(other == name)
        alone = after(2, model, optimizer_config("muon", **CHANGES).build)
        torch.testing.assert_close(alone[name], together[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16), (1, 9)])
@pytest.mark.parametrize("size", [1e-5, 1.0, 1e5])
def test_singular_values_of_an_orthogonalized_matrix_are_near_one(shape: tuple[int, int], size: float) -> None:
    matrices = size * torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(muon.orthogonalize(matrices, 5, rounds=False))
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3


def test_a_matrix_of_zeros_has_an_update_of_zeros_and_disturbs_no_other() -> None:
    matrices = torch.stack([torch.zeros(4, 6), torch.ones(4, 6)])
    zero, other = muon.orthogonalize(matrices, 5, rounds=False)
    assert not zero.any()
    torch.testing.assert_close(other, muon.orthogonalize(torch.ones(1, 4, 6), 5, rounds=False)[0])


def test_what_is_orthogonalized_is_not_overwritten() -> None:
    matrices = torch.randn(2, 4, 6)
    kept = matrices.clone()
    muon.orthogonalize(matrices, 5, rounds=False)
    assert torch.equal(matrices, kept)


@pytest.mark.parametrize("rounds", [True, False])
def test_rounded_to_bf16_it_is_about_the_same(rounds: bool) -> None:
    matrices = torch.randn(2, 8, 12, generator=torch.Generator().manual_seed(0))
    result = muon.orthogonalize(matrices, 5, rounds=rounds)
    exact = muon.orthogonalize(matrices.double(), 5, rounds=False)
    assert result.dtype == torch.float32
    assert torch.equal(result, result.bfloat16().float()) == rounds
    error = float((result.double() - exact).norm() / exact.norm())
    assert error < (0.03 if rounds else 1e-5)


@pytest.mark.parametrize("in_hardware", [True, False])
def test_bf16_is_used_where_the_device_multiplies_it(monkeypatch: pytest.MonkeyPatch, in_hardware: bool) -> None:
    asked: list[object] = []
    used: list[bool] = []

    def answer(device_type: str) -> bool:
        asked.append(device_type)
        return in_hardware

    def orthogonalize(matrices: torch.Tensor, steps: int, rounds: bool) -> torch.Tensor:
        used.append(rounds)
        return matrices

    monkeypatch.setattr(muon, "multiplies_bf16", answer)
    monkeypatch.setattr(muon, "orthogonalize", orthogonalize)
    parameter = torch.nn.Parameter(torch.randn(8, 12))
    optimizer = muon.Muon(
        [{"params": [("w", parameter)], "orthogonal": True}], lr=0.1, momentum=0.9, nesterov=True, ns_steps=5
    )
    for _ in range(2):
        parameter.grad = torch.randn(8, 12)
        optimizer.step()
    assert (asked, used) == (["cpu"], [in_hardware, in_hardware])


def test_float64_is_never_rounded() -> None:
    matrix = torch.randn(8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    result = muon.orthogonalize(matrix[None], 5, rounds=True)[0]
    torch.testing.assert_close(result, by_svd(matrix, 5), rtol=1e-10, atol=1e-10)


def test_a_rate_that_is_a_tensor_acts_as_the_number() -> None:
    """So it is where the update is compiled."""

    def build_with_tensors(model: nn.Module) -> torch.optim.Optimizer:
        optimizer = optimizer_config("muon", **CHANGES).build(model)
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"])
        return optimizer

    by_number = after(3, Weights(), optimizer_config("muon", **CHANGES).build)
    torch.testing.assert_close(after(3, Weights(), build_with_tensors), by_number, rtol=1e-6, atol=1e-7)


def test_bf16_parameters_stay_bf16_and_move_as_fp32_ones_about() -> None:
    rounded = after(3, Weights(torch.bfloat16), optimizer_config("muon", **CHANGES).build)
    exact = after(3, Weights(torch.float32), optimizer_config("muon", **CHANGES).build)
    assert {p.dtype for p in rounded.values()} == {torch.bfloat16}
    torch.testing.assert_close({n: p.float() for n, p in rounded.items()}, exact, rtol=0.03, atol=0.03)


def test_steps_are_counted_in_fp32_beside_bf16_parameters() -> None:
    """In bf16 the count would stop at 256."""
    model = Weights(torch.bfloat16)
    optimizer = optimizer_config("muon").build(model)
    set_gradients(model.parameters(), 0)
    optimizer.step()
    assert optimizer.state[model.vector]["step"].dtype == torch.float32
