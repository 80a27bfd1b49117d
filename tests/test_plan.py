"""The figures of a plan: what a token costs, and what share of the device's peak will be told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cai
from cai.device import Device
from cai.plan import count_parameters, data_rows, describe_plan, flops_per_token
from cai.symptoms.training import large_model, unusual_epochs
from cai.tokenizer.byte import ByteConfig
from cai.tokenizer.report import describe
from cai.trainer.trainer import Trainer
from tests.trainer.making import OPENED, make_trainer, metrics

V = 50


class Known(Device):
    """A CPU of which the peak speed is known."""

    peak_flops = 1e9


@pytest.fixture(autouse=True)
def _close_recorders() -> Any:
    yield
    while OPENED:
        OPENED.pop().close()


def build(*overrides: str) -> tuple[nn.Module, Any]:
    config = cai.compose(list(overrides)).model
    return config.build(V), config


@pytest.mark.parametrize("tie_weights", ["true", "false"])
def test_the_operations_of_a_gpt2_are_those_counted_by_hand(tie_weights: str) -> None:
    model, config = build(
        *("model=gpt2", "model.n_layer=3", "model.n_head=2", "model.n_embd=8", "model.block_size=16"),
        f"model.tie_weights={tie_weights}",
    )
    attention = 8 * 24 + 24 + 8 * 8 + 8
    mlp = 8 * 32 + 32 + 32 * 8 + 8
    norms = 2 * (8 + 8)
    computing = 3 * (attention + mlp + norms) + 8 + 8
    assert count_parameters(model)["without_embeddings"] == computing
    # Forward: a multiplication and an addition for each parameter, the head's included, tied or not; and for each of the
    # 16 positions that a token looks at, 2 x 8 in its score and 2 x 8 in its value. Backward: twice as many.
    forward = 2 * (computing + V * 8) + 3 * 16 * (2 * 8 + 2 * 8)
    assert flops_per_token(model, config) == 3 * forward


@pytest.mark.parametrize("tie_weights", ["true", "false"])
def test_the_operations_of_a_llama_with_heads_wider_than_its_stream_are_those_counted_by_hand(tie_weights: str) -> None:
    model, config = build(
        *("model=llama", "model.n_layer=2", "model.n_head=4", "model.n_kv_head=2", "model.n_embd=8", "model.head_dim=6"),
        *("model.intermediate_size=20", "model.block_size=16", f"model.tie_weights={tie_weights}"),
    )
    attention = 8 * 24 + 2 * 8 * 12 + 24 * 8
    mlp = 3 * 8 * 20
    computing = 2 * (attention + mlp + 2 * 8) + 8
    assert count_parameters(model)["without_embeddings"] == computing
    forward = 2 * (computing + V * 8) + 2 * 16 * (2 * 24 + 2 * 24)
    assert flops_per_token(model, config) == 3 * forward


def logged(folder: Path) -> list[dict[str, Any]]:
    return [line for line in metrics(folder) if "train/loss" in line]


def test_the_share_of_the_peak_is_speed_times_operations_over_it(tmp_path: Path) -> None:
    make_trainer(tmp_path, device_class=Known, flops_per_token=1234.0).fit()
    assert len(logged(tmp_path)) > 2
    for line in logged(tmp_path):
        assert line["perf/mfu"] == pytest.approx(line["perf/tokens_per_sec"] * 1234 / 1e9, rel=1e-12)


@pytest.mark.parametrize(("kind", "parts"), [(Device, {"flops_per_token": 1234.0}), (Known, {})], ids=["peak", "model"])
def test_without_the_peak_or_the_operations_no_share_is_logged(
    tmp_path: Path, kind: type[Device], parts: dict[str, Any]
) -> None:
    make_trainer(tmp_path, device_class=kind, **parts).fit()
    assert logged(tmp_path)
    assert not any("perf/mfu" in line for line in logged(tmp_path))


GATE = describe(ByteConfig().build([]), ["가나다"])


def plan_on(trainer: Trainer, patch: pytest.MonkeyPatch, gpu: str, precision: str) -> str:
    """The plan as it would be on a computer with this GPU."""
    patch.setattr(torch.cuda, "get_device_name", lambda: gpu)
    trainer.device = Device("cuda", precision, "", False, False, 1, False)  # type: ignore[arg-type]
    config = cai.compose(["device=cpu", "model.block_size=16", "trainer=smoke"])
    return " ".join(describe_plan(config, trainer, GATE, note="", seconds=1.0).split())


@pytest.mark.parametrize(("gpu", "precision"), [("NVIDIA GeForce GTX 1080", "fp16"), ("NVIDIA A100-SXM4-40GB", "fp32")])
def test_the_plan_says_why_there_will_be_no_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: str, precision: str
) -> None:
    said = plan_on(make_trainer(tmp_path), monkeypatch, gpu, precision)
    assert f"mfu not logged, as the peak speed of {gpu} in {precision} is not known to CAI" in said


def test_the_plan_says_nothing_of_it_where_it_will_be_logged_and_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tmp_path)
    config = cai.compose(["device=cpu", "model.block_size=16", "trainer=smoke"])
    assert "mfu" not in describe_plan(config, trainer, GATE, note="", seconds=1.0)
    assert "mfu" not in plan_on(trainer, monkeypatch, "NVIDIA A100-SXM4-40GB", "bf16")


def test_a_device_asks_cuda_for_its_name_and_no_other_device_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA L4")
    assert Device("cuda", "bf16", "", False, False, 1, False).peak_flops == pytest.approx(121e12)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: pytest.fail("it was"))
    assert Device("cpu", "bf16", "", False, False, 1, False).peak_flops is None
    assert Device("mps", "fp16", "", False, False, 1, False).peak_flops is None


@pytest.mark.parametrize(
    ("tokens", "epochs", "said"),
    [
        (1_000_000, 7.5, ""),
        (1_000_000, 0.5, "5 to 10 epochs are usual for 1.0 M tokens: trainer.max_epochs=5"),
        (1_000_000, 30, "5 to 10 epochs are usual for 1.0 M tokens; beyond that watch val/loss"),
        (10_000_000, 2.4, ""),
        (10_000_000, 9, "2 to 3 epochs are usual for 10.0 M tokens; beyond"),
        (200_000_000, 1.2, ""),
        (200_000_000, 0.1, "1 epoch is usual for 200.0 M tokens: trainer.max_epochs=1"),
    ],
)
def test_the_founding_advice_on_epochs_is_given_where_the_run_differs(tokens: int, epochs: float, said: str) -> None:
    advice = [told.sentence for told in unusual_epochs(tokens, epochs)]
    assert len(advice) == bool(said)
    assert all(sentence.startswith(said) for sentence in advice)


def test_what_was_left_out_of_the_text_stands_first(tmp_path: Path) -> None:
    shards = make_trainer(tmp_path).dataset.shards
    report = {"read": 9, "kept": 7, "dropped": {"duplicate": 2}, "changed": {"whitespace": 3}}
    rows = data_rows(replace(shards, report=report))
    assert rows[0] == ("text", "9 read, 7 kept; left out: 2 duplicate; changed: 3 by whitespace")
    assert "dropped.jsonl" in rows[1][1]
    assert [name for name, _ in data_rows(shards)] == ["documents", "tokens"]


@pytest.mark.parametrize(
    ("tokens", "parameters", "large"), [(730_000, 4_700_000, True), (730_000, 800_000, False), (2_000_000, 9_000_000, False)]
)
def test_a_model_that_is_large_for_its_text_is_told(tokens: int, parameters: int, large: bool) -> None:
    assert [told.name for told in large_model(tokens, parameters)] == ["large_model"] * large
