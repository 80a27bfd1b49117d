"""``cai doctor``: what is shown, in which order, and what its exit code says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cai import doctor
from cai.cli import main
from cai.diagnosis import expected, machine, numerics
from cai.diagnosis.numerics import Check
from cai.symptoms.table import Told
from tests.conftest import TINY, train_tiny

GOOD, BAD = Check("causal, fp32", True, "exact"), Check("cached decoding", False, "token 3 differs")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test has tests of its own, and nothing here depends on how exactly is measured."""
    monkeypatch.setattr(numerics, "self_test", lambda device, short=False: [GOOD])
    for name, value in {"SECONDS": 0.0, "LONG_ENOUGH": 0.0, "SMALLEST": 64, "COPIED": 2**16}.items():
        monkeypatch.setattr(machine, name, value)
    monkeypatch.setattr(expected, "SECONDS", 0.0)


def named(out: str, name: str) -> str:
    """What is said under a name."""
    return next(line for line in out.splitlines() if line.startswith(f"  {name} "))


def test_machine_self_test_and_config_are_shown_and_nothing_is_written(
    scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *TINY, "trainer.max_steps=50"]) == 0
    out = capsys.readouterr().out
    places = [out.index(part) for part in ("machine\n", "\nself-test of cpu", "\nthis config\n", "  advice ")]
    assert places == sorted(places)
    assert "matrix products" in named(out, "measured")
    assert named(out, "passed").endswith("causal, fp32  exact")
    assert "vocabulary 400 (asked for" in named(out, "parameters")
    assert named(out, "steps").endswith("50 of 128 tokens (4 x 32), 4 sequences at once")
    assert "tokens/s" in named(out, "speed")
    assert "evaluations of 256 tokens included" in named(out, "time")
    assert list(scratch.iterdir()) == []


def test_a_check_that_fails_is_the_exit_code_and_what_it_means_is_said(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(numerics, "self_test", lambda device, short=False: [GOOD, BAD])
    assert main(["doctor", *TINY]) == 1
    out = capsys.readouterr().out
    assert named(out, "FAILED").endswith("cached decoding  token 3 differs")
    assert "learn wrongly" in named(out, "means")
    assert "  speed " in out


def test_what_cannot_fit_is_not_tried(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "try_out", lambda *_: pytest.fail("it was"))
    monkeypatch.setattr(expected, "free_memory", lambda: 2**20)
    assert main(["doctor", *TINY, "model.n_embd=512"]) == 1
    out = capsys.readouterr().out
    assert "not the memory" in named(out, "trial")
    assert "the computer must have memory for this config" in out


def test_the_machine_is_shown_also_where_the_device_asked_for_is_missing(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "nvidia_driver", lambda: "550.1")
    assert main(["doctor", "device=cuda"]) == 2
    said = capsys.readouterr()
    assert "an NVIDIA driver (550.1) is there" in said.out
    assert "measured" not in said.out
    assert "device.type" in said.err


def test_a_run_is_looked_at_alone(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_tiny("trainer.max_steps=2", "trainer.eval_every=0")
    capsys.readouterr()
    monkeypatch.setattr("cai.diagnosis.of_run.symptoms_of_run", lambda directory: [])
    assert main(["doctor", "run=last"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("outputs/run/")
    assert out.splitlines()[0].endswith(": finished, step 2")
    assert "nothing that would be wrong" in named(out, "seen")
    assert "machine" not in out
    monkeypatch.setattr("cai.diagnosis.of_run.symptoms_of_run", lambda directory: [Told("one", "it is wrong.")])
    assert main(["doctor", "run=last"]) == 0
    assert named(capsys.readouterr().out, "seen").endswith(" it is wrong.")
    assert main(["doctor", "run=last", "model=gpt2", "device.threads=1"]) == 2
    said = capsys.readouterr().err
    assert "`model` must be left out with run=" in said
    assert "`device.threads` must be left out" in said


def test_verification_gets_the_facts_of_the_machine_as_plain_json(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = []

    def verify(*parts: Any) -> int:
        given[:] = parts
        return 7

    monkeypatch.setattr("cai.verify.verify", verify)
    assert main(["doctor", *TINY, "verify=true", "trust=mine"]) == 7
    config, facts, out, trusted = given
    assert (config.model.n_embd, out, list(trusted)) == (16, Path("verify.json"), ["mine"])
    facts = json.loads(json.dumps(facts))
    assert facts["speed"]["flops"]["fp32"] > 0
    assert facts["versions"]["cai"]
    assert "self-test" not in capsys.readouterr().out
    assert main(["doctor", *TINY, "verify=true", "out=there.json"]) == 7
    assert given[2] == Path("there.json")


def test_it_is_done_once(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "-m", "optimizer.lr=1,2"]) == 2
    assert "`-m` must go with train" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("device.processes=2",), ("gpus=true",)])
def test_gpus_that_are_not_there_are_estimated_after_one_trial(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    tried = []

    def once(*parts: Any) -> Any:
        tried.append(parts)
        return expected.try_out(*parts)

    monkeypatch.setattr(doctor, "try_out", once)
    assert main(["doctor", *TINY, "trainer.chunked_loss=false", *words]) == 0
    out = capsys.readouterr().out
    assert len(tried) == 1
    several = words == ("device.processes=2",)
    places = ["\nthis config" + ", in one process alone" * several, "\non 2 GPUs of a kind" if several else "\non 1 GPU "]
    assert [out.count(place) for place in places] == [1, 1]
    assert out.index("  speed ") < out.index("(estimates: nothing was run there)") < out.index("  advice ")
    assert out.count(" ddp ") == (7 if several else 0)
    assert "35% of the peak" in named(out, "assumed")
    assert "tokens (4 x 32)" in named(out, "a step")
    assert list(scratch.iterdir()) == []


def test_gpus_are_estimated_also_where_nothing_could_be_tried(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "try_out", lambda *_: pytest.fail("it was"))
    monkeypatch.setattr(expected, "free_memory", lambda: 2**20)
    assert main(["doctor", *TINY, "model.n_embd=512", "trainer.chunked_loss=false", "device.processes=8"]) == 1
    out = capsys.readouterr().out
    assert "not the memory" in named(out, "trial")
    assert "H100 80 GB" in out
    assert "cannot be shared by 8: train with 8" in named(out, "a step")


def test_there_is_no_such_table_of_one_process(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *TINY]) == 0
    assert "H100" not in capsys.readouterr().out
