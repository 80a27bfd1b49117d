"""Schedules are pure functions of the step with known values."""

from __future__ import annotations

import pytest

import cai
from cai.schedule.base import Schedule


def build(name: str, max_steps: int, *overrides: str) -> Schedule:
    schedule: Schedule = cai.compose([f"schedule={name}", *overrides]).schedule.build(max_steps)
    return schedule


ALL = ["constant", "cosine", "linear", "wsd"]


@pytest.mark.parametrize("name", ALL)
def test_warmup_rises_in_equal_steps_from_a_first_step_that_learns(name: str) -> None:
    schedule = build(name, 100, "schedule.warmup_steps=4")
    assert [schedule(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert schedule(4) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("warmup_steps", [0, 5, 10, 20])
def test_the_rate_stays_between_zero_and_the_peak_even_if_warmup_is_the_whole_run(name: str, warmup_steps: int) -> None:
    schedule = build(name, 10, f"schedule.warmup_steps={warmup_steps}")
    assert all(0 < schedule(step) <= 1 for step in range(10))


@pytest.mark.parametrize(
    ("name", "ratio", "middle", "last"),
    [
        ("constant", None, 1.0, 1.0),
        ("cosine", 0.1, 0.55, 0.1),
        ("cosine", 0, 0.5, 0.0),
        ("linear", 0.1, 0.55, 0.1),
        ("linear", 0, 0.5, 0.0),
        ("wsd", 0.1, 1.0, 0.1),
    ],
)
def test_the_shape_after_warmup(name: str, ratio: float | None, middle: float, last: float) -> None:
    lowest = () if ratio is None else (f"schedule.min_lr_ratio={ratio}",)
    schedule = build(name, 1000, "schedule.warmup_steps=0", *lowest)
    assert schedule(500) == pytest.approx(middle, abs=1e-6)
    assert schedule(999) == pytest.approx(last, abs=0.004)
    assert schedule(2000) == pytest.approx(last, abs=1e-6)  # beyond the end it stays where it ended


def test_wsd_decays_only_over_its_last_share() -> None:
    schedule = build("wsd", 100, "schedule.warmup_steps=0", "schedule.decay_ratio=0.2", "schedule.min_lr_ratio=0")
    assert [schedule(step) for step in (0, 79, 80)] == [1.0, 1.0, 1.0]
    assert schedule(90) == pytest.approx(0.5)


def test_wsd_without_decay_is_constant() -> None:
    schedule = build("wsd", 10, "schedule.warmup_steps=0", "schedule.decay_ratio=0")
    assert {schedule(step) for step in range(10)} == {1.0}
