"""What this process may still take of the machine: memory and processor time, as its control groups (containers) limit them.

Linux tells both; macOS tells the memory; elsewhere nothing is known.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MEMORY_INFO = Path("/proc/meminfo")
OWN_GROUPS = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")

UNLIMITED = 2**60
"""Bytes from which on a limit of version 1 means that there is none."""

AVAILABLE_ON_MACOS = ("free", "inactive", "speculative", "purgeable")
"""Kinds of pages in ``vm_stat`` that a program can have without anything being swapped out."""


@dataclass(frozen=True, order=True)
class Room:
    """Memory, in bytes."""

    free: int
    total: int


def memory() -> Room | None:
    """What the machine has and this process can still take of it."""
    if MEMORY_INFO.is_file():
        sizes = dict(re.findall(r"^(\w+): +(\d+) kB$", MEMORY_INFO.read_text(encoding="utf-8"), re.MULTILINE))
        if {"MemAvailable", "MemTotal"} <= sizes.keys():
            return Room(int(sizes["MemAvailable"]) * 1024, int(sizes["MemTotal"]) * 1024)
    return _memory_of_macos() if sys.platform == "darwin" else None


def memory_of_group() -> Room | None:
    """The same within the control group that leaves least; ``None`` where nothing is limited."""
    rooms = []
    for folder, version in _groups("memory"):
        limit, used = (
            ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        )
        total, taken = _number(folder / limit), _number(folder / used)
        if total is None or taken is None or total >= UNLIMITED:
            continue
        # Pages of files that were read count as used, but are given up when somebody needs the room.
        found = re.search(rf"^{'total_' * (version == 1)}inactive_file (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
        rooms.append(Room(max(0, total - taken + (int(found[1]) if found else 0)), total))
    return min(rooms, default=None)


def free_memory() -> int | None:
    """Bytes that this process can still take, of the machine and within its group; ``None`` if nobody tells."""
    return min((room.free for room in (memory(), memory_of_group()) if room is not None), default=None)


def processor_quota() -> float | None:
    """How many CPUs' time the control groups leave to this process; ``None`` where nothing is limited."""
    quotas = []
    for folder, version in _groups("cpu"):
        if version == 2:
            quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
        else:
            quota, period = _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _groups(controller: str) -> Iterator[tuple[Path, int]]:
    """The folders of this process's control groups, innermost first, and the version of their interface.

    Inside a container a path may be the host's, of which only the mount's own folder is there: that is the container's.
    """
    for line in _text(OWN_GROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, version = GROUPS, 2
        elif controller in controllers.split(","):
            root, version = GROUPS / controller, 1
        else:
            continue
        inner = PurePosixPath(path.lstrip("/"))
        yield from ((root / part, version) for part in (inner, *inner.parents) if (root / part).is_dir())


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _memory_of_macos() -> Room | None:
    try:
        said = subprocess.run(["vm_stat"], capture_output=True, text=True, timeout=10, check=True).stdout
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    size = re.search(r"page size of (\d+) bytes", said)
    pages = {kind: int(count) for kind, count in re.findall(r"^Pages (\w+): +(\d+)\.$", said, re.MULTILINE)}
    if not size or "free" not in pages:
        return None
    return Room(int(size[1]) * sum(pages.get(kind, 0) for kind in AVAILABLE_ON_MACOS), total)
