"""What a run recorded about itself, used again: to go on as it was, and to tell what is another now."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cai.config.roots import TrainConfig
from cai.environment import describe_code, describe_machine, describe_versions
from cai.errors import RunError


@dataclass(frozen=True)
class Fact:
    """One thing that decides what a run computes, before and now."""

    name: str
    before: str
    now: str

    @property
    def same(self) -> bool:
        return self.before == self.now


def as_recorded(config: TrainConfig, facts: Mapping[str, Any], chosen: Collection[str] = ()) -> TrainConfig:
    """``config`` with the device, precision and number of threads that the run found wherever it left them open.

    ``chosen`` are the dotted paths that the user gives anew, which stay. For computing only: what is saved is ``config``.
    """
    found, device = facts.get("device", {}), config.device
    open_ones = {"type": "auto", "precision": "auto", "threads": 0}
    update = {
        key: found[key]
        for key, value in open_ones.items()
        if key in found and getattr(device, key) == value and f"device.{key}" not in chosen
    }
    if update.get("type", device.type) != found.get("type"):
        update.pop("precision", None)  # another device decides for itself
    try:
        device = type(device).model_validate({**device.model_dump(), **update})
    except ValueError as error:
        raise RunError(f"the run.json must record a device that there is, but records {found}.") from error
    return config.model_copy(update={"device": device})


def compare_surroundings(facts: Mapping[str, Any]) -> Iterator[Fact]:
    """Code, versions and machine: as ``facts`` recorded them, and as they are."""
    code = {"code": describe_code(facts.get("code", {}).get("own", {}))}
    now = code | {"versions": describe_versions(), "machine": describe_machine()}
    return compare_facts(facts, now)


def compare_facts(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Fact]:
    """Every entry of code, versions and machine, one by one."""
    for group in ("code", "versions", "machine"):
        old, new = before.get(group, {}), now.get(group, {})
        for key in dict.fromkeys([*old, *new]):
            name = {"diff": "uncommitted changes", "own": "own components", "untracked": "untracked files"}.get(key, key)
            yield Fact(name, _short(old.get(key)), _short(new.get(key)))


def _short(value: object) -> str:
    """For a table: long texts by their length and a hash would hide nothing that a person reads."""
    from hashlib import sha256

    text = "none" if value in (None, "", {}, []) else str(value)
    return text if len(text) <= 60 else f"{sha256(text.encode()).hexdigest()[:12]} ({len(text.splitlines())} lines)"
