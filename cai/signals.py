"""SIGTERM and SIGINT: the first asks to stop, a second stops at once. (Command layer.)

Python runs signal handlers between two bytecodes of the main thread, which may be minutes away inside a tokenizer's Rust or
a matrix product. A thread of its own therefore sees every signal too: it ends the process when a second one comes, and when
the first has waited for long while nothing was going on that must end whole.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cai import interruption

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What Slurm, Kubernetes and `kill` send, and Ctrl-C."""

DEADLINE = 12.0
"""Seconds after which what may be abandoned is abandoned by force; Kubernetes and Slurm wait for about thirty."""

TOGETHER = 0.5
"""Seconds within which signals count as one: `timeout` and some launchers send theirs twice."""


@contextmanager
def listening() -> Iterator[None]:
    """Inside, signals ask to stop (``cai.interruption``). Does nothing outside of the main thread, where Python has none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interruption.reset()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    # A shell that starts a job in the background has it ignore Ctrl-C, which is then meant for another.
    before = {
        number: signal.getsignal(number) for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    wakeup_before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(ours,), daemon=True, name="signals")
    watcher.start()
    for number in before:
        signal.signal(number, _handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup_before)
        theirs.close()
        watcher.join()
        ours.close()
        interruption.reset()


def _handle(number: int, _: FrameType | None) -> None:
    if interruption.requested() is None:
        interruption.request(number)


def _watch(wakeups: socket.socket) -> None:
    """Lives as long as ``listening``; the other end of ``wakeups`` is closed to end it."""
    first, since = 0, 0.0
    while True:
        wait = None if not first else max(0.05, since + DEADLINE - time.monotonic())
        if select.select([wakeups], [], [], wait)[0]:
            received = wakeups.recv(1)
            if not received:
                return
            number = received[0]
            if number in SIGNALS and not first:
                first, since = number, time.monotonic()
                _say(f"\n{signal.Signals(number).name}: stopping, after what must end whole; a second one stops at once.\n")
            elif number in SIGNALS and time.monotonic() - since > TOGETHER:
                _say("\nstopped at once.\n")
                os._exit(128 + number)
        elif time.monotonic() - since > DEADLINE and interruption.may_be_forced():
            _say(f"\nstopped in the midst of what cannot be saved; it is begun anew on resuming.{interruption.advice()}\n")
            os._exit(128 + first)


def _say(text: str) -> None:
    """Straight to the terminal: this may be in the middle of a line that the main thread prints."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
