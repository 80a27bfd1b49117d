"""What is told of a training: nothing of a good one; of each trouble, provoked in a run, what it is and what helps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cai.cli import main
from cai.diagnosis.of_run import symptoms_of_run
from cai.model.base import IGNORE_INDEX
from cai.symptoms import speed
from cai.symptoms.speed import slow_device, slow_signs
from cai.symptoms.training import HARDLY, NEWEST, RECENT, SPEEDS, Pace, is_judged, stuck
from cai.tokens.batches import TokenDataset
from cai.trainer.meter import Meter
from tests.conftest import TINY, train_tiny
from tests.trainer.making import OPENED, make_shards, make_trainer

HUNDRED = (
    *TINY,
    *("trainer.max_steps=100", "trainer.log_every=5", "trainer.eval_every=50", "trainer.eval_max_tokens=64"),
    "trainer.samples=0",
)


@pytest.fixture(autouse=True)
def _close_recorders() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of a hundred steps by their learning rate."""
    rates = {"good": 0.01, "low": 1e-6, "high": 3.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        patch.setattr("cai.symptoms.training.JUDGED_STEPS", 20)  # so that there is much to come once it is told
        return {
            name: train_tiny("optimizer=adamw", f"optimizer.lr={lr}", f"name={name}", tiny=HUNDRED).absolute()
            for name, lr in rates.items()
        }


def said(run: Path) -> str:
    return (run / "train.log").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "remedy"), [("low", "too low, or the run too short"), ("high", "too high")])
def test_a_loss_that_does_not_fall_is_told_once_and_seen_later(runs: dict[str, Path], name: str, remedy: str) -> None:
    (told,) = [one for one in symptoms_of_run(runs[name]) if one.name == "stuck"]
    for sentence in (said(runs[name]), told.sentence):
        assert sentence.count("nothing else has been learned") == 1
        assert f"is probably {remedy}: `cai inspect lr`" in sentence
    assert "step 50: train/loss is" in said(runs[name])
    assert "step 100: train/loss is" in told.sentence
    assert "learned by heart" not in said(runs[name])


def test_nothing_is_told_of_a_loss_that_falls(runs: dict[str, Path]) -> None:
    assert "learned" not in said(runs["good"])
    names = {told.name for told in symptoms_of_run(runs["good"])}
    assert names <= {"split"}  # of so few tokens


def test_an_untrained_model_is_told_before_its_text_and_a_trained_one_is_not(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, is_told in (("low", True), ("good", False)):
        assert main(["generate", f"run={runs[name]}", "question=a", "device.threads=1", "generation.max_new_tokens=4"]) == 0
        assert ("its texts will wander. Train longer (trainer.max_steps)" in capsys.readouterr().err) == is_told


@pytest.mark.parametrize(
    ("step", "max_steps", "judged"),
    [
        (99, 99, False),
        (99, 100, False),
        (100, 100, True),
        (299, 1000, False),
        (300, 1000, True),
        (1000, 8000, False),
        (2000, 8000, True),
        (2999, 10**6, False),
        (3000, 10**6, True),
    ],
)
def test_a_loss_is_judged_when_it_is_time(step: int, max_steps: int, judged: bool) -> None:
    assert is_judged(step, max_steps) == judged


def test_the_direction_is_that_which_the_curve_shows() -> None:
    def remedy(losses: list[float], worst: float) -> str | None:
        told = stuck(300, losses, worst, floor=6.0, vocab_size=2981, lr=0.5)  # begins at 8
        return told and told.sentence.partition("probably ")[2].partition(":")[0]

    assert remedy([7.0] * NEWEST, 8.1) == "too low, or the run too short"
    assert remedy([7.0] * NEWEST, 8.5) == "too high"
    assert remedy([6.1] * NEWEST, 8.0) == "too high or too low"
    assert remedy([6.0 * HARDLY - 0.01] * NEWEST, 8.0) is None
    assert remedy([7.0] * (NEWEST - 1), 8.0) is None
    assert stuck(300, [0.01] * NEWEST, 8.0, floor=0.0, vocab_size=2981, lr=0.5) is None
    assert remedy([*[9.0] * RECENT, *[5.0] * NEWEST], 9.0) is None


def test_the_loss_without_context_is_the_entropy_of_the_targets(tmp_path: Path) -> None:
    shards = make_shards(tmp_path)
    dataset = TokenDataset(shards, 16, 0, IGNORE_INDEX)
    counts = np.bincount(np.fromfile(tmp_path / "train.bin", dtype=np.uint16))
    shares = counts[counts > 0] / counts.sum()
    assert dataset.loss_without_context == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-3)
    alike = np.full(3000, 7, dtype=np.uint16)
    alike.tofile(tmp_path / "train.bin")
    assert TokenDataset(shards, 16, 0, IGNORE_INDEX).loss_without_context == 0


def test_learning_by_heart_is_told(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(0)
    lines = ["".join(draw.choice(list("가나다라마바사아자차"), 24)) for _ in range(12)]
    (scratch / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    own = ("data=text", "data.path=a.txt", "data.separator=line", "data.val_ratio=0.3", "tokenizer=char")
    tiny = [word for word in HUNDRED if not word.startswith(("data.", "tokenizer"))]
    run = train_tiny(*own, "trainer.eval_every=20", "optimizer.lr=0.05", "model.n_embd=32", tiny=tiny)
    out = capsys.readouterr().out
    assert "the text is being learned by heart. Try model.dropout=0.1" in out
    assert "epochs are usual for 0.0 M tokens; beyond that watch val/loss" in " ".join(out.split())
    assert "overfitting" in {told.name for told in symptoms_of_run(run)}


def test_a_plan_tells_of_a_warmup_without_an_end_a_large_model_and_letters_never_seen(
    scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scratch / "a.txt").write_text("\n".join(["가나다라마바사"] * 40 + ["아자차카타파하"] * 10), encoding="utf-8")
    own = ("data=text", "data.path=a.txt", "data.separator=line", "data.split=tail", "tokenizer=char")
    large = ("model.n_layer=3", "model.n_head=4", "model.n_embd=256", "trainer.max_steps=1", "trainer.samples=0")
    run = train_tiny(*own, *large, "data.val_ratio=0.2", tiny=[w for w in TINY if not w.startswith(("data.", "tokenizer"))])
    plan = " ".join(capsys.readouterr().out.split())
    for part in (
        "(2) is not below the number of steps (1)",
        "M parameters are many for 0.00 M tokens, which they will learn by heart: a smaller model (model=..._nano)",
        "of the validation text is outside the alphabet of the train text and became <unk>. Use tokenizer=bpe",
        "trainer.max_epochs=5, if there is time",
    ):
        assert part in plan
    assert [told.name for told in symptoms_of_run(run)] == ["large_model"]


def test_a_training_that_becomes_slow_is_told_once(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = Meter.measure, iter(range(1000))

    def measure(self: Meter, progress: Any) -> dict[str, float]:
        return original(self, progress) | {"perf/tokens_per_sec": 9000.0 if next(calls) < 2 * SPEEDS else 2500.0}

    monkeypatch.setattr(Meter, "measure", measure)
    run = train_tiny("trainer.max_steps=40", "trainer.log_every=2", "trainer.eval_every=0")
    assert said(run).count("2,500 tokens/s, where there were 9,000: the machine is busy") == 1
    assert "trainer.profile=true" in said(run)
    assert "slowed" in {told.name for told in symptoms_of_run(run)}


def test_one_slow_moment_and_a_slow_machine_are_not() -> None:
    pace = Pace()
    assert [pace.look(step, value) for step, value in enumerate([9.0] * 8 + [1.0] * 2 + [9.0] * 8)] == [None] * 18
    assert [Pace().look(step, 1.0) for step in range(20)] == [None] * 20


Change = Callable[[pytest.MonkeyPatch, Any], object]


def other_threads(patch: pytest.MonkeyPatch, trainer: Any) -> None:
    patch.setattr(speed, "physical_cores", lambda: 8)


def slow_disk(patch: pytest.MonkeyPatch, trainer: Any) -> None:
    patch.setattr(speed, "reading_seconds", lambda trainer: 0.5 * 100 / trainer.max_steps)


def a_gpu(patch: pytest.MonkeyPatch, trainer: Any) -> None:
    patch.setattr(torch.cuda, "is_available", lambda: True)


def no_bf16(patch: pytest.MonkeyPatch, trainer: Any) -> None:
    patch.setattr(speed, "multiplies_bf16", lambda device: False)
    trainer.device = replace(trainer.device, precision="bf16")


@pytest.mark.parametrize(
    ("name", "change", "seconds", "part"),
    [
        ("few_threads", other_threads, 100.0, "1 of 8 cores are used. Try device.threads=0"),
        ("slow_data", slow_disk, 100.0, "takes 50% of the time of a step. Put output_dir=... on a faster disk"),
        ("cpu_beside_gpu", a_gpu, 100.0, "this machine has CUDA. Try device=auto."),
        ("emulated", no_bf16, 100.0, "bf16 is emulated on this CPU"),
        ("long_run", lambda *_: None, 3e5, "model=..._nano"),
    ],
)
def test_what_makes_a_long_run_slow_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: Change, seconds: float, part: str
) -> None:
    monkeypatch.setattr(speed, "physical_cores", lambda: 1)
    trainer = make_trainer(tmp_path)
    assert list(slow_signs(trainer, 100.0)) == []
    change(monkeypatch, trainer)
    (told,) = slow_signs(trainer, seconds)
    assert told.name == name
    assert part in told.sentence
    assert list(slow_signs(trainer, 10.0)) == []  # not worth a word


def test_jobs_of_a_sweep_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "physical_cores", lambda: 8)
    trainer = make_trainer(tmp_path / "0_a")
    assert [told.name for told in slow_signs(trainer, 100.0)] == ["few_threads"]
    (tmp_path / "sweep.json").write_text("{}")
    assert list(slow_signs(trainer, 100.0)) == []


def test_the_time_of_reading_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(tmp_path)
    clock = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    assert speed.reading_seconds(trainer) == 1.0


def test_generating_beside_a_gpu_is_told(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    words = ["generate", f"run={runs['good']}", "question=a", "generation.max_new_tokens=1"]
    assert main([*words, "device=cpu", "device.threads=1"]) == 0
    assert "device.type=cpu was asked for, though this machine has MPS. Try device=auto." in capsys.readouterr().err
    cpu = make_trainer(runs["good"].parent / "other").device
    assert list(slow_device(replace(cpu, type="mps"))) == []


def test_what_a_run_keeps_of_its_text_is_what_it_is_judged_by(runs: dict[str, Path]) -> None:
    facts = json.loads((runs["good"] / "run.json").read_text(encoding="utf-8"))["data"]
    assert facts["one_sided"] == []
    assert 0 < facts["loss_without_context"] < np.log(400)
    assert facts["epochs"] == pytest.approx(100 * 4 * 32 / facts["train_tokens"], rel=0.01)
