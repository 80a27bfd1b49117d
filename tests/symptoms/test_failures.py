"""What ends a run is told in a sentence with its remedy, noted in ``run.json``, and its traceback stays in the log."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cai
from cai.cli import main
from cai.diagnosis.of_run import symptoms_of_run
from cai.errors import ConfigError, OutputError, TrainingError
from cai.symptoms.failures import memory_of, message_of, symptom_of, symptom_of_text
from cai.trainer.update import Updater
from tests.conftest import TINY, run_directories, train_tiny

pytestmark = pytest.mark.usefixtures("scratch")

SHORT = ("trainer.max_steps=2", "trainer.eval_every=0", "trainer.eval_max_tokens=32", "trainer.samples=0")

MPS_OPERATOR = (
    "The operator 'aten::_linalg_eigh.eigenvalues' is not currently implemented for the MPS device. If you want this op to"
    " be considered for addition please comment on an issue. As a temporary fix, you can set the environment variable"
    " `PYTORCH_ENABLE_MPS_FALLBACK=1` to use the CPU as a fallback for this op. WARNING: this will be slower."
)
MPS_MEMORY = "MPS backend out of memory (MPS allocated: 1.0 GB, max allowed: 9.07 GB). Tried to allocate 256.00 MB."
CUDA_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB."


def more_than_there_is() -> None:
    """What PyTorch itself says."""
    torch.empty(2**55, dtype=torch.float64)


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


FAILURES: dict[str, tuple[Callable[[], None], str]] = {
    "cuda_memory": (raising(torch.OutOfMemoryError(CUDA_MEMORY)), "trainer.gradient_checkpointing=true"),
    "mps_memory": (raising(RuntimeError(MPS_MEMORY)), "model.block_size"),
    "host_memory": (more_than_there_is, "memory for 1 sequence at once (trainer.micro_batch_size), but has not: "),
    "mps_operator": (raising(NotImplementedError(MPS_OPERATOR)), "export PYTORCH_ENABLE_MPS_FALLBACK=1"),
    "nonfinite": (lambda: None, "trainer.detect_anomaly=true names the operation"),
    "disk_full": (raising(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.bin")), "Free some space"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("trained"))
        return train_tiny(*SHORT).absolute()


@pytest.fixture
def run(trained: Path, scratch: Path) -> Path:
    """A run of its own for each test."""
    return Path(shutil.copytree(trained, scratch / "run"))


@pytest.fixture
def failed(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[str, Path]:
    """What is said of a run that fails in its second step, and its directory."""
    fail, _ = FAILURES[request.param]
    original = Updater.accumulate

    def accumulate(self: Updater, batch: Any, step: int) -> torch.Tensor:
        if step == 1:
            fail()
        return original(self, batch, step) * (float("nan") if step == 1 else 1)

    monkeypatch.setattr(Updater, "accumulate", accumulate)
    assert main(["train", *TINY, *SHORT]) == 1
    (run,) = run_directories(Path("outputs"))
    return capsys.readouterr().err, run


@pytest.mark.slow
@pytest.mark.parametrize(("failed", "name"), [(name, name) for name in FAILURES], indirect=["failed"])
def test_a_run_that_fails_says_what_it_was_and_what_helps(failed: tuple[str, Path], name: str) -> None:
    err, run = failed
    assert FAILURES[name][1] in err
    assert "Traceback" not in err
    assert "Error:" not in err.partition("(run directory")[0]
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert (facts["status"], facts["symptom"]) == ("failed", name)
    assert facts["error"] in err
    assert "Traceback" in (run / "train.log").read_text(encoding="utf-8")
    (told,) = [one for one in symptoms_of_run(run) if one.name == name]
    assert told.sentence == facts["error"]


def test_what_was_noted_is_gone_once_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Updater, "accumulate", lambda *_: more_than_there_is())
        assert main(["train", *TINY, *SHORT]) == 1
    (run,) = run_directories(Path("outputs"))
    assert main(["resume", str(run)]) == 0
    assert "symptom" not in json.loads((run / "run.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_python_without_memory_is_told_in_training_and_in_generating(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cai.generation.Generator.pieces", lambda *_: raising(MemoryError())())
    capsys.readouterr()
    assert main(["generate", f"run={run}", "question=a", "device.threads=1"]) == 1
    err = capsys.readouterr().err
    assert "the computer must have memory for what is computed, but has not: MemoryError. Try a smaller batch_size" in err
    monkeypatch.setattr("cai.train.build_shards", lambda *_: raising(MemoryError())())
    assert main(["train", *TINY]) == 1
    assert "Try a smaller model.block_size" in capsys.readouterr().err


def test_another_error_is_raised_as_it_is(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cai.generation.Generator.pieces", lambda *_: raising(RuntimeError("mat1 and mat2"))())
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        main(["generate", f"run={run}", "question=a", "device.threads=1"])
    assert symptom_of(RuntimeError("mat1 and mat2")) is None
    assert message_of(RuntimeError("mat1 and mat2")) == "RuntimeError: mat1 and mat2"


def test_a_tokenizer_that_is_missing_is_told_with_what_to_do(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "tokenizer=pretrained", "tokenizer.path=nowhere.json", "device=cpu"]) == 2
    assert "tokenizer.path must name a tokenizer.json, but nowhere.json cannot be read" in (err := capsys.readouterr().err)
    assert "or train one: tokenizer=bpe." in err
    (run / "tokenizer.json").unlink()
    assert main(["generate", f"run={run}", "question=a"]) == 2
    assert "tokenizer.json, but there is no such file. Copy the whole run directory" in capsys.readouterr().err


def test_a_checkpoint_of_another_shape_is_told_with_the_option_that_differs(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(config.replace("n_embd: 16", "n_embd: 32"), encoding="utf-8")
    capsys.readouterr()
    assert main(["generate", f"run={run}", "question=a", "device.threads=1"]) == 2
    err = capsys.readouterr().err
    assert "must hold weights of the configured model, but does not: model.n_embd: checkpoint 16, config 32." in err
    assert "Take the checkpoint and config.yaml from the same run." in err


def test_the_words_of_pytorch_on_another_shape_are_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(2, 3).load_state_dict(nn.Linear(2, 4).state_dict())
    told = symptom_of(caught.value)
    assert told is not None
    assert told.name == "other_shape"
    assert "does not: size mismatch for weight: copying a param with shape torch.Size([4, 2])" in told.sentence


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_gpu_that_is_not_there_is_told(device: str) -> None:
    config = cai.compose(["device=cpu"]).device.model_copy(update={"type": device})
    with pytest.raises(ConfigError, match=rf"device of this machine \(cpu\), but is {device}\. Try device=auto") as caught:
        config.build()
    assert caught.value.symptom == "device_missing"


def test_the_fallback_that_was_switched_off_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "0")
    told = symptom_of(NotImplementedError(MPS_OPERATOR))
    assert told is not None
    assert "the operator aten::_linalg_eigh.eigenvalues is not there for MPS, and PYTORCH_ENABLE_MPS_FALLBACK is 0" in (
        told.sentence
    )
    assert symptom_of(NotImplementedError("abstract")) is None


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), "cuda_memory"),
        (torch.OutOfMemoryError(""), "cuda_memory"),
        (RuntimeError("Invalid buffer size: 16.00 GB"), "mps_memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), "host_memory"),
        (MemoryError(), "host_memory"),
        (ValueError("CUDA out of memory"), None),
        (RuntimeError("out of range"), None),
        (TrainingError("CUDA out of memory, as a text of CAI's says"), None),
    ],
)
def test_memory_is_recognised_and_nothing_else_is_taken_for_it(error: BaseException, name: str | None) -> None:
    assert memory_of(error) == name


def test_a_full_disk_is_the_symptom_of_what_cai_raises_for_it() -> None:
    error = OutputError("metrics.jsonl could not be written (No space left). Free some space.")
    assert symptom_of(error) is None
    error.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    told = symptom_of(error)
    assert told is not None
    assert told == ("disk_full", str(error))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"RuntimeError: {MPS_MEMORY}", "mps_memory"),
        (f"OutOfMemoryError: {CUDA_MEMORY}", "cuda_memory"),
        (f"NotImplementedError: {MPS_OPERATOR}", "mps_operator"),
        ("MemoryError: ", "host_memory"),
        ("train/loss must be a finite number, but is nan at step 4.", "nonfinite"),
        ("OSError: [Errno 28] No space left on device", "disk_full"),
        ("KeyError: 'a'", None),
        ("the data are others now", None),
    ],
)
def test_an_older_run_that_kept_a_line_alone_is_understood(text: str, name: str | None) -> None:
    told = symptom_of_text(text)
    assert (told and told.name) == name


def test_a_run_that_failed_for_an_unknown_reason_is_told_as_such(run: Path) -> None:
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    facts |= {"status": "failed", "error": "KeyError: 'a'\x1b[31m"}
    (run / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    (told,) = [one for one in symptoms_of_run(run) if one.name == "failed"]
    assert told.sentence == "the run failed: KeyError: 'a' [31m. Its train.log has the traceback."
