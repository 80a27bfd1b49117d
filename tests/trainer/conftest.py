"""Closes what the trainers of a test have opened; file systems with and without hard links."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.trainer.making import OPENED


@pytest.fixture(autouse=True)
def _close_recorders() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def refuse_links(*_: object) -> None:
    raise OSError(95, "Operation not supported")


@pytest.fixture(params=["links", "copies"])
def _with_and_without_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "copies":
        monkeypatch.setattr(os, "link", refuse_links)
