"""For tests that ask llama.cpp."""

from __future__ import annotations

import os

import pytest

from cai.errors import ConfigError
from cai.exchange import gguf
from cai.exchange.base import Source
from cai.exchange.gguf_runtime import has_llama_cpp

needs_llama_cpp = pytest.mark.skipif(
    not has_llama_cpp() and "CI" not in os.environ,  # where the tests are to mean something they fail without it
    reason="xllamacpp is not installed",
)

SHORT = ("model.block_size=32",)
"""For tests that ask a little: prompts of 16 tokens, and 16 written."""


def refusal(source: Source) -> str:
    """What the user is told."""
    with pytest.raises(ConfigError) as caught:
        gguf.refuse(source)
    return str(caught.value)
