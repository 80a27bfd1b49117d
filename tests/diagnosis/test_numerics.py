"""A device that computes rightly passes the self-test, and one that does not trains nothing."""

from __future__ import annotations

import logging
import random
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cai.cli import main
from cai.device import DeviceConfig, Precision
from cai.diagnosis import numerics
from cai.diagnosis import numerics_models as models
from cai.diagnosis.numerics import Check, refuse_unless_sound, self_test
from cai.diagnosis.numerics_rounding import precisions
from cai.errors import TrainingError
from cai.runs import read_run
from tests.conftest import TINY, run_directories, train_tiny
from tests.diagnosis.devices import compute_on_the_cpu, device


def test_a_cpu_passes_every_check_in_every_precision_and_nothing_is_left_changed() -> None:
    def state() -> list[object]:
        settings = (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads())
        modes = (
            torch.is_autocast_enabled("cpu"),
            torch.are_deterministic_algorithms_enabled(),
            F.scaled_dot_product_attention,
        )
        return [*settings, *modes, torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # type: ignore[index]

    before = state()
    checks = self_test(device())
    assert [check for check in checks if not check.passed] == []
    assert state() == before
    names = [check.name for check in checks]
    assert len(names) == len(set(names)) > 40
    for precision in ("fp32", "bf16", "fp64"):
        for what in ("PyTorch's attention", "CAI's attention", *models.FAMILIES, "layouts in memory", "loss"):
            assert f"{what}, {precision}" in names
    assert "update, adamw" in names
    assert "cached decoding, llama" in names


@pytest.mark.parametrize("precision", ["bf16", "fp64"])
def test_the_short_form_passes_in_the_precision_asked_for_alone(precision: Precision) -> None:
    checks = self_test(device(precision), short=True)
    assert all(check.passed for check in checks), checks
    assert {check.name.partition(", ")[2] for check in checks} == {precision, *models.FAMILIES, "muon"}


def test_precisions_are_those_that_a_device_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert precisions(device("fp16", "mps")) == ["fp16", "fp32", "bf16"]
    assert precisions(device("bf16", "cuda")) == ["bf16", "fp32", "fp16", "fp64"]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert precisions(device("fp16", "cuda")) == ["fp16", "fp32", "fp64"]


def test_a_check_that_raises_has_failed_and_a_wish_to_stop_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> Tensor:
        raise NotImplementedError("The operator 'aten::some' is not currently implemented for the MPS device.\nMore.")

    monkeypatch.setattr(F, "scaled_dot_product_attention", missing)
    first = self_test(device(), short=True)[0]
    assert first == Check(
        "PyTorch's attention, fp32",
        False,
        "NotImplementedError: The operator 'aten::some' is not currently implemented for the MPS device.",
    )

    def stopped(*_: object, **__: object) -> Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(F, "scaled_dot_product_attention", stopped)
    with pytest.raises(KeyboardInterrupt):
        self_test(device(), short=True)


@pytest.mark.parametrize(("precision", "remedy"), [("fp16", "device.precision=fp32 or device=cpu"), ("fp32", "device=cpu")])
def test_what_failed_is_told_with_what_helps(precision: Precision, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [Check("one", True, "fine"), Check("attention", False, "token 1 changes"), Check("loss", False, "off by 2")]
    monkeypatch.setattr(numerics, "self_test", lambda device, short: checks if short else [])
    with pytest.raises(TrainingError) as caught:
        refuse_unless_sound(device(precision, "mps"))
    assert str(caught.value) == (
        f"`device.type` must be a device that computes rightly, but mps in {precision} fails 2 of 3 checks against float64"
        f" on the CPU:\n  attention: token 1 changes\n  loss: off by 2\nTry {remedy}, or another version of PyTorch;"
        " device.self_test=false trains nevertheless."
    )


@pytest.fixture
def as_mps(scratch: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every config is for MPS, which computes on the CPU."""
    compute_on_the_cpu(monkeypatch)
    monkeypatch.setattr(DeviceConfig, "build", lambda self: device("fp32", "mps"))


@pytest.mark.usefixtures("as_mps")
def test_training_on_an_accelerator_begins_with_the_self_test_and_not_without_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_tiny()
    assert "self-test of mps: 11 checks passed in " in (run / "train.log").read_text()

    monkeypatch.setattr(numerics, "self_test", lambda device, short: [Check("attention", False, "looks ahead")])
    assert main(["train", *TINY]) == 1
    said = capsys.readouterr().err
    assert "attention: looks ahead" in said
    assert "device.self_test=false trains nevertheless" in said
    assert "Traceback" not in said
    assert read_run(run_directories(run.parent)[-1])["status"] == "failed"
    train_tiny("device.self_test=false")


@pytest.mark.usefixtures("scratch")
def test_a_run_on_the_cpu_does_not_even_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("cai.diagnosis.numerics")]:
        monkeypatch.delitem(sys.modules, name)
    train_tiny("device.self_test=true")
    assert not [name for name in sys.modules if name.startswith("cai.diagnosis.numerics")]


def test_the_line_of_a_passed_test_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(numerics, "self_test", lambda device, short: [Check("one", True, "fine")] * 9)
    with caplog.at_level(logging.INFO, "cai.diagnosis.numerics"):
        refuse_unless_sound(device("fp32", "mps"))
    assert caplog.messages == ["self-test of mps: 9 checks passed in 0.0 s"]
