"""The look inside the model: what it shows, and that nobody could tell from the losses that someone looked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cai.cli import main
from cai.recorder import Recorder
from cai.tensorboard import Look, png
from cai.trainer.histograms import PAPER, TILE, attention_grid, histogram_of
from cai.trainer.update import Update, Updater
from tests.conftest import train_tiny
from tests.resuming import TEN_STEPS, assert_equal_runs, metrics_of, tensors_of, train_cut

EVERY = "trainer.histogram_every=2"


def events_of(directory: Path, kind: str) -> dict[str, list[Any]]:
    """Tag → TensorBoard's events of it, oldest first: ``tensors`` as TensorBoard has read them."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(directory), {"tensors": 0})
    accumulator.Reload()
    plugins = {tag: accumulator.SummaryMetadata(tag).plugin_data.plugin_name for tag in accumulator.Tags()["tensors"]}
    return {tag: accumulator.Tensors(tag) for tag, plugin in plugins.items() if plugin == kind}


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> dict[int, Look]:
    """What was recorded, by step."""
    found: dict[int, Look] = {}
    original = Recorder.look

    def look(self: Recorder, step: int, seen: Look | None) -> None:
        if seen is None:
            return
        found[step] = seen
        original(self, step, seen)

    monkeypatch.setattr(Recorder, "look", look)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["model=modern_nano", "model.dropout=0.1", "trainer.micro_batch_size=1", "trainer.ema_decay=0.9"],
        ["model=gpt2_nano", "trainer.gradient_checkpointing=true", "data.packing=documents", "data.isolate=true"],
    ],
)
def test_looking_changes_no_loss_and_no_weight(scratch: Path, overrides: list[str]) -> None:
    runs = [train_tiny(*overrides, f"trainer.histogram_every={every}") for every in (0, 1)]
    assert metrics_of(runs[0]) == metrics_of(runs[1])
    assert tensors_of(runs[0]) == tensors_of(runs[1]), "optimizer and every random state included"
    assert (runs[0] / "samples.md").read_bytes() == (runs[1] / "samples.md").read_bytes()
    assert [len(events_of(run, "images")) for run in runs] == [0, 1]


def test_tensorboard_shows_histograms_and_pictures_of_every_due_step(scratch: Path, looks: dict[int, Look]) -> None:
    directory = train_tiny(EVERY)
    assert list(looks) == [2, 4, 6]
    histograms, images = events_of(directory, "histograms"), events_of(directory, "images")
    weights = {tag.removeprefix("weights/") for tag in histograms if tag.startswith("weights/")}
    assert weights == {tag.removeprefix("gradients/") for tag in histograms if tag.startswith("gradients/")} != set()
    assert {"activations/layers.0", "activations/layers.0.attn", "activations/layers.0.mlp"} <= set(histograms)
    assert {tuple(event.step for event in events) for events in [*histograms.values(), *images.values()]} == {(2, 4, 6)}
    width, height, encoded = images["attention"][-1].tensor_proto.string_val[:3]
    drawn = np.asarray(Image.open(io.BytesIO(encoded)))
    assert drawn.shape == (int(height), int(width))
    assert (drawn == looks[6].pictures["attention"].pixels).all()
    assert "the first validation prompt" in looks[6].pictures["attention"].about


def test_gradients_are_those_of_the_update_just_taken_before_clipping(
    scratch: Path, looks: dict[int, Look], monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: dict[int, float] = {}
    original = Updater.update

    def update(self: Updater, step: int) -> Update:
        done = original(self, step)
        norms[step + 1] = float(done.grad_norm)
        return done

    monkeypatch.setattr(Updater, "update", update)
    train_tiny(EVERY, "trainer.micro_batch_size=2", "trainer.grad_clip=0.01")
    for step, look in looks.items():
        squares = sum(seen.squares for tag, seen in look.histograms.items() if tag.startswith("gradients/"))
        assert squares**0.5 == pytest.approx(norms[step], rel=1e-5)


def test_weights_are_those_that_learn_and_not_their_average(scratch: Path, looks: dict[int, Look]) -> None:
    directory = train_tiny(EVERY, "trainer.ema_decay=0.9")
    last = tensors_of(directory)
    for name in ("embed_tokens.weight", "layers.0.attn.q_proj.weight"):
        (key,) = [key for key in last if key.endswith(name) and key.startswith("model")]
        values = np.frombuffer(last[key], dtype=np.float32)
        seen = looks[6].histograms[f"weights/{name}"]
        assert (seen.low, seen.high) == (values.min(), values.max())
        assert seen.size == sum(seen.counts) == values.size


@pytest.mark.slow
def test_a_run_that_is_resumed_shows_each_step_once_and_trains_on_the_same(scratch: Path) -> None:
    never, cut = train_tiny(EVERY, tiny=TEN_STEPS), train_cut(7, EVERY)
    assert main(["resume", str(cut)]) == 0
    assert_equal_runs(never, cut)
    steps = [event.step for event in events_of(cut, "histograms")["weights/embed_tokens.weight"]]
    assert steps == [2, 4, 6, 8, 10]


def test_it_costs_nothing_when_it_is_off(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cai.trainer.histograms.histogram_of", lambda _: pytest.fail("somebody looked"))
    monkeypatch.setattr("cai.train.prompt_ids", lambda *_: pytest.fail("somebody asked for a prompt"))
    assert not events_of(train_tiny(), "histograms")


def test_a_skipped_update_has_no_gradients_to_show(
    scratch: Path, looks: dict[int, Look], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Updater.accumulate

    def accumulate(self: Updater, batch: Any, step: int) -> torch.Tensor:
        loss = original(self, batch, step)
        return loss * float("nan") if step == 3 else loss

    monkeypatch.setattr(Updater, "accumulate", accumulate)
    train_tiny(EVERY, "trainer.on_nonfinite=skip", "trainer.eval_every=0")
    kinds = {step: {tag.partition("/")[0] for tag in look.histograms} for step, look in looks.items()}
    assert kinds == {2: ALL, 4: ALL - {"gradients"}, 6: ALL}


ALL = {"weights", "gradients", "activations"}


def test_a_histogram_counts_every_finite_value_once() -> None:
    values = torch.tensor([1.0, -1.0, 0.5, float("nan"), float("inf"), 0.5])
    seen = histogram_of(values)
    assert seen is not None
    assert (seen.low, seen.high, seen.size, seen.total, seen.squares) == (-1.0, 1.0, 4, 1.0, 2.5)
    assert sum(seen.counts) == 4
    assert seen.limits == sorted(seen.limits)
    assert seen.limits[-1] == 1.0
    inside = sum(count for limit, count in zip(seen.limits, seen.counts, strict=True) if limit <= 0)
    assert inside == 1
    constant = histogram_of(torch.zeros(3, 2))
    assert constant is not None
    assert (constant.limits, constant.counts) == ([0.0], [6.0])
    assert histogram_of(torch.tensor([float("nan")])) is histogram_of(torch.empty(0)) is histogram_of(None) is None


def test_the_picture_of_attention_has_a_map_for_each_layer_and_head() -> None:
    layers = [torch.eye(4).expand(3, 4, 4), torch.full((2, 4, 4), 0.25)]
    image = attention_grid(layers).numpy()
    side = TILE + 4
    assert image.shape == (4 + 2 * side, 4 + 3 * side)
    assert image[4, 4] == 0, "a token that looks at itself alone"
    assert image[4, 4 + TILE - 1] == 255
    assert image[4 + side, 4] == round(255 * 0.5)
    assert (image[4 + side :, 4 + 2 * side :] == PAPER).all(), "no third head in the second layer"
    assert (np.asarray(Image.open(io.BytesIO(png(image)))) == image).all()


def test_a_model_that_cannot_tell_its_attention_is_looked_at_without(
    scratch: Path, looks: dict[int, Look], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("cai.model.decoder.Decoder.attention")
    train_tiny(EVERY)
    assert looks[6].histograms
    assert looks[6].pictures == {}


def test_a_compiled_model_is_looked_at_as_it_is_written(
    scratch: Path, looks: dict[int, Look], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[bool] = []

    class Compiled(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self._orig_mod = model

        def forward(self, *inputs: torch.Tensor) -> object:
            called.append(any(module._forward_hooks for module in self._orig_mod.modules()))
            return self._orig_mod(*inputs)

    monkeypatch.setattr("torch.compile", Compiled)
    train_tiny(EVERY, "device.compile=true")
    assert "activations/layers.0" in looks[6].histograms
    assert called
    assert not any(called), "no hook is left in what is compiled"
