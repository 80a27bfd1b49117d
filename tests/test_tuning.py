"""The parts of a search, each by itself: values, curves, what Optuna is told, the folder."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cai.config.saved import FORMAT
from cai.config.tuning import METRICS, TuneOptions
from cai.errors import ConfigError, RunError
from cai.runs import alone, lock_of
from cai.tuning import folder
from cai.tuning.curve import Curve
from cai.tuning.folder import Question, begin, link_best, mark_pruned
from cai.tuning.report import describe_study, in_order
from cai.tuning.space import Choice, Dimension, Real, Space, Steps, Whole, interval, points_of, rounded, steps
from cai.tuning.study import Outcome, Point, Study

SPACE: Space = {"lr": Real(1e-4, 1e-2, log=True), "layers": Choice(("4", "6")), "warmup": Whole(0, 80, 20)}
OPTIONS = TuneOptions(
    space={},
    trials=9,
    jobs=1,
    study=None,
    metric="val/bits_per_byte",
    direction=None,
    startup=4,
    prune="median",
    prune_startup=2,
)


def never(_: str) -> bool:
    return False


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Study]]:
    """Opens studies, by default the same one; closes them at the end."""
    studies: list[Study] = []

    def open_study(space: Space = SPACE, name: str = "a?b%20", seed: int = 1, **options: Any) -> Study:
        (tmp_path / name).mkdir(exist_ok=True)
        with warnings.catch_warnings():
            studies.append(
                Study(tmp_path / name, space, OPTIONS.model_copy(update=options), seed=seed, warmup=options.get("warmup", 0))
            )
        return studies[-1]

    yield open_study
    for study in studies:
        study.close()


def drawn(dimension: Dimension, opened: Callable[..., Study], count: int = 12) -> list[str]:
    study = opened({"x": dimension}, name="drawn")
    return [study.ask(at_random=True).values["x"] for _ in range(count)]


@pytest.mark.parametrize(
    ("dimension", "allowed"),
    [
        (Choice(("null", "[1,2]", "a")), {"null", "[1,2]", "a"}),
        (Whole(2, 4), {"2", "3", "4"}),
        (Whole(0, 80, 20), {"0", "20", "40", "60", "80"}),
        (steps(0, 1, 0.1), {f"0.{digit}" for digit in range(10)}),
        (steps(0.3, 0.0, -0.1), {"0.1", "0.2", "0.3"}),
        (steps(100, 0, -50), {"50", "100"}),
    ],
)
def test_values_are_those_of_the_dimension(dimension: Dimension, allowed: set[str], opened: Callable[..., Study]) -> None:
    found = set(drawn(dimension, opened))
    assert found <= allowed
    assert len(found) > 1
    assert set(dimension.probes()) <= allowed
    assert points_of({"x": dimension}) == len(allowed)


@pytest.mark.parametrize(("low", "high", "log"), [(1e-4, 1e-2, True), (0.9999, 0.99999, False), (-1.0, 1.0, False)])
def test_a_drawn_number_is_short_and_inside(low: float, high: float, log: bool, opened: Callable[..., Study]) -> None:
    found = [float(text) for text in drawn(Real(low, high, log), opened)]
    assert all(low <= value <= high for value in found)
    assert len(set(found)) == len(found)
    assert all(len(f"{value:.12g}".lstrip("-0.").replace(".", "")) <= 9 for value in found)


def test_rounding_keeps_four_digits_and_the_ends() -> None:
    assert rounded(0.00031622776, 1e-4, 1e-2) == 0.0003162
    assert rounded(0.123456789, 0.0, 2.0) == 0.1235
    assert rounded(0.123456789, 0.12, 0.13) == 0.12346
    assert rounded(0.12345671, 0.1234567, 0.1234568) == pytest.approx(0.12345671, abs=1e-10)
    assert rounded(0.1234, 0.12341, 0.2) == 0.12341
    assert rounded(0.0, -1.0, 1.0) == 0.0


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: interval(1, 8, log=False, takes_whole=never), Whole(1, 8)),
        (lambda: interval(1.0, 8.0, log=True, takes_whole=lambda low: low == "1"), Whole(1, 8, log=True)),
        (lambda: interval(1.0, 8.0, log=False, takes_whole=never), Real(1.0, 8.0)),
        (lambda: interval(0.5, 8.0, log=False, takes_whole=lambda _: True), Real(0.5, 8.0)),
        (lambda: steps(0, 100, 20), Whole(0, 80, 20)),
        (lambda: steps(0, 101, 20), Whole(0, 100, 20)),
        (lambda: steps(0, 0.8, 0.1), Steps(Decimal("0"), Decimal("0.1"), 8)),
    ],
)
def test_intervals_and_ranges_become_dimensions(made: Callable[[], Dimension], expected: Dimension) -> None:
    assert made() == expected


@pytest.mark.parametrize(
    ("made", "part"),
    [
        (lambda: interval(2.0, 1.0, log=False, takes_whole=never), "the lower one first"),
        (lambda: interval(1.0, 1.0, log=False, takes_whole=never), "the lower one first"),
        (lambda: interval(float("nan"), 1.0, log=False, takes_whole=never), "two ends"),
        (lambda: interval(0.0, float("inf"), log=False, takes_whole=never), "two ends"),
        (lambda: interval(0.0, 1.0, log=True, takes_whole=never), "above 0"),
        (lambda: steps(0, 10, 0), "other than 0"),
        (lambda: steps(10, 0, 1), "must hold a number"),
    ],
)
def test_what_is_no_interval_or_range_is_a_rule(made: Callable[[], Dimension], part: str) -> None:
    with pytest.raises(ValueError, match=part):
        made()


def run_to_end(study: Study, score: Callable[[Mapping[str, str]], float | None], until: int) -> list[Mapping[str, str]]:
    """Ends what is open and asks for more; ``None`` from ``score`` fails. Returns the values tried."""
    waiting = study.unfinished()
    while waiting or len(study.outcomes()) < until:
        point = waiting.pop(0) if waiting else study.ask()
        if (value := score(point.values)) is None:
            study.fail(point.number, "boom")
        else:
            study.finish(point.number, value, step=7)
    return [one.point.values for one in study.outcomes()]


def score(values: Mapping[str, str]) -> float | None:
    return None if values["warmup"] == "40" else abs(float(values["lr"]) - 0.003) + int(values["layers"])


@pytest.mark.slow
def test_a_study_that_was_interrupted_proposes_what_one_in_one_go_does(opened: Callable[..., Study]) -> None:
    whole = run_to_end(opened(name="whole"), score, until=12)
    assert len({tuple(values.values()) for values in whole}) > 6
    for until in (3, 3, 6, 7):
        run_to_end(opened(), score, until)
    opened().ask()  # and nobody is told what became of it
    assert run_to_end(opened(), score, until=12) == whole
    assert run_to_end(opened(name="other", seed=2), score, until=3) != whole[:3]


def test_a_trial_killed_while_its_values_were_drawn_gets_the_others(
    opened: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_to_end(opened(), score, until=2)

    def die(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Choice, "draw", die)
        with pytest.raises(KeyboardInterrupt):
            opened().ask()
    assert len(opened().outcomes()) == 2, "it has not all of its values yet"
    (point,) = opened().unfinished()
    assert point.number == 2
    assert point.values.keys() == SPACE.keys()
    assert [one.point for one in opened().outcomes()][2] == point


def test_what_became_of_trials_is_kept(opened: Callable[..., Study]) -> None:
    study = opened()
    for what in (
        lambda n: study.finish(n, 2.0, 400),
        lambda n: study.fail(n, "boom"),
        lambda n: study.fail(n, "no", skipped=True),
        lambda n: study.prune(n, "worse"),
        lambda n: study.finish(n, 1.0, 300),
        lambda n: None,
    ):
        what(study.ask().number)
    assert [(one.status, one.value, one.step, one.error) for one in opened().outcomes()] == [
        ("finished", 2.0, 400, None),
        ("failed", None, None, "boom"),
        ("skipped", None, None, "no"),
        ("pruned", None, None, "worse"),
        ("finished", 1.0, 300, None),
        ("open", None, None, None),
    ]
    best = opened().best()
    assert best is not None
    assert best.point.number == 4
    assert [point.number for point in opened().unfinished()] == [5]


def test_the_largest_value_is_best_where_more_is_better(opened: Callable[..., Study]) -> None:
    study = opened(metric="answers/tel")
    for value in (0.1, 0.5, 0.3):
        study.finish(study.ask().number, value, 1)
    best = study.best()
    assert best is not None
    assert best.value == 0.5
    assert METRICS["answers/invented"] == "minimize"


def test_a_trial_is_pruned_once_it_is_worse_than_the_median_of_enough_others(opened: Callable[..., Study]) -> None:
    study = opened(warmup=20)
    for value in (1.0, 2.0):
        number = study.ask().number
        assert study.report(number, [(0, 9.0), (10, value), (20, value)]) is None
        study.finish(number, value, 20)
    number = study.ask().number
    assert study.report(number, [(0, 99.0), (10, 99.0)]) is None, "not before the warmup"
    assert study.report(number, [(20, 1.4)]) is None, "the median is 1.5"
    number = study.ask().number
    assert study.report(number, [(0, 9.0)]) is None
    again = opened(warmup=20)
    (_, point) = again.unfinished()
    assert again.report(point.number, [(0, 9.0), (10, 1.0)]) is None, "what is known already is no news"
    assert opened(warmup=20, prune=None).unfinished()
    number = study.ask().number
    assert study.report(number, [(10, 3.0), (20, 1.6), (30, 1.0)]) == 20
    unpruned = opened(warmup=20, prune=None)
    assert unpruned.report(unpruned.ask().number, [(20, 99.0)]) is None


@pytest.mark.slow
def test_importances_are_told_of_enough_trials(opened: Callable[..., Study]) -> None:
    study = opened(startup=30)
    run_to_end(study, lambda values: float(values["layers"]) + float(values["lr"]), until=9)
    assert study.importances() == {}
    run_to_end(study, lambda values: float(values["layers"]) + float(values["lr"]), until=12)
    found = study.importances()
    assert found.keys() == SPACE.keys()
    assert sum(found.values()) == pytest.approx(1.0)


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("something else " * 999)
    with pytest.raises(RunError, match=r"study\.db must be a study of Optuna's"):
        Study(tmp_path, SPACE, OPTIONS, seed=1, warmup=0)


def test_a_curve_is_read_as_it_grows_and_begins_anew_when_it_is_cut_back(tmp_path: Path) -> None:
    curve, path = Curve(tmp_path, "val/loss"), tmp_path / "metrics.jsonl"
    assert curve.news() == []
    lines = [{"step": 0, "val/loss": 3.0}, {"step": 1, "train/loss": 9.0}, {"step": 2, "val/loss": None}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 3, "val/lo')
    assert curve.news() == [(0, 3.0)]
    assert curve.news() == []
    with path.open("a") as file:
        file.write('ss": 2.0}\n')
    assert curve.news() == [(3, 2.0)]
    assert curve.best("minimize") == (2.0, 3)
    assert curve.best("maximize") == (3.0, 0)
    path.write_text('{"step": 0, "val/loss": 4.0}\n{"val/loss"\n')
    assert curve.news() == [(0, 4.0)]
    assert curve.values == {0: 4.0}
    assert Curve(tmp_path, "val/bits_per_byte").best("minimize") is None


def question(**changes: Any) -> Question:
    config = {"seed": 1, "model": {"n_layer": 4, "n_head": 2}, "device": {"threads": 1}, "data": {"path": "a.txt"}}
    for path, value in changes.pop("config", {}).items():
        group, _, option = path.rpartition(".")
        (config[group] if group else config)[option] = value
    facts = {"space": {"model.n_layer": "choice(4,6)"}, "metric": "val/loss", "direction": "minimize"}
    return Question(**{**facts, **changes}, config=config)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes", [{}, {"config": {"device.threads": 8}}, {"config": {"data.path": "b"}}, {"config": {"model.n_layer": 8}}]
)
def test_the_same_question_goes_on_whatever_computes_it(changes: dict[str, Any], tmp_path: Path) -> None:
    assert not begin(tmp_path, question())
    assert begin(tmp_path, question(**changes))
    assert question().fingerprint == question(**changes).fingerprint


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"config": {"model.n_head": 4}}, "`model.n_head` must stay 2 as in the study, but is 4."),
        ({"space": {}}, "`model.n_layer` must stay searched over choice(4,6) as in the study, but is 4."),
        ({"space": {"model.n_layer": "choice(4)", "seed": "1,2"}}, "`seed` must stay 1 as in the study, but is searched"),
        ({"metric": "val/bits_per_byte"}, "`tune.metric` must stay val/loss"),
        ({"direction": "maximize"}, "`tune.direction` must stay minimize"),
    ],
)
def test_another_question_is_another_study(changes: dict[str, Any], part: str, tmp_path: Path) -> None:
    begin(tmp_path, question())
    before = (tmp_path / "tune.json").read_bytes()
    with pytest.raises(ConfigError) as caught:
        begin(tmp_path, question(**changes))
    assert part in str(caught.value)
    assert "tune.study=<name>" in str(caught.value)
    assert (tmp_path / "tune.json").read_bytes() == before
    assert question().fingerprint != question(**changes).fingerprint


def test_the_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RunError, match="holds something else"):
        begin(tmp_path, question())
    (tmp_path / "tune.json").write_text("{")
    with pytest.raises(RunError, match=r"tune\.json must say what is searched"):
        begin(tmp_path, question())


def test_only_one_works_on_a_study(tmp_path: Path) -> None:
    with (
        alone(tmp_path, "study"),
        pytest.raises(RunError, match="another process is at work on that study"),
        alone(tmp_path, "study"),
    ):
        raise AssertionError
    with alone(tmp_path, "study"):
        pass


def test_the_best_is_a_link_that_moves_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("0_a", "1_b"):
        (tmp_path / "study" / name).mkdir(parents=True)
        assert link_best(tmp_path / "study", name) == tmp_path / "study" / "best"
    (tmp_path / "study").rename(tmp_path / "elsewhere")
    assert os.readlink(tmp_path / "elsewhere" / "best") == "1_b"
    assert (tmp_path / "elsewhere" / "best").is_dir()

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert link_best(tmp_path / "elsewhere", "0_a").read_text() == "0_a\n"


def test_a_run_is_marked_as_pruned_only_if_it_was_stopped(tmp_path: Path) -> None:
    def write(status: str) -> None:
        (tmp_path / "run.json").write_text(json.dumps({"status": status, "steps": 5, "이름": "값"}))

    for status, marked in [("interrupted", True), ("running", True), ("finished", False), ("failed", False)]:
        write(status)
        assert mark_pruned(tmp_path, "worse") is marked
        facts = json.loads((tmp_path / "run.json").read_text())
        assert facts["status"] == ("pruned" if marked else status)
        assert facts.get("pruned") == ("worse" if marked else None)
        assert facts["steps"] == 5
    write("interrupted")
    with lock_of(tmp_path).acquire(timeout=0):  # somebody has taken it up
        assert mark_pruned(tmp_path, "worse") is False
    assert folder.QUESTION == "tune.json"
    assert FORMAT >= 6


def outcome(number: int, status: str, value: float | None = None, error: str | None = None) -> Outcome:
    return Outcome(Point(number, {"optimizer.lr": f"0.{number}"}), status, value, None if value is None else 1200, error)


def test_the_table_has_the_best_first_and_says_why_others_failed() -> None:
    outcomes = [
        outcome(0, "failed", error="the loss is not finite\nand more"),
        outcome(1, "finished", 2.5),
        outcome(2, "skipped", error="no"),
        outcome(3, "finished", 1.25),
        outcome(4, "pruned", error="worse"),
        outcome(5, "open"),
    ]
    said = describe_study(Path("outputs/run/tune_x"), outcomes, "val/loss", "minimize", {"optimizer.lr": 0.9, "seed": 0.1})
    rows = [line.split() for line in said.splitlines()[2:7]]
    assert [row[0] for row in rows] == ["3", "1", "0", "4", "5"]
    assert rows[0] == ["3", "finished", "1.2500", "1,200", "0.3"]
    assert rows[2] == ["0", "failed", "-", "-", "0.0", "the", "loss", "is", "not", "finite"]
    assert "trials      5: 2 finished, 1 failed, 1 pruned, 1 open; 1 points passed over" in said
    assert "importance  optimizer.lr 90%, seed 10%" in said
    assert [one.point.number for one in in_order(outcomes, "maximize")][:2] == [1, 3]
    assert "trials      0: none" in describe_study(Path("x"), [], "val/loss", "minimize", {})
