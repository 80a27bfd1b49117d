"""Time and speed are those of updates alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import cai
from cai.trainer.meter import Meter
from cai.trainer.progress import Progress
from tests.trainer.making import make_trainer, metrics, take_up


class Clock:
    """A clock that stands until it is told to go on."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("cai.trainer.meter.time.perf_counter", clock)
    return clock


@pytest.fixture
def meter(clock: Clock) -> Meter:
    return Meter(cai.compose(["device=cpu"]).device.build())


def test_laps_add_up_without_pauses(meter: Meter, clock: Clock) -> None:
    progress = Progress()
    meter.start(progress)
    clock.now += 2
    assert meter.lap(progress) == 2
    clock.now += 1
    with meter.paused():
        clock.now += 50
    clock.now += 3
    assert meter.lap(progress) == 4
    assert progress.seconds == 6


def test_a_lap_in_a_pause_ends_where_the_pause_began(meter: Meter, clock: Clock) -> None:
    progress = Progress()
    meter.start(progress)
    clock.now += 2
    with meter.paused():
        clock.now += 50
        assert meter.lap(progress) == 2
        clock.now += 7
    clock.now += 1
    assert meter.lap(progress) == 1


def test_a_pause_that_ends_in_an_error_is_over(meter: Meter, clock: Clock) -> None:
    progress = Progress()
    meter.start(progress)

    def fail() -> None:
        with meter.paused():
            clock.now += 9
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    clock.now += 1
    assert meter.lap(progress) == 1


def test_speed_is_tokens_by_seconds_since_the_last_look_even_after_going_on(meter: Meter, clock: Clock) -> None:
    progress = Progress(tokens=1000, seconds=10.0)
    meter.start(progress)
    clock.now += 2
    progress.tokens += 100
    assert meter.measure(progress)["perf/tokens_per_sec"] == 50
    clock.now += 1
    meter.lap(progress)  # as a save does
    clock.now += 1
    progress.tokens += 10
    assert meter.measure(progress)["perf/tokens_per_sec"] == 5
    assert progress.seconds == 14


def test_evaluation_sampling_and_saving_are_in_no_lap(tmp_path: Path, clock: Clock) -> None:
    def take(seconds: float) -> None:
        clock.now += seconds

    trainer = make_trainer(tmp_path, "trainer.max_steps=4", "trainer.eval_every=1", "trainer.log_every=1")
    trainer.model.register_forward_pre_hook(lambda *_: take(1.0 if trainer.model.training else 100.0))
    trainer.samples = lambda: take(1000.0) or []  # type: ignore[func-returns-value]
    synchronize = trainer.recorder.sync
    trainer.recorder.sync = lambda: take(10000.0) or synchronize()  # type: ignore[func-returns-value, method-assign]
    trainer.fit()
    assert trainer.reached()["seconds"] == 4
    speeds = [line["perf/tokens_per_sec"] for line in metrics(tmp_path) if "perf/tokens_per_sec" in line]
    assert speeds == [4 * 16] * 4


def test_the_seconds_of_all_parts_of_a_run_add_up(tmp_path: Path, clock: Clock) -> None:
    for steps in (3, 5):
        trainer = make_trainer(tmp_path, f"trainer.max_steps={steps}", "schedule=constant")
        trainer.model.register_forward_pre_hook(lambda model, _: setattr(clock, "now", clock.now + model.training))
        if trainer.checkpoints.last.is_file():
            take_up(trainer, trainer.checkpoints.last)
        clock.now += 500
        trainer.fit()
    assert trainer.reached()["seconds"] == 5
