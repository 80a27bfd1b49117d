"""Shared by the tests of exports."""

from __future__ import annotations

from tests.exchange.version_4 import transformers_4 as transformers_4
