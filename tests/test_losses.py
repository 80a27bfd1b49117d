"""How far the losses of two runs agree: where they part first, and where most."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.errors import RunError
from cai.losses import LOSSES, Losses, Parting, compare_losses, read_losses

steady = settings(deadline=None, derandomize=True, database=None, max_examples=100)
places = st.tuples(st.integers(0, 20), st.sampled_from(LOSSES))
values = st.none() | st.floats(allow_nan=False, allow_infinity=False)
losses = st.dictionaries(places, values, max_size=12)


@steady
@given(losses)
def test_every_run_is_equal_to_itself(run: Losses) -> None:
    comparison = compare_losses(run, dict(run))
    assert (comparison.count, comparison.first, comparison.widest) == (len(run), None, None)
    assert comparison.within(0)


@steady
@given(losses, losses)
def test_the_first_parting_has_the_least_step_and_the_widest_the_most_distance(before: Losses, now: Losses) -> None:
    comparison = compare_losses(before, now)
    missing = object()
    parted = [key for key in {**before, **now} if before.get(key, missing) != now.get(key, missing)]
    assert (comparison.first is None) == (comparison.widest is None) == (not parted)
    if comparison.first and comparison.widest:
        assert (comparison.first.step, comparison.first.metric) == min(parted)
        distances = [Parting(*key, before.get(key), now.get(key)).relative for key in parted]
        assert comparison.widest.relative == max(distances)
        assert comparison.within(max(distances))
        assert not comparison.within(math.nextafter(max(distances), 0)) or max(distances) == 0


@steady
@given(losses.filter(bool), st.data())
def test_a_step_that_one_of_them_lacks_is_out_of_any_tolerance(run: Losses, data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(run)))
    less = {key: value for key, value in run.items() if key != gone}
    for comparison in (compare_losses(run, less), compare_losses(less, run)):
        assert comparison.first is not None
        assert (comparison.first.step, comparison.first.metric) == gone
        assert "missing" in str(comparison.first)
        assert not comparison.within(1e300)


def test_steps_that_only_one_has_can_be_left_out() -> None:
    before: Losses = {(step, "train/loss"): 1.0 for step in (2, 4, 6)}
    now: Losses = {(step, "train/loss"): 1.0 for step in (3, 4, 6, 9)}
    comparison = compare_losses(before, now, same_steps=False)
    assert (comparison.count, comparison.first, comparison.widest) == (2, None, None)
    parted = compare_losses(before, {**now, (6, "train/loss"): 1.5}, same_steps=False)
    assert parted.first == parted.widest == Parting(6, "train/loss", 1.0, 1.5)


@pytest.mark.parametrize("value", [1.0, 5.937272071839379, 1e-300, -2.5])
def test_the_next_number_is_already_another(value: float) -> None:
    now = math.nextafter(value, math.inf)
    comparison = compare_losses({(4, "train/loss"): value}, {(4, "train/loss"): now})
    assert comparison.first == Parting(4, "train/loss", value, now)
    assert not comparison.within(0)
    assert comparison.within(1e-15)
    assert repr(value) in str(comparison.first)
    assert repr(now) in str(comparison.first)


def test_no_number_is_another_value_than_any_number_and_than_none_at_all() -> None:
    key = (1, "train/loss")
    assert compare_losses({key: None}, {key: None}).first is None
    assert compare_losses({key: None}, {key: 0.0}).first is not None
    assert compare_losses({key: None}, {}).first is not None


@pytest.mark.parametrize(("before", "now", "share"), [(2.0, 3.0, 0.5), (4.0, 3.0, 0.25), (-2.0, -3.0, 0.5), (0.0, 0.0, 0)])
def test_the_distance_is_a_share_of_the_value_before(before: float, now: float, share: float) -> None:
    assert Parting(1, "val/loss", before, now).relative == share


def test_losses_are_read_by_step_and_metric_and_nothing_else_is(tmp_path: Path) -> None:
    entries = [{"step": 0, "val/loss": 5.5, "val/bits_per_byte": 1.0}, {"step": 2, "train/loss": None, "perf/mfu": 0.5}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert read_losses(tmp_path) == {(0, "val/loss"): 5.5, (2, "train/loss"): None}


def test_floats_come_back_from_the_file_to_the_bit(tmp_path: Path) -> None:
    numbers = [0.1, 5.937272071839379, 1e-310, 2 / 3]
    lines = [json.dumps({"step": step, "train/loss": number}) for step, number in enumerate(numbers)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert list(read_losses(tmp_path).values()) == numbers


def test_a_run_without_metrics_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"must have a metrics\.jsonl to compare with"):
        read_losses(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "val/loss": 5.5}\n{"step": 2, "tra')
    with pytest.raises(RunError, match=r"metrics\.jsonl"):
        read_losses(tmp_path)
