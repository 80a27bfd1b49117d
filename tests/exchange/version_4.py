"""transformers 4.57 in a process of its own, beside the newer one that the tests have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from filelock import FileLock

PACKAGES = ("transformers==4.57.6", "tokenizers>=0.22,<0.23", "huggingface_hub<1")
"""All else that it needs the newer one needs too."""


@pytest.fixture(scope="session")
def transformers_4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with it, installed once for all workers of this session."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "transformers_4"
    done = folder / "whole"
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(folder)]
            command = [sys.executable, "-m", "pip", "install", *options, *PACKAGES]
            installed = subprocess.run(command, capture_output=True, text=True)
            assert installed.returncode == 0, f"transformers 4.57 is needed beside the newer one: {installed.stderr}"
            done.touch()
    return folder


def answers_of(place: Path, program: ModuleType, questions: list[dict[str, Any]], modules: Path) -> list[dict[str, Any]]:
    """What ``program``, run with the transformers in ``place``, says to all ``questions``: it takes seconds to start.

    ``modules``: where it may copy the code of a folder to.
    """
    assert program.__file__ is not None
    more = {"PYTHONPATH": str(place), "HF_MODULES_CACHE": str(modules), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, program.__file__]
    done = subprocess.run(command, input=json.dumps(questions), env=os.environ | more, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["version"].startswith("4.57.")
    found: list[dict[str, Any]] = answer["found"]
    return found
