"""Facts about code and machine that decide what a run computes."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "tokenizers", "safetensors", "hydra-core", "omegaconf", "pydantic", "tensorboard")


def describe_code() -> dict[str, Any]:
    """The commit and the uncommitted changes of CAI's checkout; outside of one, a hash of the package's files."""
    package = Path(__file__).resolve().parent
    commit = _git("rev-parse", "HEAD", folder=package)
    # A checkout is CAI's own only if it tracks this file: a virtual environment may lie inside another project's.
    if commit is None or not _git("ls-files", "--", Path(__file__).name, folder=package):
        sources = sorted(package.rglob("*.py"))
        digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
        return {"commit": None, "sources": digest[:16]}
    diff = _git("diff", "HEAD", "--", "cai", "conf", folder=package.parent)
    return {"commit": commit.strip(), "dirty": bool(diff), "diff": diff or ""}


def describe_versions() -> dict[str, str]:
    """Versions of Python, CAI and the packages that take part in the numbers."""
    versions = {"python": platform.python_version(), "cai": metadata.version("cai")}
    return versions | {package: metadata.version(package) for package in PACKAGES}


def describe_machine() -> dict[str, Any]:
    """Processor and system, without names of hosts or people."""
    return {"system": platform.platform(), "processor": platform.machine(), "cpu_count": _cpu_count()}


def _cpu_count() -> int:
    import os

    return os.cpu_count() or 1


def _git(*words: str, folder: Path) -> str | None:
    try:
        return subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, errors="replace", timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
