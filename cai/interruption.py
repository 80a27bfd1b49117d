"""The wish to stop: where it takes effect at once, and where it waits until what was begun is whole.

Signals belong to the process, and so does this module's state. Libraries say what must not be cut in two; who installs
signal handlers (the command layer) calls ``request``. Without a handler nothing here ever happens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from cai.errors import CaiError

PATIENCE = 8.0
"""Seconds that an optimizer step may take after the wish to stop; then it is abandoned between two micro-batches."""


class Interrupted(KeyboardInterrupt):
    """Someone asked the process to stop. ``exit_code`` is what a shell reports for the signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.exit_code = 128 + signal_number


class _State:
    signal_number: int | None = None
    since: float = 0.0
    was_raised: bool = False
    depth: int = 0
    advice: str = ""


def reset() -> None:
    """Forget an earlier wish: another command begins, or this one is over."""
    _State.signal_number, _State.was_raised, _State.depth, _State.advice = None, False, 0, ""


def request(signal_number: int) -> None:
    """Ask to stop. Raises ``Interrupted`` here and now, unless something deferred is going on."""
    _State.signal_number, _State.since = signal_number, time.monotonic()
    if not _State.depth:
        _raise()


def requested() -> int | None:
    """The signal that asked to stop; ``None`` as long as there was none."""
    return _State.signal_number


def advise(command: str) -> None:
    """Keep the command that goes on, should the process have to be ended by force."""
    _State.advice = f" Go on with:\n  {command}"


def advice() -> str:
    """What ``advise`` was told, as the end of a message."""
    return _State.advice


def is_interruption(error: BaseException) -> bool:
    """Whether ``error`` is the wish to stop, which a library may have wrapped; an error of CAI's own is itself."""
    return isinstance(error, KeyboardInterrupt) or (_State.was_raised and not isinstance(error, CaiError))


def may_be_forced() -> bool:
    """Whether nothing would be lost if the process ended now: nothing deferred, and the wish not on its way already."""
    return not _State.depth and not _State.was_raised


@contextmanager
def deferred(*, then_raise: bool = True) -> Iterator[None]:
    """What stands inside is done whole. A wish that comes meanwhile is raised at the end, unless ``then_raise`` is off."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
    if then_raise and _State.signal_number is not None and not _State.depth:
        _raise()


def raise_if_overdue() -> None:
    """Raise ``Interrupted`` if the wish has waited for long; for places where deferred work may still be given up."""
    if _State.signal_number is not None and time.monotonic() - _State.since > PATIENCE:
        _raise()


def _raise() -> NoReturn:
    assert _State.signal_number is not None
    _State.was_raised = True
    raise Interrupted(_State.signal_number)
