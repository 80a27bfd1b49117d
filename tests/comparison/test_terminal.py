"""The table fits the terminal, lines up, and leaves out what says least."""

from __future__ import annotations

import dataclasses

import pytest

from cai.columns import width as width_of
from cai.comparison.runs import RunRecord
from cai.comparison.table import compare_runs
from cai.comparison.terminal import in_short, shown_values, terminal_table
from tests.comparison.making import record


def table(runs: list[RunRecord], width: int = 200) -> list[str]:
    return terminal_table(compare_runs(runs), width).splitlines()


def seeds(*losses: float, **options: object) -> list[RunRecord]:
    return [record(f"{options}_{number}", loss, seed=number, **options) for number, loss in enumerate(losses)]  # type: ignore[arg-type]


RUNS = [
    record(f"{number}_model.n_layer-{layers}_optimizer.lr-{rate}_data.seed-{seed}", 3 + number / 7, **options)  # type: ignore[arg-type]
    for number, (layers, rate, seed) in enumerate([(4, 0.01, 1), (4, 0.003, 1), (6, 0.01, 2)])
    for options in [{"model__n_layer": layers, "optimizer__lr": rate, "data__seed": seed}]
]


def test_a_line_for_each_group_with_the_options_that_differ_and_the_best_marked() -> None:
    heading, *lines, note = table(RUNS)
    assert heading.split()[:4] == ["run", "n_layer", "data.seed", "lr"]
    figures = "best val loss  val loss  best bits/byte  bits/byte  tokens  parameters  tokens/s  time  status"
    assert " ".join(heading.split()[4:]) == " ".join(figures.split())
    assert [line.split()[0] for line in lines] == ["*", *(run.name for run in RUNS[1:])]
    assert " ".join(lines[0].split()[2:]) == "4 1 0.01 3.0000 3.0000 2.4000 2.4000 768 9.62 k 384 2 s finished"
    assert note == "* best by val/loss"


def test_groups_show_mean_deviation_and_count() -> None:
    heading, first, second, _ = table([*seeds(3.0, 3.1, 3.2, x=1), *seeds(4.0, x=2)])
    assert heading.split()[-2:] == ["status", "seeds"]
    assert "3.1000 ± 0.1000" in first
    assert first.split()[-2:] == ["finished", "3"]
    assert second.split()[-2:] == ["finished", "1"]
    assert second.count("±") == 0


def test_other_tokenizers_are_compared_by_bits_per_byte_alone() -> None:
    runs = [record("a"), record("b", x=1, facts={"fingerprints": {"tokenizer": "t1"}})]
    text = "\n".join(table(runs))
    assert "best bits/byte" in text
    assert "val loss" not in text
    assert "* best by val/bits_per_byte" in text


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 300])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = table(RUNS, width)
    assert max(map(width_of, lines[:4])) <= width
    text = "\n".join(lines)
    assert all(word in text for word in ("run", "n_layer", "best val loss")), text
    assert ("left out for want of width" in text) == (width < 160)
    assert len({line.split()[0] for line in lines[1:4]}) == 3


def test_what_is_the_same_in_every_line_goes_first() -> None:
    def shown(runs: list[RunRecord]) -> set[tuple[bool, bool]]:
        """Whether status, and whether time is there, at all widths."""
        headings = [table(runs, width)[0].split() for width in range(50, 160, 4)]
        return {("status" in heading, "time" in heading) for heading in headings}

    same_status = [record(f"{n}", n, x=n, facts={"seconds": float(n)}) for n in (1.0, 2.0)]
    same_time = [record("a", 1.0), record("b", 2.0, x=2, status="failed")]
    assert shown(same_status) == {(False, False), (False, True), (True, True)}
    assert shown(same_time) == {(True, False), (True, True)}


def test_the_newest_loss_goes_where_it_is_the_best() -> None:
    headings = [table(RUNS, width)[0] for width in range(60, 160, 4)]
    assert all("val loss" not in h.replace("best val loss", "") for h in headings if "bits/byte" not in h)
    assert "val loss" in table(RUNS, 200)[0].replace("best val loss", "")


def test_options_go_when_nothing_else_is_left_the_last_first() -> None:
    lines = table(RUNS, 44)
    assert "n_layer" in lines[0]
    assert " lr" not in lines[0]
    assert lines[-1].startswith("left out for want of width: data.seed, lr, val loss")


def test_columns_line_up_by_what_is_seen() -> None:
    runs = [record("실험_하나", 3.0, data__path="글/가온솔병원.txt"), record("b", 4.0, data__path="my.txt")]
    heading, first, second, _ = table(runs)
    place = width_of(heading[: heading.index("best val loss")]) + len("best val loss")
    for line, loss in ((first, "3.0000"), (second, "4.0000")):
        assert width_of(line[: line.index(loss)]) + len(loss) == place
    assert "가온솔병원" in first


def test_a_name_of_letters_apart_takes_the_columns_of_its_syllables() -> None:
    import unicodedata

    apart = unicodedata.normalize("NFD", "한글")
    assert len(apart) == 6
    assert "한글" in table([record(apart)])[1]


def test_a_cut_name_still_tells_runs_apart() -> None:
    stamps = [record(f"2026-01-01_00-00-{number:02}", 3.0 + number, x=number, y=10.0**number) for number in range(3)]
    lines = table(stamps, 50)
    assert len({next(word for word in line.split() if "00-" in word) for line in lines[1:4]}) == 3


@pytest.mark.parametrize(
    ("values", "path", "shown"),
    [
        ([0.01, 0.003], "lr", ["0.01", "0.003"]),
        ([0.00123456789, 0.1], "lr", ["0.00123", "0.1"]),
        ([0.001234567, 0.001234568], "lr", ["0.001234567", "0.001234568"]),
        ([1e-05, 3e-4], "lr", ["1e-05", "0.0003"]),
        ([True, False, None], "x", ["true", "false", "-"]),
        (["cai.model.modern.ModernConfig", "cai.model.gpt2.GPT2Config"], "model.class", ["modern", "gpt2"]),
        (["a.one.XConfig", "b.one.XConfig"], "model.class", ["a.one.XConfig", "b.one.XConfig"]),
        (["a\nb", "\t"], "x", ["a\\nb", "\\t"]),
        (["/very/long/path/to/some/folder/one.txt"], "data.path", ["/very/long/…lder/one.txt"]),
        (["auto", 64, "null"], "x", ["auto", "64", "null"]),
        ([], "x", []),
    ],
)
def test_values_are_as_short_as_they_can_be(values: list[bool | float | str | None], path: str, shown: list[str]) -> None:
    assert shown_values(values, path) == shown


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (768, "768"),
        (999.4, "999"),
        (999.6, "1.00 k"),
        (24_175, "24.2 k"),
        (999_600, "1.00 M"),
        (9_133_071, "9.13 M"),
        (3e9, "3.00 G"),
    ],
)
def test_numbers_in_short(number: float, text: str) -> None:
    assert in_short(number) == text


def test_runs_without_any_figure_are_listed_too() -> None:
    run = record("a", None, status="waiting", facts={"parameters": {}, "steps": None, "seconds": None, "ended": None})
    heading, line = table([dataclasses.replace(run, steps=None, tokens=None, tokens_per_sec=None, seconds=None)])[:2]
    assert "best val loss" in heading
    assert " ".join(line.split()) == "a - - - - - - - - waiting"


def test_two_hundred_lines_are_two_hundred_lines() -> None:
    assert len(table([record(f"{number}", number + 1.0, x=number) for number in range(200)])) == 202


def test_why_runs_failed_is_told_below_the_table_in_a_line_each() -> None:
    runs = [record("good", 3.0)]
    for number in range(7):
        failed = record(f"{number}_{'long_' * 20}", None, status="failed", x=number)
        runs.append(dataclasses.replace(failed, error=f"TrainingError: train/loss\n  is not\x1b[2J finite {'!' * 200}"))
    lines = table(runs, 90)
    assert lines[-7].startswith("left out for want of width")
    assert lines[-1] == "and 2 more failed"
    assert all("… failed: TrainingError: train/loss is not\\x1b[2J finite" in line for line in lines[-6:-1])
    assert [line[0] for line in lines[-6:-1]] == list("01234")
    assert {width_of(line) for line in lines[-6:-1]} == {90}
    assert "more failed" not in "\n".join(table(runs[:6], 90))


def test_nothing_in_the_table_can_move_the_cursor() -> None:
    evil = "\x1b[2J\n"
    runs = [record(f"{evil}{n}", n, x=evil * n, status=f"finished{evil}", **{f"y{evil}": n}) for n in (1, 2)]
    lines = table(runs)
    assert len(lines) == 4
    assert "\x1b" not in "".join(lines)
    assert "finished\\x1b[2J\\n" in lines[1]
