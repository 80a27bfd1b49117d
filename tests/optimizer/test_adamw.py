"""AdamW: the published update, and decay where it belongs."""

from __future__ import annotations

import torch
from torch import nn

import cai
from cai.model.gpt2 import GPT2


def build(*overrides: str) -> tuple[GPT2, torch.optim.Optimizer]:
    config = cai.compose(["model=gpt2", "optimizer=adamw", "model.n_layer=2", "model.tie_weights=false", *overrides])
    torch.manual_seed(0)
    model = config.model.build(vocab_size=300)
    return model, config.optimizer.build(model)


def test_every_parameter_is_in_exactly_one_group() -> None:
    model, optimizer = build()
    names = [name for group in optimizer.param_groups for name in group["param_names"]]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())


def test_biases_and_norms_are_not_decayed_and_all_else_is() -> None:
    model, optimizer = build("optimizer.weight_decay=0.25")
    decay = {name: group["weight_decay"] for group in optimizer.param_groups for name in group["param_names"]}
    norms = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)}
    for name in decay:
        assert decay[name] == (0.0 if name in norms or name.endswith("bias") else 0.25), name


def test_a_model_without_biases_has_no_empty_group() -> None:
    _, optimizer = build("model.bias=false")
    assert all(group["params"] for group in optimizer.param_groups)


def test_one_step_is_the_published_update() -> None:
    model, optimizer = build("optimizer.lr=0.01", "optimizer.weight_decay=0.1", "optimizer.eps=1e-8")
    name, parameter = next(iter(model.named_parameters()))
    assert name == "wte.weight"
    before = parameter.detach().clone()
    gradient = torch.randn_like(parameter)
    parameter.grad = gradient.clone()
    optimizer.step()
    # arXiv:1711.05101, algorithm 2, t = 1: both bias-corrected moments are the gradient and its square themselves.
    expected = before * (1 - 0.01 * 0.1) - 0.01 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-5, atol=1e-7)
