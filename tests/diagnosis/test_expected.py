"""What a config takes: trial steps of the very thing, on a clock that the test sets."""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import cai
from cai.config.roots import TrainConfig
from cai.device import Device
from cai.diagnosis import expected
from cai.diagnosis.expected import RandomRows, Size, Trial, expected_vocabulary, size_up, try_out
from cai.diagnosis.machine import Speed
from cai.diagnosis.telling import rows_of_size, rows_of_trial
from cai.errors import TrainingError
from cai.inspection.memory import Memory
from cai.markup import TAGS
from cai.model.gpt2 import GPT2
from cai.optimizer.adamw import AdamW
from cai.plan import count_parameters
from cai.tokenizer.byte import ByteConfig
from cai.tokenizer.char import CharConfig
from cai.tokenizer.pretrained import PretrainedConfig

WORDS = (
    *("device=cpu", "device.precision=fp32", "device.threads=1", "model=gpt2", "model.n_layer=1", "model.n_head=2"),
    *("model.n_embd=16", "model.block_size=16", "optimizer=adamw", "tokenizer=bpe", "tokenizer.vocab_size=300"),
    *("trainer=smoke", "trainer.batch_size=8", "trainer.micro_batch_size=2"),
)
PASS, UPDATE = 1.0, 4.0
"""Seconds of a pass over one micro-batch, and of a step of the optimizer, on the clock of these tests."""


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    """8 sequences of 16 tokens a step, 2 at once."""
    composed: TrainConfig = cai.compose(list(WORDS))
    return composed


@pytest.fixture(scope="module")
def device(config: TrainConfig) -> Device:
    return config.device.build()


@pytest.fixture(scope="module")
def size(config: TrainConfig, device: Device) -> Size:
    return size_up(config, device)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Time passes in the model and the optimizer alone. The sequences of each pass, to come."""
    now, seen = [0.0], list[int]()
    forward, step = GPT2.forward, AdamW.step

    @functools.wraps(forward)
    def timed_forward(self: GPT2, ids: Tensor, *rest: Any) -> Tensor:
        now[0] += PASS
        seen.append(len(ids))
        return forward(self, ids, *rest)

    def timed_step(self: torch.optim.AdamW, *rest: Any) -> Any:
        now[0] += UPDATE
        return step(self, *rest)

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(GPT2, "forward", timed_forward)
    monkeypatch.setattr(AdamW, "step", timed_step)
    return seen


def changed(config: TrainConfig, group: str, **values: Any) -> TrainConfig:
    return config.model_copy(update={group: getattr(config, group).model_copy(update=values)})


def told(config: TrainConfig, device: Device, size: Size, trial: Trial) -> dict[str, str]:
    speed = Speed({device.precision: 2 * size.flops_per_token * size.tokens_per_step / trial.seconds}, 1e9)
    return dict(rows_of_trial(config, device, size, trial, speed))


@pytest.mark.parametrize(("long", "parts"), [(1e9, 4), (0.0, 1)])
def test_a_step_is_all_its_passes_and_one_update_also_where_only_a_part_is_tried(
    monkeypatch: pytest.MonkeyPatch,
    config: TrainConfig,
    device: Device,
    size: Size,
    passes: list[int],
    long: float,
    parts: int,
) -> None:
    monkeypatch.setattr(expected, "LONG", long)
    trial = try_out(config, device, size)
    assert trial.parts == parts
    assert trial.seconds == pytest.approx(4 * PASS + UPDATE)
    assert trial.forward == pytest.approx(PASS / 3 / (2 * 16))
    assert set(passes) == {2}
    what = "parts of steps" if parts == 1 else "steps"
    assert told(config, device, size, trial)["speed"].startswith(f"about 16 tokens/s, 8 s a step ({what} tried")


def test_what_is_tried_is_told_with_what_evaluations_take(
    config: TrainConfig, device: Device, size: Size, passes: list[int]
) -> None:
    trial = try_out(config, device, size)
    rows = told(config, device, size, trial)
    assert rows["bound by"].startswith("matrix products: ")
    assert "50%" in rows["bound by"]
    # 20 steps of 8 s, and 4 passes over 4,096 tokens.
    assert rows["time"].startswith("about 5 min 31 s, 4 evaluations of 4,096 tokens included; left out: preparing the text,")
    whole = changed(config, "trainer", eval_max_tokens=None, eval_every=0)
    assert (
        "about 2 min 40 s; left out: preparing the text, 2 evaluations (2 h 53 min for each million"
        in told(whole, device, size, trial)["time"]
    )
    epochs = changed(config, "trainer", max_steps=None, max_epochs=2.0)
    rows = told(epochs, device, replace(size, steps=None), trial)
    assert rows["time"].startswith("about 17 h 21 min for each million tokens of an epoch")
    assert dict(rows_of_size(epochs, device, replace(size, steps=None)))["steps"].startswith(
        "as many as trainer.max_epochs=2"
    )


def test_a_batch_that_does_not_fit_is_cut_as_in_training(
    monkeypatch: pytest.MonkeyPatch, config: TrainConfig, device: Device, size: Size, passes: list[int]
) -> None:
    forward = GPT2.forward

    @functools.wraps(forward)
    def limited(self: GPT2, ids: Tensor, *rest: Any) -> Tensor:
        if len(ids) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, ids, *rest)

    monkeypatch.setattr(GPT2, "forward", limited)
    size = replace(size, micro_batch_size=8)
    with pytest.raises(TrainingError, match=r"trainer\.micro_batch_size"):
        try_out(changed(config, "trainer", micro_batch_size=8), device, size)
    trial = try_out(changed(config, "trainer", micro_batch_size="auto"), device, size)
    assert trial.micro_batch_size == 4
    assert trial.seconds == pytest.approx(2 * PASS + UPDATE)


def test_a_trial_writes_nothing_and_changes_no_weight_much(
    monkeypatch: pytest.MonkeyPatch, scratch: Path, config: TrainConfig, device: Device, size: Size
) -> None:
    monkeypatch.setattr(expected, "SECONDS", 0.0)
    wild = changed(config, "optimizer", lr=100.0)
    assert try_out(wild, device, size).seconds > 0  # no loss that is no number ends it
    assert list(scratch.iterdir()) == []


def test_the_size_is_that_of_the_model_that_would_be_trained(config: TrainConfig, size: Size) -> None:
    model = config.model.build(vocab_size=300)
    assert size.parameters == count_parameters(model)
    assert size.memory.weights == sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    assert (size.vocab_size, size.steps, size.tokens_per_step, size.micro_batch_size) == (300, 20, 128, 2)
    assert size.fits


def test_where_memory_is_short_auto_takes_less_at_once_and_at_last_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, config: TrainConfig, device: Device
) -> None:
    def memory(*_: Any, micro_batch_size: int, **__: Any) -> Memory:
        taken = 10 * micro_batch_size
        return Memory(5, 5, 5, average=0, activations=taken, logits=0, update=0, peak=15 + taken)

    monkeypatch.setattr(expected, "training_memory", memory)
    found = []
    for micro_batch_size, free in (("auto", None), ("auto", 113), (8, 113), ("auto", 29)):
        monkeypatch.setattr(expected, "free_memory", lambda free=free: free)
        size = size_up(changed(config, "trainer", micro_batch_size=micro_batch_size), device)
        found.append((size.micro_batch_size, size.needed, size.fits))
    assert found == [(8, 114, True), (4, 66, True), (8, 114, False), (1, 30, False)]  # a fifth more than the peak


def test_the_memory_of_a_gpu_is_that_of_the_gpu(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    monkeypatch.setattr(expected, "free_memory", lambda: 70)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (50, 100))
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 90)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 30)
    frees = [expected._free(replace(device, type=kind)) for kind in ("cpu", "cuda", "mps")]
    assert frees == [70, 50, 60]


def test_each_tokenizer_has_the_vocabulary_that_can_be_known(tmp_path: Path, config: TrainConfig) -> None:
    byte = ByteConfig().build([])
    byte.save(tmp_path / "tokenizer.json")
    assert expected_vocabulary(config.tokenizer) == (300, "asked for; a small text may give fewer")
    assert expected_vocabulary(ByteConfig()) == (256 + len(TAGS), "")
    assert expected_vocabulary(PretrainedConfig(path=str(tmp_path / "tokenizer.json"))) == (256 + len(TAGS), "")
    assert expected_vocabulary(CharConfig()) == (expected.USUAL_ALPHABET, "assumed; the text decides")


def test_random_rows_have_as_many_targets_as_the_data_would_and_documents_of_their_own(config: TrainConfig) -> None:
    x, y = RandomRows(changed(config, "data", loss="all", isolate=False), 300).batch(3, 5)
    assert x.shape == y.shape == (5, 16)
    assert np.array_equal(x[:, 1:], y[:, :-1])
    assert set(x.flat) <= set(range(300))
    x, y, documents = RandomRows(changed(config, "data", loss="answer", isolate=True), 300).batch(3, 5)
    assert (y != RandomRows.ignore_index).mean() == expected.ANSWERS
    assert documents[0].tolist() == [0] * 8 + [1] * 8
    again = RandomRows(changed(config, "data", loss="answer", isolate=True), 300).batch(4, 5)
    assert not np.array_equal(x, again[0])


def test_documents_apart_are_tried_apart(
    monkeypatch: pytest.MonkeyPatch, config: TrainConfig, device: Device, size: Size
) -> None:
    monkeypatch.setattr(expected, "SECONDS", 0.0)
    seen = list[int]()
    forward = GPT2.forward

    @functools.wraps(forward)
    def watched(self: GPT2, *inputs: Tensor) -> Tensor:
        seen.append(len(inputs))
        return forward(self, *inputs)

    monkeypatch.setattr(GPT2, "forward", watched)
    try_out(changed(config, "data", isolate=True, packing="documents"), device, size)
    assert set(seen) == {3}
