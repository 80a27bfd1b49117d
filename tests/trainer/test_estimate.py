"""The trial passes before a run leave no trace but the size they found."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import nn

from cai.trainer.estimate import estimate_seconds
from tests.trainer.making import draw_everywhere, make_trainer
from tests.trainer.test_memory import BATCH, limit, weights


@pytest.mark.slow
def test_the_trial_passes_find_the_size_and_leave_everything_else_as_it_was(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, *BATCH)
    draw_everywhere(trainer.model)
    trainer.model.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def count(model: nn.Module, *_: object) -> None:
        model.get_buffer("seen").add_(1)

    trainer.model.register_forward_hook(count)
    limit(trainer.model, 2)
    before = weights(trainer), random.getstate(), torch.get_rng_state()
    assert estimate_seconds(trainer) > 0
    assert trainer.updater.micro_batch.size == 2
    assert torch.equal(weights(trainer), before[0])
    assert random.getstate() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert all(p.grad is None for p in trainer.model.parameters())
    assert int(trainer.model.get_buffer("seen")) == 0
    trainer.updater.update(0)
    assert int(trainer.model.get_buffer("seen")) == 4
