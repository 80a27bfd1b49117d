"""Where the YAMLs lie."""

from __future__ import annotations

from pathlib import Path


def conf_folder() -> Path:
    """``conf/``: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
