"""``cai board``: TensorBoard comes up over the runs, and goes when it should."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cai import board
from cai.cli import main
from cai.config.board import BoardConfig
from cai.recorder import Recorder

SERVER = "import sys; print('TensorBoard 1.0 at http://127.0.0.1:9/ (Press CTRL+C to quit)', file=sys.stderr)"


@pytest.fixture
def outputs(scratch: Path) -> Path:
    for name in ("a", "b"):
        (folder := scratch / "outputs/run" / name).mkdir(parents=True)
        with Recorder(folder) as recorder:
            recorder.metrics(1, {"val/loss": 2.0})
    return scratch / "outputs"


LIMIT = 60.0
"""Seconds after which something is wrong."""


def config(**changed: Any) -> BoardConfig:
    values = {"output_dir": "outputs", "port": 6006, "host": "127.0.0.1", "open": False}
    return BoardConfig.model_validate(values | changed)


@contextmanager
def killed_after(process: subprocess.Popen[str], seconds: float = LIMIT) -> Iterator[None]:
    """Inside, whoever reads what ``process`` says reads its end by then, whether it says anything or not."""
    clock = threading.Timer(seconds, process.kill)
    clock.start()
    try:
        yield
    finally:
        clock.cancel()


def test_nobody_waits_for_ever_for_a_process_that_says_nothing() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as silent, killed_after(silent, 0.2):
        assert silent.stdout is not None
        assert silent.stdout.readline() == ""


@contextmanager
def running(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program as a process of its own, and the address that it prints."""
    command = [sys.executable, "-m", "cai", "board", "port=0", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(board.__file__).parents[1])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            with killed_after(process):
                line = process.stdout.readline()
            assert line.startswith("TensorBoard over outputs: http://127.0.0.1:"), line
            yield process, line.split()[3]
        finally:
            process.kill()


def runs_at(address: str) -> list[str]:
    with urllib.request.urlopen(f"{address}/data/runs", timeout=5) as answer:
        found: list[str] = json.load(answer)
    return found


def is_gone(address: str, within: float = 10.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            runs_at(address)
        except (urllib.error.URLError, OSError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_tensorboard_shows_the_outputs_and_ends_with_the_program(outputs: Path, number: int, code: int) -> None:
    with running() as (process, address):
        end = time.monotonic() + 20
        while sorted(runs_at(address)) != ["run/a", "run/b"]:
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(15) == code
        assert is_gone(address)


def test_all_event_files_of_a_run_are_read_on(tmp_path: Path) -> None:
    words = board.command(tmp_path, config())
    assert words[words.index("--reload_multifile") + 1] == "true"
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--logdir") + 1] == str(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "board must be given a folder of runs, but nowhere is none. Start with: cai train"),
        (["port=x"], "`port` must be a whole number, but is 'x'."),
        (["port=70000"], "`port` must be at most 65535, but is 70000."),
        (["port=-1"], "`port` must be at least 0, but is -1."),
        (["port=6006.0"], "`port` must be a whole number, but is 6006.0. Try 6006."),
        (["host=null"], "`host` must be text, but is None."),
        (["port={", "-m"], "`port` must be a whole number, but is '{'."),
        (["host=nowhere.invalid"], "`host` must be an address of this machine, but is nowhere.invalid. Try host=127.0.0.1."),
        (["open=yes"], "`open` must be true or false, but is 'yes'."),
        (["prot=1"], "`prot` must be an option, but there is no such option. Did you mean port?"),
        (["outputs", "more"], "`more` must be an override of the form key=value."),
    ],
)
def test_mistakes_are_told_and_nothing_starts(
    outputs: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "serve", lambda *_, **__: pytest.fail("it started"))
    if "host=nowhere.invalid" in words:
        monkeypatch.setattr(socket, "getaddrinfo", unknown_host)
    assert main(["board", *words]) == 2
    assert said in capsys.readouterr().err


def unknown_host(*_: object, **__: object) -> None:
    raise socket.gaierror


def test_a_port_in_use_is_told_with_another_one(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["board", f"port={port}"]) == 2
    said = capsys.readouterr().err
    assert f"`port` must be free at 127.0.0.1, but {port} cannot be used (Address already in use)" in said
    assert f"Try port={port + 1}, or port=0 for any that is free." in said


def test_the_exit_code_is_that_of_tensorboard_if_it_ends_by_itself(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address))
    code = f"{SERVER}; print('a complaint', file=sys.stderr); sys.exit(3)"
    monkeypatch.setattr(board, "command", lambda *_: [sys.executable, "-c", code])
    assert main(["board", "port=0", "open=true"]) == 3
    assert opened == ["http://127.0.0.1:9"]
    said = capsys.readouterr()
    assert said.out == "TensorBoard over outputs: http://127.0.0.1:9  (Ctrl-C ends it)\n"
    assert sorted(said.err.splitlines()) == ["a complaint", "note: no browser could be opened; open the address yourself"]


def test_a_tensorboard_that_does_not_start_is_a_failure(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys; print('no such plugin', file=sys.stderr); sys.exit(4)"
    monkeypatch.setattr(board, "command", lambda *_: [sys.executable, "-c", code])
    assert main(["board", "port=0"]) == 1
    said = capsys.readouterr().err
    assert "no such plugin" in said
    assert "TensorBoard must start, but ended with exit code 4." in said


def test_a_folder_without_runs_is_served_and_said(
    scratch: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (scratch / "outputs").mkdir()
    monkeypatch.setattr(board, "command", lambda *_: [sys.executable, "-c", SERVER])
    assert main(["board", "port=0"]) == 0
    assert "there is no run in outputs yet" in capsys.readouterr().err


def test_without_tensorboard_it_says_what_to_install(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["board"]) == 1
    assert "pip install tensorboard" in capsys.readouterr().err


def test_the_words_come_into_the_config_and_help_is_its_yaml(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[list[str], Path, bool]] = []

    def serve(words: list[str], folder: Path, *, opens: bool) -> int:
        served.append((words, folder, opens))
        return 0

    monkeypatch.setattr(board, "serve", serve)
    monkeypatch.setattr(board, "refuse_taken", lambda *_: None)
    Path("a=b").mkdir()
    for words in (["a=b", "port=7", "open=true"], ["output_dir=a=b", "+host=0.0.0.0"]):
        assert main(["board", *words]) == 0
    capsys.readouterr()
    (first, folder, opens), (second, other, _) = served
    assert folder == other == Path("a=b")
    assert opens
    assert first[first.index("--port") + 1] == "7"
    assert (second[second.index("--host") + 1], second[second.index("--port") + 1]) == ("0.0.0.0", "6006")
    assert main(["board", "--help"]) == 0
    assert "\n  port: 6006            # of TensorBoard's page; 0: any that is free\n" in capsys.readouterr().out


def test_what_tensorboard_says_is_told_on_lines_that_move_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    board.pass_on(["run \x1b[2J\n", "TensorBoard caught SIGTERM; exiting...\n"])
    assert capsys.readouterr().err == "run \\x1b[2J\n"
