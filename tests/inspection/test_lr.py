"""The range test: what its curve looks like, what it advises, and that it leaves nothing behind but its page."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cai.cli import main
from cai.errors import TrainingError
from cai.inspection.lr_page import page_of
from cai.inspection.lr_plot import HEIGHT, WIDTH, marks, table, text_plot
from cai.inspection.lr_range import Curve, range_test, suggest, symptoms
from tests.comparison.browser import browser, find_browser
from tests.conftest import TINY
from tests.trainer.making import OPENED, make_trainer

LR = 0.01


@pytest.fixture(scope="module", autouse=True)
def _close() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Curve:
    """Of a one-layer GPT-2, from rates that are far too low to ones that are far too high."""
    updater = make_trainer(tmp_path_factory.mktemp("tiny")).updater
    return range_test(updater, LR, 1e-7, 1e3, 80)


def valley(start: float = 4.0, least: float = 2.0, begins: float = 1e-3, ends: float = 1.0) -> Curve:
    """A loss that falls evenly over two decades, stays, and shoots up."""
    rates = [10 ** (-6 + number / 10) for number in range(90)]

    def loss(rate: float) -> float:
        share = min(1.0, max(0.0, math.log10(rate / begins) / 2))
        return start - share * (start - least) + (3 * start if rate > ends else 0.0)

    return Curve(start, rates, [loss(rate) for rate in rates], ran_away=False)


def test_a_rate_that_is_too_low_does_nothing_and_one_too_high_does_harm(tiny: Curve) -> None:
    by_rate = dict(zip(tiny.rates, tiny.smooth, strict=True))
    low = [loss for rate, loss in by_rate.items() if rate < 1e-5]
    assert low == pytest.approx([tiny.start] * len(low), rel=1e-3)  # a plateau
    assert min(by_rate.values()) < 0.9 * tiny.start  # rates that work
    assert tiny.losses[-1] > min(by_rate.values()) * 1.1  # divergence
    advised = suggest(tiny)
    assert advised.rate is not None
    assert 1e-5 < advised.lowest < advised.rate <= advised.highest < (advised.diverges or math.inf)
    assert LR / 10 < advised.rate < LR * 10


def test_a_rate_outside_of_the_range_is_told(tiny: Curve) -> None:
    advised = suggest(tiny)
    names = {lr: [told.name for told in symptoms(tiny, advised, lr)] for lr in (1e-6, advised.rate or 0, 500.0)}
    assert list(names.values()) == [["rate_too_low"], [], ["rate_too_high"]]
    (low,) = symptoms(tiny, advised, 1e-6)
    assert f"Try optimizer.lr={advised.rate:.2g}." in low.sentence


def test_the_rates_are_a_geometric_series_and_groups_keep_their_ratio(tmp_path: Path) -> None:
    updater = make_trainer(tmp_path, "optimizer=muon", f"optimizer.lr={LR}").updater
    peaks, schedule = list(updater.peak_lrs), updater.schedule
    assert len(set(peaks)) > 1
    seen: list[list[float]] = []
    original = updater.update

    def update(step: int) -> Any:
        seen.append(updater.lrs(step))
        return original(step)

    updater.update = update  # type: ignore[method-assign]
    curve = range_test(updater, LR, 1e-4, 1e-2, 21)
    assert curve.rates == pytest.approx([10 ** (-4 + number / 10) for number in range(21)])
    for rate, lrs in zip(curve.rates, seen, strict=True):
        assert lrs == pytest.approx([peak * rate / LR for peak in peaks])
    assert updater.schedule is schedule


def test_the_loss_is_that_of_the_same_validation_rows(tmp_path: Path) -> None:
    updater = make_trainer(tmp_path, "model.dropout=0.3").updater
    curve = range_test(updater, LR, 1e-30, 2e-30, 20)  # with these nothing moves: neither weights nor the loss
    assert set(curve.losses) == {curve.start}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_it(tmp_path: Path, value: float) -> None:
    updater = make_trainer(tmp_path).updater
    original = updater.accumulate

    def accumulate(batch: Any, step: int) -> Tensor:
        return original(batch, step) * (value if step == 12 else 1.0)

    updater.accumulate = accumulate  # type: ignore[method-assign]
    curve = range_test(updater, LR, 1e-6, 1e-2, 40)
    assert (len(curve.losses), len(curve.rates), curve.ran_away) == (12, 12, True)
    assert suggest(curve).diverges == curve.rates[-1] or suggest(curve).rate is None


def test_it_ends_when_the_loss_has_run_away(tmp_path: Path) -> None:
    updater = make_trainer(tmp_path, "optimizer=sgd", "trainer.grad_clip=0").updater
    curve = range_test(updater, LR, 1.0, 1e9, 60)
    assert curve.ran_away
    assert len(curve.losses) < 60


def test_text_without_a_target_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    updater = make_trainer(tmp_path).updater
    updater.dataset.ignore_index = 0
    ids = torch.zeros(1, 4).long().numpy()
    monkeypatch.setattr(updater.dataset, "val_batches", lambda size: iter([(ids, ids)]))
    with pytest.raises(TrainingError, match=r"must have a target that counts"):
        range_test(updater, LR, 1e-3, 1e-2, 20)


def test_what_is_advised_lies_where_the_fall_is_nearly_done() -> None:
    advised = suggest(valley())
    assert advised.rate == pytest.approx(10**-1.2, rel=0.3)  # nine tenths of the way from 1e-3 to 1e-1
    assert advised.lowest == pytest.approx(10**-2.8, rel=0.3)
    assert advised.highest == pytest.approx(1.0, rel=0.5)
    assert advised.diverges == pytest.approx(1.0, rel=0.5)


def test_a_single_update_that_stands_out_changes_nothing() -> None:
    curve = valley()
    losses = list(curve.losses)
    losses[20], losses[45] = 0.1, 9.0
    assert suggest(dataclasses.replace(curve, losses=losses)) == suggest(curve)


def test_a_loss_that_falls_nowhere_or_is_still_falling_is_told() -> None:
    flat = Curve(4.0, [1e-3 * 1.1**n for n in range(60)], [4.0 - 1e-3 * (n % 3) for n in range(60)], ran_away=False)
    assert suggest(flat).rate is None
    (told,) = symptoms(flat, suggest(flat), LR)
    assert told.name == "no_rate"
    assert "did the loss fall by more than 2.0%" in told.sentence
    whole = valley()
    cut = Curve(whole.start, whole.rates[:45], whole.losses[:45], ran_away=False)
    (told,) = symptoms(cut, suggest(cut), 0.01)
    assert told.name == "rate_beyond"
    assert "Ask again with highest=" in told.sentence


def test_the_plot_has_the_shape_of_the_curve() -> None:
    curve = valley()
    found = marks(curve, suggest(curve), 0.02)
    lines = text_plot(curve, found).splitlines()
    drawn = [line[10:].ljust(WIDTH) for line in lines[:HEIGHT]]
    assert max(map(len, lines)) <= 80
    rows = [[number for number in range(HEIGHT) if drawn[number][column] != " "] for column in range(WIDTH)]
    assert all(len(row) == 1 for row in rows)  # a point in each column
    assert rows[0][0] < rows[WIDTH // 2][0] < HEIGHT - 1 > rows[-1][0] == 0
    assert sum(row == [HEIGHT - 1] for row in rows) > 5
    signs = lines[HEIGHT + 1][10:]
    assert abs(signs.index("▲") / (WIDTH - 1) - (math.log10(suggest(curve).rate or 1) + 6) / 8.9) < 0.02
    assert "△" in signs
    said = table(found)
    assert re.search(r"0\.02 .* △ optimizer\.lr as it is", said)
    assert said.index("begins to fall") < said.index("advised") < said.index("diverges")


EVIL = "cai train name='</pre><script>document.title=1</script>'"


def test_the_page_stands_by_itself_and_runs_nothing() -> None:
    curve = valley()
    page = page_of(curve, marks(curve, suggest(curve), 0.02), ["<b>said</b>"], [EVIL])
    assert "<script" not in page
    assert "&lt;b&gt;said" in page
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=", page)
    assert page.count("<circle") == len(curve.losses)


@pytest.mark.skipif(find_browser() is None, reason="no Chromium")
def test_a_browser_draws_every_point_within_the_frame(tmp_path: Path) -> None:
    curve = valley()
    (tmp_path / "lr.html").write_text(page_of(curve, marks(curve, suggest(curve), 0.02), [], [EVIL]), encoding="utf-8")
    with browser() as page:
        page.look(900, 700)
        page.open((tmp_path / "lr.html").as_uri())
        boxes = "[...document.querySelectorAll('svg circle, svg text')].map(e => e.getBoundingClientRect())"
        frame = "document.querySelector('svg').getBoundingClientRect()"
        outside = (
            f"{boxes}.filter(b => b.left < {frame}.left - 1 || b.right > {frame}.right + 1 || b.bottom > {frame}.bottom)"
        )
        assert page.run(f"{outside}.length") == 0
        assert page.run("document.querySelectorAll('svg circle').length") == len(curve.losses)
        assert page.run("document.title") == "Learning-rate range test"
        assert (page.errors, page.requests) == ([], [(tmp_path / "lr.html").as_uri()])


def test_the_command_says_what_to_do_and_writes_only_its_page(
    scratch: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*TINY, "trainer.ema_decay=0.9", "trainer.on_nonfinite=skip", "name=mine"]
    assert main(["inspect", "lr", *words, "optimizer.lr=1e-7", "lowest=1e-5", "highest=100", "steps=30"]) == 0
    said = capsys.readouterr().out
    assert "optimizer.lr=1e-07 is below the useful range" in said
    advised = re.search(r"^  cai train (.*) optimizer\.lr=([\d.e-]+)$", said, re.MULTILINE)
    assert advised
    assert advised[1].split() == words
    low, middle, high = (float(rate) for rate in re.findall(r"optimizer\.lr=([\d.e-]+),([\d.e-]+),([\d.e-]+)$", said)[0])
    assert low < middle == float(advised[2]) < high
    page = Path("outputs/mine/lr.html")
    assert f"page       {page}" in said
    assert [path for path in Path("outputs").iterdir() if path.name != "cache"] == [Path("outputs/mine")]
    assert list(Path("outputs/mine").iterdir()) == [page]
    assert main(["inspect", "lr", *words, "steps=20", "out=there/x.html"]) == 0
    assert Path("there/x.html").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["steps=3"], "`steps` must be"),
        (["lowest=1", "highest=0.1"], "lowest must be below highest (0.1), but is 1."),
        (["optimizer.lr=fast"], "`optimizer.lr` must be"),
        (["-m", "optimizer.lr=1,2"], "`-m` must go with train"),
    ],
)
def test_a_wrong_word_is_refused(scratch: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["inspect", "lr", *words]) == 2
    assert said in capsys.readouterr().err
    assert not Path("outputs").exists()
