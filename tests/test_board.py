"""``cai board``: TensorBoard comes up over the runs, and goes when it should."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cai import board
from cai.cli import main
from cai.recorder import Recorder

SERVER = "import sys; print('TensorBoard 1.0 at http://127.0.0.1:9/ (Press CTRL+C to quit)', file=sys.stderr)"


@pytest.fixture
def outputs(scratch: Path) -> Path:
    for name in ("a", "b"):
        (folder := scratch / "outputs/run" / name).mkdir(parents=True)
        with Recorder(folder) as recorder:
            recorder.metrics(1, {"val/loss": 2.0})
    return scratch / "outputs"


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
    words = board.command(tmp_path, {"host": "127.0.0.1", "port": 6006, "open": False})
    assert words[words.index("--reload_multifile") + 1] == "true"
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--logdir") + 1] == str(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "board must be given a folder of runs, but nowhere is none. Start with: cai train"),
        (["port=x"], "`port` must be a whole number, at least 0, but is 'x'. Try port=6006."),
        (["port=70000"], "`port` must be at most 65535, but is 70000. Try port=6006."),
        (["host=nowhere.invalid"], "`host` must be an address of this machine, but is nowhere.invalid. Try host=127.0.0.1."),
        (["open=yes"], "`open` must be true or false, but is 'yes'. Try open=true."),
        (["prot=1"], "`prot` must be an option of board, but there is no such option. Did you mean port?"),
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
