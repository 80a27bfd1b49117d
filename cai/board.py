"""``cai board``: TensorBoard over the runs, in a process of its own that ends with this one."""

from __future__ import annotations

if __name__ == "__main__":
    from cai.cli import run_verb

    raise SystemExit(run_verb("board"))

import importlib.util
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

from cai.errors import CaiError, ConfigError, RunError
from cai.options import Plain, read_options
from cai.overrides import parse_arguments, refuse_sweep

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
    folder, options = read_words("board", words)
    if not folder.is_dir():
        raise RunError(f"board must be given a folder of runs, but {folder} is none. Start with: cai train")
    if importlib.util.find_spec("tensorboard") is None:
        raise CaiError("board needs TensorBoard, which is not installed. Install it with: pip install tensorboard")
    if next(folder.rglob("events.out.tfevents.*"), None) is None:
        print(f"note: there is no run in {folder} yet; it appears as soon as there is one", file=sys.stderr)
    refuse_taken(str(options["host"]), options["port"])
    with sigterm_as_interrupt():
        return serve(command(folder, options), folder, opens=bool(options["open"]))


def read_words(verb: str, words: Sequence[str]) -> tuple[Path, dict[str, Plain]]:
    """A folder, the outputs unless one is named first, and the verb's options. Raises ``ConfigError``."""
    named = bool(words) and "=" not in words[0] and not words[0].startswith("-")
    arguments = parse_arguments(words[named:])
    refuse_sweep(arguments, verb)
    return Path(words[0] if named else "outputs").expanduser(), read_options(verb, arguments.typed, arguments.problems)


def command(folder: Path, options: dict[str, Plain]) -> list[str]:
    """What starts TensorBoard. A run that was resumed or evaluated has several event files, all of which may grow."""
    where = ["--logdir", str(folder), "--host", str(options["host"]), "--port", str(options["port"])]
    return [sys.executable, "-W", "ignore", "-c", PROGRAM, *where, "--reload_multifile", "true"]


def refuse_taken(host: str, port: Plain) -> None:
    """Raise ``ConfigError`` unless a page can be served there: TensorBoard would say it after seconds, less plainly."""
    port = int(port)
    if port > 65535:
        raise ConfigError(f"`port` must be at most 65535, but is {port}. Try port=6006.")
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
        print("".join(said).strip(), file=sys.stderr)
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
            print(line, end="", file=sys.stderr)


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
