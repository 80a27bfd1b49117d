"""Which hidden units let something through, by whatever way the function is called."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cai.inspection.units import watched_units
from cai.model.layers import SwiGLU
from cai.model.passes import squared_relu


class Net(nn.Module):
    """Four inputs, each a hidden unit through ``function``."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.function(x)  # type: ignore[operator]
        return out


X = torch.tensor([[[1.0, -9, -1, -8], [1, -9, 1, -9]], [[1, -9, 1, -9], [1, -8, -1, -7]]])
"""Of four tokens the first unit is always on, two never, and one for every second."""


@pytest.mark.parametrize(
    ("function", "name", "active"),
    [
        (F.relu, "relu", 1.5 / 4),
        (squared_relu, "relu", 1.5 / 4),
        (nn.ReLU(), "relu", 1.5 / 4),
        (lambda x: torch.relu(x), "relu", 1.5 / 4),
        (lambda x: x.relu(), "relu", 1.5 / 4),
        (F.gelu, "gelu", 2 / 4),  # -0.16 at -1
        (nn.GELU(approximate="tanh"), "gelu", 2 / 4),
        (F.silu, "silu", 2 / 4),
    ],
)
def test_units_that_are_on_for_no_token_are_dead(function: object, name: str, active: float) -> None:
    net = nn.Sequential(nn.Identity(), Net(function))
    with watched_units(net) as units:
        net(X[:1].clone())
        net(X[1:].clone())  # two micro-batches
    (found,) = units()
    assert (found.function, found.size, found.dead) == (name, 4, 2)
    assert found.module.split(".")[0] == "1"
    assert found.active == pytest.approx(active)


def test_each_module_has_its_own_and_nothing_is_left_behind() -> None:
    net = nn.Sequential(SwiGLU(4, 6), SwiGLU(4, 6))
    with watched_units(net) as units:
        out = net(X)
    assert [(one.module, one.function, one.size) for one in units()] == [("0", "silu", 6), ("1", "silu", 6)]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    torch.testing.assert_close(net(X), out)
    assert len(units()) == 2
    assert units()[0].size == 6


def test_an_error_in_the_pass_leaves_no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(RuntimeError), watched_units(net):
        net(torch.zeros(1, 3))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
