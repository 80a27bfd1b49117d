"""What counts as failed, of all that a user does with a device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cai.diagnosis import program
from cai.diagnosis.verification import Failed, Verification, Work
from tests.diagnosis.commands import STARTS_ANOTHER, assert_gone, python
from tests.diagnosis.devices import device


@pytest.fixture
def verification(tmp_path: Path) -> Verification:
    return Verification(device(), [], [], tmp_path, Work(steps=20, killed_at=10, limit=0.3))


def a_run(folder: Path, name: str, *losses: float, **facts: Any) -> Path:
    directory = folder / "outputs" / name / "1"
    directory.mkdir(parents=True)
    facts = {"status": "finished", "steps": 20, "device": {"type": "cpu", "precision": "fp32"}} | facts
    (directory / "run.json").write_text(json.dumps(facts))
    lines = [{"step": 10 * n, "val/loss": loss, "perf/tokens_per_sec": 100.0} for n, loss in enumerate(losses)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 9')
    return directory


@pytest.mark.parametrize(
    ("losses", "facts", "sentence"),
    [
        ((3.0, 3.1), {}, "the validation loss does not fall, but goes from 3.0 to 3.1"),
        ((3.0, float("nan")), {}, "the validation loss does not fall"),
        ((3.0, 2.0), {"device": {"type": "mps", "precision": "fp32"}}, "it ran on mps in fp32"),
    ],
)
def test_training_that_learns_nothing_or_elsewhere_has_failed(
    losses: tuple[float, ...], facts: Any, sentence: str, verification: Verification, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(monkeypatch, "pass")
    a_run(verification.folder, "whole", *losses, **facts)
    with pytest.raises(Failed, match=sentence):
        verification.train()


@pytest.mark.parametrize(("type_", "apart", "passes"), [("cpu", 1e-9, False), ("mps", 1e-4, True), ("cuda", 1e-2, False)])
def test_losses_of_a_resumed_run_are_equal_to_the_bit_on_a_cpu_and_close_elsewhere(
    type_: Any, apart: float, passes: bool, verification: Verification
) -> None:
    verification.device = device("fp32", type_)
    for name, loss in (("whole", 2.0), ("killed", 2.0 * (1 + apart))):
        path = a_run(verification.folder, name, 3.0, loss) / "metrics.jsonl"
        path.write_text(path.read_text().rpartition("\n")[0] + "\n")
    if passes:
        assert "2 within 0.0001" in verification.compare()
    else:
        with pytest.raises(Failed, match="the first to part is at step 10"):
            verification.compare()
    assert verification.figures["resumed_differs_by"] == pytest.approx(apart, rel=1e-5)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"resumed": [{"step": 0}]}, "it began anew"),
        ({"status": "failed", "steps": 9}, "its status is failed at step 9"),
        ({"steps": 12}, "finished at step 12"),
    ],
)
def test_a_run_that_does_not_go_on_to_its_end_has_failed(
    facts: dict[str, Any], sentence: str, verification: Verification, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(monkeypatch, "pass")
    monkeypatch.setattr(verification, "work", Work(steps=20))
    a_run(verification.folder, "killed", 3.0, **facts)
    with pytest.raises(Failed, match=sentence):
        verification.resume()


def test_reproducing_within_tolerance_passes_on_an_accelerator_alone(
    verification: Verification, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(verification.folder, "whole", 3.0, 2.0)
    python(monkeypatch, "import sys; print('reproduced within tolerance: ...'); sys.exit(3)")
    monkeypatch.setattr(verification, "work", Work())
    with pytest.raises(Failed, match="exit code 3"):
        verification.reproduce()
    verification.device = device("fp32", "mps")
    assert verification.reproduce() == "reproduced within tolerance: ..."


def test_a_text_that_the_export_writes_otherwise_or_none_has_failed(
    verification: Verification, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(verification.folder, "whole", 3.0, 2.0)
    monkeypatch.setattr(verification, "work", Work())
    python(monkeypatch, "import sys; print(sys.argv[3].partition('=')[2], 'and', sys.argv[2])")
    assert "and run=outputs/whole/1" in verification.generate()
    with pytest.raises(Failed, match=r"and run=exported.*but the run another text"):
        verification.use_export()
    python(monkeypatch, "import sys; print(sys.argv[3].partition('=')[2])")
    with pytest.raises(Failed, match="nothing behind the prompt"):
        verification.generate()


def test_a_command_that_hangs_is_ended_with_all_that_it_has_started(
    verification: Verification, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(monkeypatch, STARTS_ANOTHER)
    monkeypatch.setattr(verification, "work", Work(limit=1.0))
    with pytest.raises(Failed, match="it took more than 1 s"):
        verification.train()
    monkeypatch.setattr(verification, "work", Work(limit=1.0))
    with pytest.raises(Failed, match="after 1 s it was at step 0"):
        verification.kill()
    assert_gone(verification.folder / "started")


def test_the_program_is_found_from_another_folder(tmp_path: Path) -> None:
    done = program.run(["--version"], tmp_path, 60.0)
    assert (done.code, done.out.split()[0], done.err) == (0, "cai", "")
    assert done.command == "cai --version"
