"""All that can be tried on a device, written to a file that can be sent to others."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

import cai
from cai.cli import main
from cai.config.roots import TrainConfig
from cai.diagnosis import program
from cai.diagnosis.numerics import Check
from cai.diagnosis.verification import Verification, Work
from cai.errors import OutputError
from cai.verify import Record, device_words, verify
from tests.diagnosis.commands import STARTS_ANOTHER, assert_gone, python
from tests.processes import PRELOADED, context

STEPS = [
    "self-test",
    "train",
    "kill",
    "resume",
    "same losses",
    "reproduce",
    "generate",
    "evaluate",
    "export",
    "use the export",
]


SMALLEST = Work(
    (
        *("data.samples=100", "tokenizer.vocab_size=300", "model.n_layer=1", "model.n_embd=16", "model.block_size=64"),
        *("trainer.batch_size=4", "trainer.samples=0", "optimizer.lr=0.05"),
    ),
    steps=80,
    killed_at=25,
    new_tokens=8,
)


class Forked:
    """A command in a process of its own, forked from one that has imported all of it: in the place of ``Popen``."""

    def __init__(self, command: list[str], *, cwd: Path, stdout: IO[bytes], stderr: IO[bytes], **_: object) -> None:
        assert command[:3] == [sys.executable, "-m", "cai"]
        context.set_forkserver_preload(PRELOADED)
        self.process = context.Process(target=_command, args=(command[3:], str(cwd), stdout.name, stderr.name))
        self.process.start()
        self.pid = self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()


def _command(words: list[str], cwd: str, out: str, err: str) -> None:
    os.setsid()
    os.chdir(cwd)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    sys.exit(main(words))


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    composed: TrainConfig = cai.compose(["device=cpu", "device.precision=fp32", "device.threads=1"])
    return composed


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """What the self-test finds."""
    found = [Check("attention", True, "fine"), Check("loss", True, "fine")]
    monkeypatch.setattr("cai.verify.self_test", lambda device: found)
    return found


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in the home of somebody; temporary ones lie there too."""
    home = tmp_path / "home" / "chulsoo"
    (home / "tmp").mkdir(parents=True)
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", "chulsoo")
    monkeypatch.setenv("LOGNAME", "chulsoo")
    monkeypatch.setattr(program, "tempfile", SimpleNamespace(mkdtemp=partial(tempfile.mkdtemp, dir=home / "tmp")))
    return home


def read(path: str | Path = "verify.json") -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return facts


def with_steps(monkeypatch: pytest.MonkeyPatch, **steps: tuple[Callable[[Verification], str], tuple[str, ...]]) -> None:
    monkeypatch.setattr(
        Verification, "steps", lambda self: {name: (partial(step, self), needs) for name, (step, needs) in steps.items()}
    )


@pytest.mark.slow
def test_all_that_a_user_does_is_done_and_told(
    config: TrainConfig,
    checks: list[Check],
    places: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(program, "subprocess", SimpleNamespace(Popen=Forked, DEVNULL=None))
    machine = {"system": "some", "disk": places / "outputs"}
    assert verify(config, machine, Path("verify.json"), work=SMALLEST) == 0
    facts = read()
    assert (facts["passed"], facts["finished"]) == (True, True)
    assert [step["name"] for step in facts["steps"]] == STEPS
    assert all(step["passed"] for step in facts["steps"]), facts["steps"]
    assert (facts["checks"], facts["machine"]) == ([c._asdict() for c in checks], {"system": "some", "disk": "~/outputs"})
    assert facts["figures"]["tokens_per_second"] > facts["figures"]["resumed_differs_by"] == 0
    by_name = {step["name"]: step for step in facts["steps"]}
    assert by_name["kill"]["exit_code"] == -signal.SIGKILL
    assert by_name["resume"]["detail"] in ("from step 20", "from step 40", "from step 60")
    assert by_name["export"]["command"].startswith("cai export run=outputs/whole/")
    assert "chulsoo" not in Path("verify.json").read_text(encoding="utf-8")

    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines() if line.startswith("  ") and line[2] != " "] == ["passed"] * 10
    assert list(Path("tmp").iterdir()) == []
    assert {path.name for path in places.iterdir()} == {"tmp", "verify.json"}


def test_the_device_is_typed_as_it_was_found(config: TrainConfig) -> None:
    device = config.device.build()
    assert device_words(config.device, device) == [
        *("device.type=cpu", "device.precision=fp32", "device.compile=false", "device.compile_optimizer=false"),
        *("device.threads=1", "device.deterministic=false", "device.self_test=false"),
        *("device.processes=1", "device.strategy=ddp", "device.cpu_offload=false"),
    ]
    open_ones = config.device.model_copy(update={"type": "auto", "precision": "auto"})
    assert device_words(open_ones, device)[:2] == ["device.type=cpu", "device.precision=fp32"]


@pytest.mark.usefixtures("places")
def test_what_fails_is_told_with_its_output_and_what_needs_it_is_not_tried(
    config: TrainConfig, checks: list[Check], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "import os, sys; print('begun', os.getcwd()); sys.exit(f'no memory in {os.path.expanduser(\"~\")}/x')"
    python(monkeypatch, script)
    checks[1] = Check("loss", False, "off by 2")
    assert verify(config, {}, Path("verify.json"), ["mine"]) == 1
    facts = read()
    by_name = {step["name"]: step for step in facts["steps"]}
    assert (facts["passed"], facts["finished"]) == (False, True)
    assert [step["name"] for step in facts["steps"] if step["passed"]] == []
    assert by_name["train"]["detail"] == "exit code 1: no memory in ~/x"
    assert by_name["train"]["exit_code"] == 1
    assert by_name["train"]["output"] == ["begun <temporary>", "no memory in ~/x"]
    assert by_name["train"]["command"].endswith("trust=mine")
    assert by_name["kill"]["detail"] == "it ended by itself at step 0 (exit code 1) before it could be killed"
    assert by_name["same losses"]["detail"] == "not tried, as train and resume failed"
    assert by_name["export"]["detail"] == "not tried, as train failed"
    said = capsys.readouterr().out
    assert "1 of 2 checks fail" in said
    assert "loss: off by 2" in said
    assert "10 of 10 failed: self-test, train, kill" in said


@pytest.mark.usefixtures("places", "checks")
def test_a_step_that_breaks_ends_nothing_and_only_what_it_is_needed_for_waits(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_: Verification) -> str:
        raise KeyError("val/loss")

    with_steps(monkeypatch, one=(breaks, ()), two=(lambda _: "fine", ()), three=(lambda _: "fine", ("one",)))
    assert verify(config, {}, Path("verify.json")) == 1
    steps = {step["name"]: step for step in read()["steps"]}
    assert steps["one"]["detail"] == "KeyError: 'val/loss'"
    assert [steps[name]["passed"] for name in ("one", "two", "three")] == [False, True, False]


@pytest.mark.usefixtures("places", "checks")
def test_what_is_known_is_written_before_each_step_and_a_folder_that_is_not_there_is_told_at_once(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(_: Verification) -> str:
        seen.append(read())
        return "fine"

    with_steps(monkeypatch, one=(look, ()))
    assert verify(config, {}, Path("verify.json")) == 0
    assert [step["name"] for step in seen[0]["steps"]] == ["self-test"]
    assert (seen[0]["passed"], seen[0]["finished"]) == (False, False)
    with pytest.raises(OutputError, match="missing"):
        verify(config, {}, Path("missing/verify.json"))


@pytest.mark.usefixtures("checks")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_what_it_has_started_and_leaves_nothing_but_the_file(
    number: int, config: TrainConfig, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = places / "started"
    python(monkeypatch, STARTS_ANOTHER.replace('"started"', repr(str(started))))

    def send() -> None:
        while not started.exists() or not started.read_text().endswith("\n"):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        verify(config, {}, Path("verify.json"))
    sender.join()
    assert getattr(caught.value, "exit_code", None) == 128 + number
    assert_gone(started)
    assert list(Path("tmp").iterdir()) == []
    assert not read()["finished"]


def test_the_record_has_no_changes_of_the_code_and_speaks_to_a_terminal_without_korean(
    config: TrainConfig, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record(Path("verify.json"), places / "tmp", {}, config.device, config.device.build())
    assert read()["code"].keys() <= {"commit", "dirty", "sources"}
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown := io.BytesIO(), encoding="cp1252"))
    record.say("passed", "기관 100")
    assert shown.getvalue().split() == [b"passed", b"??", b"100"]
