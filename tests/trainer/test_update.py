"""One optimizer step is the same step however it is cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trainer.making import RaggedDataset, losses, make_trainer


def train(folder: Path, *overrides: str, dtype: torch.dtype = torch.float64) -> tuple[dict[int, float], torch.Tensor]:
    trainer = make_trainer(
        folder, "trainer.batch_size=8", "trainer.log_every=1", *overrides, dataset_class=RaggedDataset, dtype=dtype
    )
    trainer.fit()
    return losses(folder), torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4])
def test_the_curve_does_not_depend_on_the_micro_batch_size_with_ragged_targets(
    tmp_path: Path, micro_batch_size: int
) -> None:
    whole, whole_weights = train(tmp_path / "whole", "trainer.max_steps=30")
    cut, cut_weights = train(tmp_path / "cut", "trainer.max_steps=30", f"trainer.micro_batch_size={micro_batch_size}")
    assert len(whole) == 30
    assert list(cut.values()) == pytest.approx(list(whole.values()), rel=1e-9)
    torch.testing.assert_close(cut_weights, whole_weights, rtol=1e-7, atol=1e-9)


def test_in_single_precision_the_curve_is_the_same_to_a_thousandth(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", "trainer.max_steps=30", dtype=torch.float32)
    cut, _ = train(tmp_path / "cut", "trainer.max_steps=30", "trainer.micro_batch_size=2", dtype=torch.float32)
    assert list(cut.values()) == pytest.approx(list(whole.values()), rel=1e-3)


def test_the_gradient_is_that_of_the_mean_over_targets_that_count(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "trainer.batch_size=4", dataset_class=RaggedDataset, dtype=torch.float64)
    x, y = (torch.from_numpy(array) for array in trainer.dataset.batch(0, 4))
    counted = y != trainer.dataset.ignore_index
    assert len(set(counted.sum(1).tolist())) > 1  # ragged indeed
    trainer.model.train()
    log_probabilities = trainer.model(x).log_softmax(-1).gather(-1, y.clamp(min=0)[..., None])[..., 0]
    expected = torch.autograd.grad(-log_probabilities[counted].mean(), list(trainer.model.parameters()))
    trainer.updater.accumulate(x, y, step=0)
    for (name, parameter), gradient in zip(trainer.model.named_parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-9, msg=name)


def test_dropout_depends_on_seed_and_step_alone(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "model.dropout=0.3", "trainer.batch_size=4")
    x, y = (torch.from_numpy(array) for array in trainer.dataset.batch(0, 4))
    first = trainer.updater.accumulate(x, y, step=3)
    torch.rand(17)  # anything else that draws numbers
    assert torch.equal(trainer.updater.accumulate(x, y, step=3), first)
    assert not torch.equal(trainer.updater.accumulate(x, y, step=4), first)


def test_the_gradient_norm_is_clipped_and_reported_before_clipping(tmp_path: Path) -> None:
    free = make_trainer(tmp_path / "free", "trainer.grad_clip=0", "optimizer.lr=1e-12")
    clipped = make_trainer(tmp_path / "clipped", "trainer.grad_clip=0.001", "optimizer.lr=1e-12")
    seen: list[float] = []
    clipped.optimizer.register_step_pre_hook(
        lambda optimizer, *_: seen.append(
            float(torch.cat([p.grad.flatten() for group in optimizer.param_groups for p in group["params"]]).norm())
        )
    )
    _, norm_free = free.updater.update(0)
    _, norm_clipped = clipped.updater.update(0)
    assert float(norm_free) == pytest.approx(float(norm_clipped)) != pytest.approx(0.001)
    assert seen == [pytest.approx(0.001, rel=1e-3)]


def test_the_rate_of_a_step_is_peak_times_schedule(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "optimizer.lr=0.02", "schedule=linear", "schedule.warmup_steps=4")
    rates = []
    for step in range(5):
        trainer.updater.update(step)
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == [pytest.approx(rate) for rate in (0.005, 0.01, 0.015, 0.02, 0.02)]
