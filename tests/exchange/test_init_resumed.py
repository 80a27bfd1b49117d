"""A run that did not begin at random, gone on with and repeated."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from cai.cli import main
from cai.sweeps import Sweep
from tests.conftest import run_directories, train_tiny
from tests.exchange.pretrained import (
    FINE,
    TEN_STEPS,
    WITHOUT_MODEL,
    save_pretrained,
)
from tests.resuming import assert_equal_runs, cut_short, facts_of, steady_code, train_cut

pytestmark = pytest.mark.usefixtures("scratch")


@pytest.fixture(autouse=True)
def _steady_code(monkeypatch: pytest.MonkeyPatch) -> None:
    steady_code(monkeypatch)


def test_a_run_that_was_cut_goes_on_to_the_bit_without_what_it_began_with() -> None:
    save_pretrained(Path("hf"), "llama")
    words = (*WITHOUT_MODEL, *FINE, *TEN_STEPS, "trainer.ema_decay=0.9")
    whole = train_tiny(tiny=words)
    cut = train_cut(7, tiny=words)
    shutil.rmtree("hf")
    assert main(["resume", str(cut)]) == 0
    assert_equal_runs(cut, whole)


def test_a_sweep_needs_it_for_jobs_alone_that_have_not_begun(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pretrained(Path("hf"), "llama")
    words = (*WITHOUT_MODEL, *FINE, *TEN_STEPS, "hydra/launcher=basic")
    with cut_short(1):
        assert main(["train", "-m", *words, "seed=1,2"]) == 130
    shutil.rmtree("hf")
    (sweep,) = (Sweep.load(path.parent) for path in Path("outputs").glob("**/sweep.json"))
    assert [sweep.status(number) for number in range(2)] == ["interrupted", "waiting"]
    capsys.readouterr()
    assert main(["resume", str(sweep.directory)]) == 2
    assert "`trainer.init_from` must be the folder" in capsys.readouterr().err
    shutil.copytree(sweep.folder(0), sweep.folder(1))
    begun: list[int] = []
    monkeypatch.setattr("cai.sweep.run_jobs", lambda _, numbers, *rest, **more: begun.extend(numbers))
    main(["resume", str(sweep.directory)])
    assert begun == [0, 1]


def test_a_run_that_had_saved_nothing_begins_with_the_same_or_not_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    save_pretrained(Path("hf"), "llama")
    words = (*WITHOUT_MODEL, *FINE)
    cut = train_cut(0, tiny=words)
    shutil.copytree("hf", "same")
    save_pretrained(Path("hf"), "llama", seed=1)
    capsys.readouterr()
    with cut_short(0):
        assert main(["resume", str(cut)]) == 2
    assert "must begin with the weights that it began with (fingerprint " in capsys.readouterr().err
    shutil.rmtree("hf")
    assert main(["resume", str(cut)]) == 2
    assert "there is no folder hf" in capsys.readouterr().err
    assert main(["resume", str(cut), "trainer.init_from=same", "tokenizer.path=same/tokenizer.json"]) == 0
    assert facts_of(cut)["status"] == "finished"


def test_it_is_reproduced_with_the_same_weights_wherever_they_lie_and_with_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_pretrained(Path("hf"), "llama")
    run = train_tiny(*FINE, tiny=WITHOUT_MODEL)
    fingerprint = facts_of(run)["init_from"]["weights"]
    shutil.move("hf", "moved")
    save_pretrained(Path("hf"), "llama", seed=1)
    capsys.readouterr()
    with cut_short(0):
        assert main(["reproduce", str(run)]) == 4
    said = capsys.readouterr()
    assert re.search(rf"initial weights +DIFFERENT +was {fingerprint}, is ", said.out + said.err)
    shutil.rmtree("hf")
    assert main(["reproduce", str(run)]) == 2
    assert "`trainer.init_from` must be the folder of a trained model, but there is no" in capsys.readouterr().err
    assert run_directories(Path("outputs")) == [run], "nothing was begun"
    assert main(["reproduce", str(run), "trainer.init_from=moved", "tokenizer.path=moved/tokenizer.json"]) == 0
    said = capsys.readouterr()
    assert re.search(rf"initial weights +equal +{fingerprint}", said.out + said.err)
    assert "losses are equal to the bit" in said.out + said.err
