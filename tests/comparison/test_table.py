"""Runs ranked and grouped."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from cai.comparison.runs import RunRecord
from cai.comparison.table import compare_runs
from cai.errors import ConfigError
from tests.comparison.making import record


def names(runs: list[RunRecord], sort: str | None = None) -> list[str]:
    return [run.name for group in compare_runs(runs, sort).groups for run in group.runs]


def test_runs_that_differ_in_their_seed_alone_are_one_group_with_mean_and_deviation() -> None:
    runs = [record(f"{lr}_{seed}", lr + seed, optimizer__lr=lr, seed=seed) for lr in (3.0, 2.0) for seed in (1, 2, 4)]
    comparison = compare_runs(runs)
    best, other = comparison.groups
    assert [run.name for run in best.runs] == ["2.0_1", "2.0_2", "2.0_4"]
    assert (best.differing, other.differing) == ({"optimizer.lr": 2.0}, {"optimizer.lr": 3.0})
    assert best.mean("best_val_loss") == pytest.approx(13 / 3)
    assert best.deviation("best_val_loss") == pytest.approx(statistics.stdev([3, 4, 6]))
    assert best.count == "3"
    assert comparison.differing == ["optimizer.lr"]
    assert comparison.best is runs[3]
    assert comparison.runs == runs


def test_the_same_seed_of_data_is_another_option() -> None:
    assert len(compare_runs([record("a"), record("b", data__seed=2)]).groups) == 2


def test_one_run_is_a_group_without_a_deviation() -> None:
    (group,) = compare_runs([record("a", 4.0)]).groups
    assert (group.mean("best_val_loss"), group.deviation("best_val_loss"), dict(group.differing)) == (4.0, None, {})


def test_a_group_counts_the_runs_that_came_furthest() -> None:
    runs = [record("a", 4.0), record("b", 9.0, seed=2, status="failed"), record("c", 5.0, seed=3)]
    runs.append(record("d", None, seed=4, status="waiting"))
    comparison = compare_runs(runs)
    (group,) = comparison.groups
    assert (group.mean("best_val_loss"), group.status, group.count) == (4.5, "finished", "2 of 4")
    assert comparison.best is runs[0]


def test_the_best_stand_first_and_those_without_an_end_last() -> None:
    ends = {"w": "waiting", "f": "failed", "i": "interrupted", "r": "running", "p": "pruned"}
    runs = [record(name, None if name == "w" else 0.5, status=end, x=name) for name, end in ends.items()]
    runs += [record("x", 3.0, x=1), record("n", None, x=2), record("y", 2.0, x=3), record("q", 0.4, x=4, status="pruned")]
    assert names(runs) == ["y", "x", "n", "q", "p", "r", "i", "f", "w"]
    assert compare_runs(runs).best is runs[7]


def test_the_best_is_of_the_group_with_the_best_mean_not_the_luckiest_seed() -> None:
    runs = [
        record("lucky", 1.0, x=1),
        record("unlucky", 5.0, x=1, seed=2),
        record("a", 2.1, x=2),
        record("b", 2.0, x=2, seed=2),
    ]
    assert compare_runs(runs).best is runs[3]


def test_without_any_loss_there_is_no_best() -> None:
    assert compare_runs([record("a", None), record("b", None, x=1)]).best is None
    assert compare_runs([]).best is None


@pytest.mark.parametrize("print_of", ["tokenizer", "corpus"])
def test_losses_of_other_tokenizers_or_texts_are_not_compared(print_of: str) -> None:
    prints = {"tokenizer": "t0", "corpus": "c0"}
    fewer_tokens = record("b", 4.5, x=1, facts={"fingerprints": prints | {print_of: "other", "ids": "i1"}})
    object.__setattr__(fewer_tokens, "best_bits_per_byte", 1.0)
    runs = [record("a", 4.0), fewer_tokens]
    comparison = compare_runs(runs)
    assert (comparison.ranked_by, comparison.best) == ("val/bits_per_byte", fewer_tokens)
    assert compare_runs(runs[:1]).ranked_by == "val/loss"
    assert compare_runs([*runs[:1], record("c", 5.0, x=1, facts={"fingerprints": {}})]).ranked_by == "val/loss"


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("optimizer.lr", ["c", "a", "b"]),
        ("lr", ["c", "a", "b"]),
        ("-lr", ["b", "a", "c"]),
        ("-parameters", ["b", "c", "a"]),
        ("answers/tel", ["a", "c", "b"]),
        ("-answers/tel", ["c", "a", "b"]),
        ("model.class", ["c", "a", "b"]),
        ("own", ["b", "a", "c"]),
        ("val_loss", ["a", "b", "c"]),
    ],
)
def test_groups_can_be_ordered_by_any_figure_tag_or_option(sort: str, expected: list[str]) -> None:
    runs = [
        record("a", 1.0, optimizer__lr=0.02, columns={"answers/tel": 0.1}, model__class="b"),
        record("b", 2.0, optimizer__lr=0.1, facts={"parameters": {"total": 10**6}}, model__class="c", model__own="x"),
        record(
            "c",
            3.0,
            optimizer__lr=1e-3,
            facts={"parameters": {"total": 10**5}},
            columns={"answers/tel": 0.2},
            model__class="a",
        ),
    ]
    assert names(runs, sort) == expected
    assert compare_runs(runs, sort).best is runs[0]


def test_an_unknown_order_is_refused_with_what_was_meant() -> None:
    runs = [record("a")]
    with pytest.raises(ConfigError, match="Did you mean tokens_per_sec"):
        compare_runs(runs, "token_per_sec")
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        compare_runs(runs, "optimiser.lr")
    with pytest.raises(ConfigError, match="best_val_loss"):
        compare_runs(runs, "가나다")


def ids(value: str | None, **facts: object) -> dict[str, Any]:
    return {"fingerprints": {} if value is None else {"ids": value}, **facts}


def test_runs_on_other_data_are_no_seeds_of_one_another() -> None:
    runs = [record("a", 1.0, facts=ids("i0")), record("b", 3.0, seed=2, facts=ids("i1")), record("c", 2.0, facts=ids("i1"))]
    waiting = record("w", None, seed=3, status="waiting", facts=ids(None))
    comparison = compare_runs([waiting, *runs])
    assert [[run.name for run in group.runs] for group in comparison.groups] == [["w", "a"], ["b", "c"]]
    assert [group.mean("best_val_loss") for group in comparison.groups] == [1.0, 2.5]


def test_a_seed_that_was_run_again_counts_once_the_newest() -> None:
    days = ("2026-01-02", "2026-01-01", "2026-01-03")
    runs = [record(day, loss, facts={"started": day}) for day, loss in zip(days, (4.0, 9.0, 5.0), strict=True)]
    comparison = compare_runs([*runs, record("other", 7.0, seed=2)])
    (group,) = comparison.groups
    assert [run.name for run in group.counted] == ["2026-01-03", "other"]
    assert (group.mean("best_val_loss"), group.deviation("best_val_loss")) == (6.0, pytest.approx(2**0.5))
    assert group.count == "2 (4 runs)"
    (group,) = compare_runs([*runs, record("other", 7.0, seed=2, status="failed")]).groups
    assert (group.count, group.deviation("best_val_loss")) == ("1 of 2 (4 runs)", None)


def test_means_of_other_numbers_of_seeds_are_told() -> None:
    groups = [record(f"{x}_{seed}", 4.0, x=x, seed=seed) for x, count in ((1, 3), (2, 3), (3, 1)) for seed in range(count)]
    (said,) = compare_runs(groups).warnings
    assert said.startswith("other numbers of seeds (3 seeds in 2 groups such as 1_0, 1 seed in 3_0)")
    assert compare_runs(groups[:6]).warnings == []
    unfinished = record("f", 4.0, x=4, status="failed")
    assert len(compare_runs([*groups[:6], unfinished]).warnings) == 1  # that it has not finished
