"""Closes what the trainers of a test have opened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.trainer.making import OPENED


@pytest.fixture(autouse=True)
def _close_recorders() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()
