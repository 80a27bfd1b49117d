"""Real signals to real processes: the first asks to stop, a second ends the process, whatever the main thread is doing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cai import interruption, signals
from cai.interruption import Interrupted
from cai.signals import listening

SOON = 15.0
"""Seconds: far more than any of this takes, far less than what a stuck process would sleep."""

# A call of C that neither returns on a signal nor holds the interpreter's lock: a mutex that another has. Python's handlers
# cannot run until it returns.
HEAD = """
import ctypes, os, signal, sys, threading, time
from cai import interruption, signals
from cai.signals import listening

libc = ctypes.CDLL(None)
mutex = ctypes.create_string_buffer(256)

def block():
    threading.Timer(0.2, ready).start()
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)  # for ever: the same thread has it

def ready():
    print("ready", flush=True)
"""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a script and waits until it says that it is ready; kills what still runs after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HEAD + script]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, and what was printed."""
    said, complained = process.communicate(timeout=SOON)
    return process.returncode, said, complained


WAIT = """
try:
    with listening():
        ready()
        time.sleep(60)
except KeyboardInterrupt as error:
    print(type(error).__name__, error.exit_code, threading.current_thread() is threading.main_thread(), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_raises_in_the_main_thread_and_is_said(start: Callable[..., subprocess.Popen[str]], number: int) -> None:
    process = start(WAIT)
    process.send_signal(number)
    code, said, complained = ended(process)
    assert (code, said) == (0, f"Interrupted {128 + number} True\n")
    assert f"{signal.Signals(number).name}: stopping" in complained


TWICE = """
try:
    with listening():
        try:
            ready()
            time.sleep(60)
        except KeyboardInterrupt:
            print("first", flush=True)
            time.sleep(0.4)
            raise
except KeyboardInterrupt as error:
    print("whole", error.exit_code, flush=True)
"""


def test_two_signals_within_half_a_second_are_one(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start(TWICE)
    process.terminate()
    assert process.stdout is not None
    assert process.stdout.readline() == "first\n"
    process.terminate()
    assert ended(process)[:2] == (0, "whole 143\n")


def test_what_timeout_sends_to_process_and_group_is_one_signal() -> None:
    command = ["timeout", "60", sys.executable, "-c", HEAD + TWICE]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()  # which `timeout` passes on as it does at its own end: to the program, then to all of its group
        assert process.stdout.read() == "first\nwhole 143\n"


LATER = "signals.TOGETHER = 0.1\nwith listening():\n    PLACE"


@pytest.mark.parametrize("place", ["block()", "with interruption.deferred(): block()"])
@pytest.mark.parametrize(("first", "second"), [(signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)])
def test_a_later_second_signal_ends_the_process_at_once(
    start: Callable[..., subprocess.Popen[str]], place: str, first: signal.Signals, second: signal.Signals
) -> None:
    process = start(LATER.replace("PLACE", place))
    process.send_signal(first)
    time.sleep(0.4)
    assert process.poll() is None, "the first signal alone does not end what is stuck, before the deadline"
    process.send_signal(second)
    code, _, complained = ended(process)
    assert code == 128 + second
    assert "stopped at once" in complained


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_stuck_is_given_up_at_the_deadline(start: Callable[..., subprocess.Popen[str]], number: int) -> None:
    process = start("signals.DEADLINE = 0.3\n" + LATER.replace("PLACE", "interruption.advise('cai resume x'); block()"))
    process.send_signal(number)
    code, _, complained = ended(process)
    assert code == 128 + number
    assert complained.endswith("; it is begun anew on resuming. Go on with:\n  cai resume x\n")


OVERTIME = """
signals.DEADLINE = 0.3
try:
    with listening(), interruption.deferred():
        ready()
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            time.sleep(0.05)
        print("whole", flush=True)
except KeyboardInterrupt as error:
    print(error.exit_code, flush=True)
"""


def test_what_is_deferred_is_never_given_up_at_the_deadline(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start(OVERTIME)
    process.terminate()
    assert ended(process)[:2] == (0, "whole\n143\n")


GAP = """
signals.DEADLINE = 0.3
with listening():
    with interruption.deferred(then_raise=False):
        ready()
        time.sleep(0.7)
        print("whole", flush=True)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)
"""


def test_after_the_deadline_the_end_of_what_is_deferred_is_waited_for_and_no_longer(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    process = start(GAP)
    process.terminate()
    assert ended(process)[:2] == (143, "whole\n")


IGNORED = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    with listening():
        ready()
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN, interruption.requested(), flush=True)
        time.sleep(60)
except KeyboardInterrupt as error:
    print(error.exit_code, signal.getsignal(signal.SIGINT) is signal.SIG_IGN, flush=True)
"""


def test_a_sigint_that_was_ignored_stays_ignored_and_sigterm_still_works(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    process = start(IGNORED)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "True None\n"
    process.terminate()
    assert ended(process)[:2] == (0, "143 True\n")


@pytest.mark.parametrize("fails", [False, True])
def test_afterwards_all_is_as_it_was_before(fails: bool) -> None:
    mine, wakeup = (lambda *_: None), signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    before = {number: signal.signal(number, mine) for number in signals.SIGNALS}
    threads = threading.active_count()
    try:
        for _ in range(3):
            try:
                with listening():
                    assert signal.getsignal(signal.SIGTERM) is not mine
                    assert threading.active_count() == threads + 1
                    if fails:
                        signal.raise_signal(signal.SIGTERM)
            except Interrupted:
                assert fails
            assert interruption.requested() is None
            assert [signal.getsignal(number) for number in signals.SIGNALS] == [mine, mine]
            assert signal.set_wakeup_fd(-1) == wakeup
            assert threading.active_count() == threads
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        interruption.reset()


def test_outside_of_the_main_thread_nothing_is_listened_to() -> None:
    before, seen = [signal.getsignal(number) for number in signals.SIGNALS], []

    def listen() -> None:
        with listening():
            seen.append(([signal.getsignal(number) for number in signals.SIGNALS], threading.active_count()))

    threads = threading.active_count()
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [(before, threads + 1)]
