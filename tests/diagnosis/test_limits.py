"""What a container leaves is found in both versions of control groups, and what a machine has on Linux and macOS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cai.diagnosis import limits
from cai.diagnosis.limits import Room

GIB = 2**30
INFO = f"MemTotal:       {16 * 2**20} kB\nMemFree:         1024 kB\nMemAvailable:    {12 * 2**20} kB\n"


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 12 of 16 GiB available, whose files lie here, without any control groups yet."""
    monkeypatch.setattr(limits, "MEMORY_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(limits, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(limits, "GROUPS", tmp_path / "groups")
    (tmp_path / "meminfo").write_text(INFO)
    return tmp_path


def group(system: Path, own: str, files: dict[str, str]) -> None:
    (system / "own").write_text(own)
    for name, text in files.items():
        path = system / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_without_groups_all_that_is_available_is_free(system: Path) -> None:
    assert limits.memory() == Room(free=12 * GIB, total=16 * GIB)
    assert limits.memory_of_group() is None
    assert limits.free_memory() == 12 * GIB
    assert limits.processor_quota() is None


def test_the_tightest_group_of_version_2_counts_and_cached_files_are_free(system: Path) -> None:
    files = {
        "a/memory.max": str(4 * GIB),
        "a/memory.current": str(3 * GIB),
        "a/memory.stat": f"anon 5\ninactive_file {GIB}",
        "a/cpu.max": "max 100000",
        "a/b/memory.max": "max",
        "a/b/memory.current": str(2 * GIB),
        "a/b/cpu.max": "150000 100000",
    }
    group(system, "0::/a/b\n", files)
    assert limits.memory_of_group() == Room(free=2 * GIB, total=4 * GIB)
    assert limits.free_memory() == 2 * GIB
    assert limits.processor_quota() == 1.5


def test_a_group_of_version_1_counts(system: Path) -> None:
    files = {
        "memory/a/memory.limit_in_bytes": str(6 * GIB),
        "memory/a/memory.usage_in_bytes": str(5 * GIB),
        "memory/a/memory.stat": f"inactive_file 7\ntotal_inactive_file {2 * GIB}",
        "memory/memory.limit_in_bytes": "9223372036854771712",  # none
        "memory/memory.usage_in_bytes": str(15 * GIB),
        "cpu/a/cpu.cfs_quota_us": "200000",
        "cpu/a/cpu.cfs_period_us": "100000",
        "cpu/cpu.cfs_quota_us": "-1",
        "cpu/cpu.cfs_period_us": "100000",
    }
    group(system, "5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n", files)
    assert limits.memory_of_group() == Room(free=3 * GIB, total=6 * GIB)
    assert limits.processor_quota() == 2.0


def test_in_a_container_that_sees_the_path_of_its_host_the_mount_counts(system: Path) -> None:
    files = {"memory/memory.limit_in_bytes": str(GIB), "memory/memory.usage_in_bytes": "0"}
    group(system, "4:memory:/docker/0123456789ab\n", files)
    assert limits.memory_of_group() == Room(free=GIB, total=GIB)


def test_more_in_use_than_allowed_leaves_nothing(system: Path) -> None:
    group(system, "0::/\n", {"memory.max": str(GIB), "memory.current": str(2 * GIB)})
    assert limits.free_memory() == 0


def test_macos_is_asked_by_its_own_program(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (system / "meminfo").unlink()
    pages = {"free": 10, "active": 1000, "inactive": 20, "speculative": 3, "purgeable": 4}
    said = "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
    said += "".join(f"Pages {kind + ':':<20}{count:>10}.\n" for kind, count in pages.items())
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=said))
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 2**20, "SC_PAGE_SIZE": 2**14}.__getitem__)
    assert limits.memory() == Room(free=37 * 2**14, total=16 * GIB)


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_where_nobody_tells_nothing_is_known(system: Path, monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    def fail(*words: object, **options: object) -> None:
        raise FileNotFoundError("vm_stat")

    (system / "meminfo").unlink()
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(subprocess, "run", fail)
    assert limits.free_memory() is None
