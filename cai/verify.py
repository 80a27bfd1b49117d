"""``cai doctor verify=true``: all that can be tried on the device at hand, and one file to send back. (Command layer.)"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import cai
from cai.config.roots import TrainConfig
from cai.device import Device, DeviceConfig
from cai.diagnosis.anonymity import anonymous
from cai.diagnosis.numerics import self_test
from cai.diagnosis.program import temporary_folder
from cai.diagnosis.verification import Failed, Verification, Work
from cai.environment import describe_code, describe_versions
from cai.files import write_whole
from cai.interruption import is_interruption
from cai.plan import wrapped
from cai.recorder import finite_or_null
from cai.signals import listening

FORMAT = 1
"""Of the file."""


def verify(
    config: TrainConfig, machine: dict[str, Any], out: Path, trusted: Sequence[str] = (), work: Work | None = None
) -> int:
    """Try the device of ``config``: every check of the self-test, then, in processes of their own, what a user does.

    Prints a line for each step and writes ``out``, with ``machine`` in it and without names and places of the user's; what
    is known is there also if the program is ended, by the device itself for instance. Returns 0 if all has passed, else 1.
    """
    device = config.device.build()
    with listening(), temporary_folder() as folder:
        record = Record(out, folder, machine, config.device, device)
        device.set_up()
        print(f"\nverify {device.type}, {device.precision}: about a minute; nothing stays but {out}", flush=True)
        _test_numerics(device, record)
        trust = [f"trust={','.join(trusted)}"] if trusted else []
        verification = Verification(device, device_words(config.device, device), trust, folder, work or Work())
        for name, (step, needs) in verification.steps().items():
            _take(name, step, needs, verification, record)
        return record.close()


class Record:
    """``verify.json``, written anew after every step."""

    def __init__(self, out: Path, folder: Path, machine: dict[str, Any], options: DeviceConfig, device: Device) -> None:
        """Raises ``OutputError`` if it cannot be written."""
        package = Path(cai.__file__).parent.parent
        self.out, self.began = out, time.perf_counter()
        self.places = {folder: "<temporary>", Path.cwd(): "<here>", package: "<cai>"}
        code = {key: value for key, value in describe_code().items() if key in ("commit", "dirty", "sources")}
        chosen = {"type": device.type, "precision": device.precision, "reason": device.reason}
        self.facts: dict[str, Any] = {
            "format": FORMAT,
            "passed": False,
            "finished": False,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "device": {"asked": options.model_dump(), "found": chosen, "threads": torch.get_num_threads()},
            "figures": {},
            "steps": [],
            "checks": [],
            "machine": machine,
            "versions": describe_versions(),
            "torch": {"cuda": torch.version.cuda, "hip": torch.version.hip, "commit": torch.version.git_version},
            "code": code,
        }
        self.write()

    @property
    def passed(self) -> list[str]:
        return [step["name"] for step in self.facts["steps"] if step["passed"]]

    @property
    def failed(self) -> list[str]:
        return [step["name"] for step in self.facts["steps"] if not step["passed"]]

    def step(self, name: str, passed: bool, detail: str, seconds: float, **more: Any) -> None:
        """Add a step, say how it went, and write."""
        self.facts["steps"].append({"name": name, "passed": passed, "detail": detail, "seconds": round(seconds, 2), **more})
        self.say("passed" if passed else "FAILED", f"{name:<16}{detail} ({seconds:.1f} s)")
        self.write()

    def say(self, word: str, text: str) -> None:
        """A line for the terminal; what that has no letters for must not end the whole."""
        encoding = sys.stdout.encoding or "utf-8"
        line = wrapped(word, anonymous(text, self.places))
        print(line.encode(encoding, "replace").decode(encoding), flush=True)

    def write(self) -> None:
        self.facts["seconds"] = round(time.perf_counter() - self.began, 2)
        plain = json.loads(json.dumps(self.facts, default=str))
        write_whole(self.out, json.dumps(anonymous(plain, self.places), indent=2, ensure_ascii=False) + "\n")

    def close(self) -> int:
        """Say what came of it. Returns the exit code."""
        self.facts |= {"finished": True, "passed": not self.failed}
        self.write()
        if self.failed:
            print(f"\n{len(self.failed)} of {len(self.facts['steps'])} failed: {', '.join(self.failed)}")
        else:
            print(f"\neverything passed, in {self.facts['seconds']:.0f} s")
        print(f"written    {self.out}: send it with what you report; it has no names of yours, and no places on your disk")
        return 1 if self.failed else 0


def device_words(options: DeviceConfig, device: Device) -> list[str]:
    """The device as one types it: what was found where it was left open. Its self-test has been made here."""
    values = options.model_dump() | {"type": device.type, "precision": device.precision, "self_test": False}
    return [f"device.{key}={json.dumps(value) if isinstance(value, bool) else value}" for key, value in values.items()]


def _test_numerics(device: Device, record: Record) -> None:
    began = time.perf_counter()
    checks = self_test(device)
    record.facts["checks"] = [check._asdict() for check in checks]
    failed = [check for check in checks if not check.passed]
    detail = f"{len(failed)} of {len(checks)} checks fail" if failed else f"{len(checks)} checks against float64 on the CPU"
    record.step("self-test", not failed, detail, time.perf_counter() - began)
    for check in failed:
        record.say("", f"{check.name}: {check.detail}")


def _take(name: str, step: Callable[[], str], needs: Sequence[str], verification: Verification, record: Record) -> None:
    if missing := [need for need in needs if need not in record.passed]:
        record.step(name, False, f"not tried, as {' and '.join(missing)} failed", 0.0)
        return
    began, verification.outcome = time.perf_counter(), None
    try:
        detail, passed = step(), True
    except Failed as failed:
        detail, passed = str(failed), False
    except Exception as error:
        if is_interruption(error):
            raise
        detail, passed = f"{type(error).__name__}: {error}", False
    outcome, more = verification.outcome, dict[str, Any]()
    if outcome is not None:
        more = {"command": outcome.command, "exit_code": outcome.code}
    if outcome is not None and not passed:
        more["output"] = outcome.tail
    record.facts["figures"] = finite_or_null(verification.figures)
    record.step(name, passed, detail, time.perf_counter() - began, **more)
