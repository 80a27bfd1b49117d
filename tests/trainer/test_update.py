"""One optimizer step is the same step however it is cut."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.trainer.making import RaggedDataset, losses, make_trainer

Curve = list[float]


class TwoRates(torch.optim.SGD):
    """One group at rate 1 and one at 3."""

    def __init__(self, named: list[tuple[str, torch.nn.Parameter]]) -> None:
        super().__init__([{"params": named[:3], "lr": 1.0}, {"params": named[3:], "lr": 3.0}])


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], tuple[Curve, torch.Tensor]]:
    """The losses and the final weights of 200 steps with ragged targets, by precision and micro-batch size."""

    @functools.cache
    def train(precision: str, micro_batch_size: int) -> tuple[Curve, torch.Tensor]:
        folder = tmp_path_factory.mktemp("curve")
        trainer = make_trainer(
            folder,
            "trainer.batch_size=8",
            "trainer.log_every=5",
            "trainer.save_every=0",
            "trainer.max_steps=200",
            f"device.precision={precision}",
            f"trainer.micro_batch_size={micro_batch_size}",
            dataset_class=RaggedDataset,
        )
        trainer.fit()
        return list(losses(folder).values()), torch.cat([p.detach().flatten() for p in trainer.model.parameters()])

    return train


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "tolerance", "micro_batch_size"),
    [("fp64", 1e-9, 1), ("fp64", 1e-9, 2), ("fp64", 1e-9, 4), ("fp32", 1e-3, 2)],
)
def test_the_curve_does_not_depend_on_the_micro_batch_size_with_ragged_targets(
    curves: Callable[[str, int], tuple[Curve, torch.Tensor]], precision: str, tolerance: float, micro_batch_size: int
) -> None:
    whole, whole_weights = curves(precision, 8)
    cut, cut_weights = curves(precision, micro_batch_size)
    assert len(whole) == 40
    assert whole[-1] < 0.75 * whole[0]  # it has learned
    assert cut == pytest.approx(whole, rel=tolerance)
    assert cut_weights.dtype == {"fp64": torch.float64, "fp32": torch.float32}[precision]
    if precision == "fp64":
        torch.testing.assert_close(cut_weights, whole_weights, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("micro_batch_size", [1, 4])
def test_nor_with_dropout(tmp_path: Path, micro_batch_size: int) -> None:
    for size in (8, micro_batch_size):
        options = (f"trainer.micro_batch_size={size}", "model.dropout=0.2", "device.precision=fp64")
        folder = tmp_path / str(size)
        make_trainer(folder, "trainer.batch_size=8", "trainer.log_every=1", *options, dataset_class=RaggedDataset).fit()
    cut, whole = (list(losses(tmp_path / str(size)).values()) for size in (micro_batch_size, 8))
    assert cut == pytest.approx(whole, rel=1e-9)
    assert len(whole) == 20


def test_the_gradient_is_that_of_the_mean_over_targets_that_count(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "trainer.batch_size=4", dataset_class=RaggedDataset, dtype=torch.float64)
    batch = trainer.updater.batch(0)
    (x, y), n_valid = batch
    counted = y != trainer.dataset.ignore_index
    assert len(set(counted.sum(1).tolist())) > 1  # ragged indeed
    assert n_valid == int(counted.sum())
    trainer.model.train()
    log_probabilities = trainer.model(x).log_softmax(-1).gather(-1, y.clamp(min=0)[..., None])[..., 0]
    expected = torch.autograd.grad(-log_probabilities[counted].mean(), list(trainer.model.parameters()))
    trainer.updater.accumulate(batch, step=0)
    for (name, parameter), gradient in zip(trainer.model.named_parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-9, msg=name)


def test_dropout_depends_on_seed_and_step_alone(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "model.dropout=0.3", "trainer.batch_size=4")
    batch = trainer.updater.batch(0)
    first = trainer.updater.accumulate(batch, step=3)
    torch.rand(17)  # anything else that draws numbers
    assert torch.equal(trainer.updater.accumulate(batch, step=3), first)
    assert not torch.equal(trainer.updater.accumulate(batch, step=4), first)


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


def test_a_step_that_is_passed_over_still_counts_in_the_schedule(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "trainer.on_nonfinite=skip", "schedule=linear", "schedule.warmup_steps=4")
    trainer.updater.guard.admits = lambda step, *_: step != 1  # type: ignore[method-assign]
    rates = []
    for step in range(3):
        trainer.updater.update(step)
        rates.append(trainer.optimizer.param_groups[0]["lr"] / 0.01)
    assert rates == [pytest.approx(0.25), pytest.approx(0.25), pytest.approx(0.75)]


def test_each_group_keeps_its_own_share_of_the_rate(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, optimizer_class=TwoRates)
    for step in range(3):
        trainer.updater.update(step)
        first, second = (group["lr"] for group in trainer.optimizer.param_groups)
        assert first == pytest.approx(trainer.updater.schedule(step))
        assert second == pytest.approx(3 * first)
