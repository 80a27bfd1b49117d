"""``cai board``: TensorBoard over the runs, in a process of its own that ends with this one."""

from __future__ import annotations

if __name__ == "__main__":
    from cai.cli import run_verb

    raise SystemExit(run_verb("board"))

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from cai.columns import one_line
from cai.config.board import BoardConfig
from cai.errors import CaiError, ConfigError, RunError
from cai.options import config_of, named_folder
from cai.overrides import parse_arguments

ADDRESS = re.compile(r"at (http://\S+?)/? \(Press")
"""In the line by which TensorBoard says that it is ready."""
PATIENCE = 10.0
"""Seconds that TensorBoard may take to end."""
PROGRAM = """\
import os, sys, threading
def end_with_parent():
    sys.stdin.read()
    os._exit(1)
threading.Thread(target=end_with_parent, daemon=True).start()
from tensorboard.main import run_main
run_main()
"""
"""TensorBoard, which ends when its standard input does: also when this process is killed."""


def main(words: Sequence[str]) -> int:
    """The ``board`` verb: serves until it is stopped. Returns 0 after Ctrl-C, 143 after SIGTERM, else TensorBoard's code."""
    named, rest = named_folder(words)
    config = config_of("board", BoardConfig, parse_arguments(rest))
    folder = named or Path(config.output_dir).expanduser()
    if not os.path.isdir(folder):
        raise RunError(f"board must be given a folder of runs, but {folder} is none. Start with: cai train")
    if importlib.util.find_spec("tensorboard") is None:
        raise CaiError("board needs TensorBoard, which is not installed. Install it with: pip install tensorboard")
    if next(folder.rglob("events.out.tfevents.*"), None) is None:
        print(f"note: there is no run in {folder} yet; it appears as soon as there is one", file=sys.stderr)
    refuse_taken(config.host, config.port)
    with sigterm_as_interrupt():
        return serve(command(folder, config), folder, opens=config.open)


def command(folder: Path, config: BoardConfig) -> list[str]:
    """What starts TensorBoard. A run that was resumed or evaluated has several event files, all of which may grow."""
    where = ["--logdir", str(folder), "--host", config.host, "--port", str(config.port)]
    return [sys.executable, "-W", "ignore", "-c", PROGRAM, *where, "--reload_multifile", "true"]


def refuse_taken(host: str, port: int) -> None:
    """Raise ``ConfigError`` unless a page can be served there: TensorBoard would say it after seconds, less plainly."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended is no obstacle
            probe.bind(address)
    except socket.gaierror:
        raise ConfigError(f"`host` must be an address of this machine, but is {host}. Try host=127.0.0.1.") from None
    except PermissionError:
        raise ConfigError(f"`port` must be one that you may use, but is {port}. Try port=6006.") from None
    except OSError as error:
        raise ConfigError(
            f"`port` must be free at {host}, but {port} cannot be used ({error.strerror}). Try port={port + 1}, or port=0"
            " for any that is free."
        ) from None


def serve(words: Sequence[str], folder: Path, *, opens: bool) -> int:
    """Run TensorBoard until it ends or someone stops this."""
    said: list[str] = []
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(words, stdin=pipe, stdout=nowhere, stderr=pipe, text=True) as process:
        assert process.stderr is not None
        rest = threading.Thread(target=pass_on, args=(process.stderr,), daemon=True)
        try:
            if (address := wait_for_address(process.stderr, said)) is not None:
                print(f"TensorBoard over {folder}: {address}  (Ctrl-C ends it)", flush=True)
                rest.start()
                if opens:
                    open_page(address)
            code = process.wait()
        except KeyboardInterrupt as stop:
            return getattr(stop, "exit_code", 0)  # Ctrl-C is how one leaves a page
        finally:
            end(process)
            if rest.ident is not None:
                rest.join()
    if address is None:
        pass_on(said)
        raise CaiError(f"TensorBoard must start, but ended with exit code {code}. What it said stands above.")
    return code


def wait_for_address(lines: Iterable[str], said: list[str]) -> str | None:
    """Where TensorBoard can be reached, once it says so; ``None`` if it ends before. ``said`` takes its other lines."""
    for line in lines:
        if found := ADDRESS.search(line):
            return found[1]
        said.append(line)
    return None


def pass_on(lines: Iterable[str]) -> None:
    """Have the user see what TensorBoard complains of."""
    for line in lines:
        if "caught SIGTERM" not in line:  # its farewell
            print(one_line(line.rstrip("\n")), file=sys.stderr)  # it may name what a stranger has named


def open_page(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        print("note: no browser could be opened; open the address yourself", file=sys.stderr)


def end(process: subprocess.Popen[str]) -> None:
    """Have TensorBoard end, by force if it does not; it writes nothing, so nothing is lost."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Terminated(KeyboardInterrupt):
    """SIGTERM; a shell reports 143 for it."""

    exit_code = 128 + signal.SIGTERM


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Inside, SIGTERM raises ``Terminated``. Does nothing outside of the main thread, where Python has no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_: int, __: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
