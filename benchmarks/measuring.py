"""What the benchmarks share: child processes measured from outside, machine and versions, tables, JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Finished:
    """A child process that has ended."""

    seconds: float
    """Wall-clock of the whole process."""
    peak_gib: float
    """Highest resident memory."""
    output: str


def run(command: Sequence[str | Path], folder: Path | None = None, **environment: str) -> Finished:
    """Run ``command`` to its end. Raises ``SystemExit`` with its output if it fails."""
    started = time.perf_counter()
    with subprocess.Popen(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        assert child.stdout is not None
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{output[-3000:]}")
    return Finished(time.perf_counter() - started, usage.ru_maxrss / 2**20, output)


def last_json(output: str) -> dict[str, Any]:
    """The object on the last line that is one."""
    line = next(line for line in reversed(output.splitlines()) if line.startswith("{"))
    result: dict[str, Any] = json.loads(line)
    return result


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def machine() -> dict[str, object]:
    """Where and with what something was measured."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def report(title: str, rows: Sequence[Sequence[object]], figures: dict[str, Any]) -> None:
    """Print ``rows`` (the first is the head) as a table, and write ``figures`` with the machine to ``<title>.json``."""
    texts = [[cell if isinstance(cell, str) else f"{cell:,.4g}" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        first, *rest = (
            f"{cell:{'<' if i == 0 else '>'}{width}}" for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *rest]))
    figures = {**figures, **machine()}
    Path(f"{title}.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{', '.join(f'{key} {value}' for key, value in machine().items())}; written to {title}.json", file=sys.stderr)
