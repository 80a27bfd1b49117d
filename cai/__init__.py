"""CAI: train small GPTs from scratch on your own text; exact, sweepable, Korean first.

Importing this package imports nothing else; ``cai.compose`` and the error classes are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cai.composition import compose
    from cai.config.saved import load_config, save_config
    from cai.errors import ConfigError, DataError

__all__ = ["ConfigError", "DataError", "compose", "load_config", "save_config"]

_HOMES = {
    "compose": "cai.composition",
    "load_config": "cai.config.saved",
    "save_config": "cai.config.saved",
    "ConfigError": "cai.errors",
    "DataError": "cai.errors",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'cai' has no attribute {name!r}")
    import os
    from importlib import import_module

    if name == "compose":  # leads to PyTorch, which reads this when imported: an operator that MPS lacks runs on the CPU
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    return getattr(import_module(_HOMES[name]), name)
