"""A text that wanders is told by how unlikely it is to its own model; what was drawn as the model means it is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cai.cli import main
from cai.symptoms.surprise import surprise
from cai.symptoms.texts import symptoms_of_model
from cai.trained import TrainedRun
from tests.conftest import TINY, train_tiny
from tests.model.making import VOCAB_SIZE, build_random

WORDS = [word for word in TINY if not word.startswith(("data.", "tokenizer", "generation", "trainer.eval"))]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned a text in which each letter follows from the one before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("wandering"))
        (folder / "a.txt").write_text("\n\n".join(["가나다라마바사아자차카타파하" * 8] * 30), encoding="utf-8")
        own = ("data=text", "data.path=a.txt", "data.split=tail", "data.val_ratio=0.2", "tokenizer=char")
        length = ("trainer.max_steps=60", "trainer.eval_every=0", "trainer.eval_max_tokens=256", "trainer.samples=0")
        return train_tiny(*own, *length, "optimizer=adamw", "optimizer.lr=0.03", tiny=WORDS).absolute()


FEWEST = 12
"""Tokens of a text that is judged."""

Advice = Callable[..., str]


@pytest.fixture
def advice(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Advice:
    """What is said beside a text of the run, generated with these options."""
    monkeypatch.setattr("cai.show.FEWEST_TOKENS", FEWEST)  # of so few letters an end of the text is soon among those drawn

    def generate(*words: str) -> str:
        length = f"generation.max_new_tokens={2 * FEWEST}"
        assert main(["generate", f"run={run}", "prompt=가나다", "device.threads=1", length, *words]) == 0
        return capsys.readouterr().err

    return generate


HOT = ("generation.temperature=1.7", "generation.top_k=0", "seed=1")


def test_a_text_drawn_among_everything_wanders(advice: Advice) -> None:
    for words in (HOT, (*HOT, "samples=8")):
        err = advice(*words)
        assert err.count("the text wanders: its tokens are less likely to the model itself") == 1
        assert "Try generation=precise or generation=greedy" in err


@pytest.mark.parametrize("words", [(), ("generation=precise",), ("generation=greedy",), ("samples=3",)])
def test_a_text_drawn_as_usual_does_not(advice: Advice, words: tuple[str, ...]) -> None:
    assert "wanders" not in advice(*words)


def test_a_short_text_is_not_judged(advice: Advice) -> None:
    assert "wanders" not in advice(*HOT, f"generation.max_new_tokens={FEWEST - 1}")


def test_a_run_that_says_nothing_of_its_loss_is_no_measure() -> None:
    trained = TrainedRun.__new__(TrainedRun)
    for facts in ({}, {"best_val_loss": "low", "metrics": []}, {"metrics": {"val/loss": math.inf}}):
        object.__setattr__(trained, "facts", facts)
        assert trained.val_loss is None
    object.__setattr__(trained, "facts", {"best_val_loss": 1.0, "metrics": {"val/loss": 2.0}})
    assert trained.val_loss == 2.0
    assert trained.fact("metrics", "val/loss", "deeper") is None


@pytest.mark.parametrize(("loss", "floor", "told"), [(3.0, 3.0, 1), (2.9, 3.0, 0), (None, 3.0, 0), (3.0, None, 0)])
def test_a_model_that_has_learned_nothing_is_told(loss: float | None, floor: float | None, told: int) -> None:
    assert len(symptoms_of_model(loss, floor)) == told


def by_hand(model: nn.Module, ids: list[int], start: int) -> float:
    """The mean of the ids from ``start`` on, each behind all that comes before."""
    with torch.no_grad():
        logits: Tensor = model(torch.tensor([ids[:-1]]))[0]
    return float(nn.functional.cross_entropy(logits[start - 1 :], torch.tensor(ids[start:])))


@pytest.mark.parametrize(("context", "written"), [(1, 3), (3, 5), (8, 1), (1, 8)])
def test_the_surprise_is_the_cross_entropy_of_what_was_written(context: int, written: int) -> None:
    model = build_random("gpt2", block_size=8)
    ids = torch.randint(VOCAB_SIZE, (context + written,), generator=torch.Generator().manual_seed(0)).tolist()
    assert surprise(model, ids[:context], ids[context:]) == pytest.approx(by_hand(model, ids, context), rel=1e-5)


def test_behind_a_window_every_id_is_counted_once_and_seen_with_half_a_window_at_least() -> None:
    class Counting(nn.Module):
        """Costs each target 1, and notes which it saw, behind how many ids."""

        block_size = 8

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))
            self.seen: list[int] = []
            self.behind: list[int] = []

        def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
            places = [place for place, target in enumerate(targets[0].tolist()) if target >= 0]
            assert ids.shape == targets.shape
            assert ids.shape[1] <= 8
            self.seen += [int(targets[0, place]) for place in places]
            self.behind += [place + 1 for place in places]
            return torch.tensor(float(len(places)))

    for context in (1, 5, 12):
        model = Counting()
        assert surprise(model, list(range(context)), list(range(context, 40))) == 1.0
        assert model.seen == list(range(context, 40))
        assert all(behind >= min(4, number) for number, behind in zip(model.seen, model.behind, strict=True))
