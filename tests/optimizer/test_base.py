"""What every optimizer does with the parameters of every model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cai.optimizer.base import by_role, decay_groups
from cai.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cai.trainer.state import load_optimizer, take_groups, take_optimizer
from tests.model.making import FAMILIES, build
from tests.optimizer.making import OPTIMIZERS, Weights, group_of, optimizer_config, set_gradients

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
every_family = pytest.mark.parametrize("family", FAMILIES)
tied_and_untied = pytest.mark.parametrize("tie_weights", [True, False])


def test_the_known_optimizers_are_found() -> None:
    assert {"adamw", "muon", "lion", "sgd"} <= set(OPTIMIZERS)


@every_optimizer
@every_family
@tied_and_untied
def test_every_parameter_is_in_exactly_one_group_and_no_group_is_empty(name: str, family: str, tie_weights: bool) -> None:
    model = build(family, tie_weights=tie_weights)
    optimizer = optimizer_config(name).build(model)
    assert group_of(optimizer).keys() == dict(model.named_parameters()).keys()
    assert all(group["params"] for group in optimizer.param_groups)


@every_optimizer
@every_family
def test_matrices_and_embeddings_decay_and_vectors_do_not(name: str, family: str) -> None:
    model = build(family, tie_weights=False)
    groups = group_of(optimizer_config(name, weight_decay=0.25).build(model))
    linear = [f"{path}.weight" for path, m in model.named_modules() if isinstance(m, nn.Linear | nn.Embedding)]
    assert {groups[path]["weight_decay"] for path in linear} == {0.25}
    assert {groups[path]["weight_decay"] for path, p in model.named_parameters() if p.ndim < 2} <= {0.0}


@every_optimizer
def test_a_model_of_matrices_alone_has_no_group_of_vectors(name: str) -> None:
    optimizer = optimizer_config(name).build(nn.Linear(3, 4, bias=False))
    assert [len(group["params"]) for group in optimizer.param_groups] == [1]


@every_optimizer
@every_family
def test_the_rate_scales_every_group(name: str, family: str) -> None:
    whole, half = (optimizer_config(name, lr=lr).build(build(family)).param_groups for lr in (0.02, 0.01))
    assert [group["lr"] for group in half] == pytest.approx([group["lr"] / 2 for group in whole], rel=1e-12)


@every_optimizer
def test_what_is_frozen_is_left_out(name: str) -> None:
    model = Weights()
    model.wide.requires_grad_(False)
    model.vector.requires_grad_(False)
    assert group_of(optimizer_config(name).build(model)).keys() == {"tall", "square", "row"}


@every_optimizer
def test_a_parameter_without_gradient_stays_as_it_is_and_has_no_state(name: str) -> None:
    model = Weights()
    before = {path: p.detach().clone() for path, p in model.named_parameters()}
    optimizer = optimizer_config(name).build(model)
    optimizer.step()
    assert not optimizer.state
    set_gradients([model.tall], 0)
    optimizer.step()
    assert set(optimizer.state) == {model.tall}
    assert {path for path, p in model.named_parameters() if not torch.equal(p, before[path])} == {"tall"}


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "sgd"])  # PyTorch's fused SGD wants all at once
def test_a_parameter_whose_first_gradient_comes_later_moves_then(name: str) -> None:
    model = Weights()
    optimizer = optimizer_config(name).build(model)
    set_gradients([model.tall], 0)
    optimizer.step()
    before = model.wide.detach().clone()
    set_gradients(model.parameters(), 1)
    optimizer.step()
    assert not torch.equal(model.wide, before)


@every_optimizer
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_after_a_round_trip_of_the_state_the_next_step_is_the_same_to_the_bit(
    tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    one, other = Weights(dtype), Weights(dtype, seed=1)
    first, second = optimizer_config(name).build(one), optimizer_config(name).build(other)
    for step in range(3):
        set_gradients(one.parameters(), step)
        first.step()
    tensors, values = take_optimizer(first)
    state = {"optimizer": values, "groups": take_groups(first)}
    save_checkpoint(tmp_path / "x.safetensors", Checkpoint(one.state_dict(), tensors, state=state))
    saved = load_checkpoint(tmp_path / "x.safetensors")
    other.load_state_dict(saved.model)
    load_optimizer(second, saved)
    for step in range(3, 5):
        for model, optimizer in ((one, first), (other, second)):
            set_gradients(model.parameters(), step)
            optimizer.step()
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


@every_family
@tied_and_untied
def test_parameters_have_the_role_that_they_play(family: str, tie_weights: bool) -> None:
    options = {"value_embeddings": True} if family == "modern" else {}
    model = build(family, tie_weights=tie_weights, **options)
    role = {name: role for role, named in by_role(model).items() for name, _ in named}
    for path, module in model.named_modules():
        name = f"{path}.weight"
        if isinstance(module, nn.Embedding):
            assert role[name] == "embedding"
        elif isinstance(module, nn.Linear):
            assert role[name] == ("head" if path == "lm_head" else "hidden")
    assert {role[name] for name, p in model.named_parameters() if p.ndim == 1} <= {"vector"}
    assert ("head" in role.values()) == (not tie_weights)


def test_a_tensor_of_three_dimensions_is_no_hidden_matrix_but_decays() -> None:
    model = nn.Conv1d(2, 4, 3, bias=False)
    assert [name for name, _ in by_role(model)["vector"]] == ["weight"]
    assert [group["weight_decay"] for group in decay_groups(model, 0.5)] == [0.5]
