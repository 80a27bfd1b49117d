"""Facts about code and machine that decide what a run computes."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from cai.config.base import Config

PACKAGES = ("torch", "numpy", "tokenizers", "safetensors", "hydra-core", "omegaconf", "pydantic", "tensorboard")


def describe_code(own: Iterable[str] = ()) -> dict[str, Any]:
    """The commit and the uncommitted changes of CAI's checkout; outside of one, a hash of the package's files.

    ``own``: packages of the user's, each described by a hash of its files.
    """
    facts = _describe_cai()
    hashes = {package: _hash([path for _, path in sources_of(package)]) for package in own}
    return facts | ({"own": hashes} if hashes else {})


def own_packages(config: Config) -> list[str]:
    """The top-level packages that components of ``config`` come from, CAI's own left out."""
    parts = (type(getattr(config, name)) for name in type(config).model_fields)
    tops = {part.__module__.partition(".")[0] for part in parts if issubclass(part, Config)}
    return sorted(tops - {"cai"})


def sources_of(package: str) -> list[tuple[Path, Path]]:
    """The Python files of an imported top-level package or module, each with its place below the package's parent."""
    module = sys.modules.get(package)
    folders = [Path(folder) for folder in getattr(module, "__path__", [])]
    if not folders:
        file = getattr(module, "__file__", None)
        return [(Path(Path(file).name), Path(file))] if file else []
    return sorted((path.relative_to(folder.parent), path) for folder in folders for path in folder.rglob("*.py"))


def copy_sources(packages: Iterable[str], folder: Path) -> None:
    """Copy the Python files of ``packages`` into ``folder``, which can then stand on PYTHONPATH in their place."""
    for package in packages:
        for name, path in sources_of(package):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)


def _describe_cai() -> dict[str, Any]:
    package = Path(__file__).resolve().parent
    commit = _git("rev-parse", "HEAD", folder=package)
    # A checkout is CAI's own only if it tracks this file: a virtual environment may lie inside another project's.
    if commit is None or not _git("ls-files", "--", Path(__file__).name, folder=package):
        return {"commit": None, "sources": _hash(sorted(package.rglob("*.py")))}
    root, places = package.parent, ("cai", "conf", "experiments")
    diff = _git("diff", "--no-ext-diff", "HEAD", "--", *places, folder=root)
    untracked = _git("ls-files", "-z", "--others", "--exclude-standard", "--", *places, folder=root)
    if diff is None or untracked is None:
        return {"commit": commit.strip(), "dirty": None}
    hashes = {name: _hash([root / name]) for name in untracked.split("\0") if name}
    return {"commit": commit.strip(), "dirty": bool(diff or hashes), "diff": diff, "untracked": hashes}


def describe_versions() -> dict[str, str]:
    """Versions of Python, CAI and the packages that take part in the numbers."""
    versions = {"python": platform.python_version(), "cai": metadata.version("cai")}
    return versions | {package: metadata.version(package) for package in PACKAGES}


def describe_machine() -> dict[str, Any]:
    """Processor and system, without names of hosts or people."""
    return {"system": platform.platform(), "processor": platform.machine(), "cpu_count": os.cpu_count()}


def fingerprint_of(text: str) -> str:
    """16 hex digits over a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hash(files: list[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()[:16]


def _git(*words: str, folder: Path) -> str | None:
    try:
        return subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, errors="replace", timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
