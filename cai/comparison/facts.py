"""``run.json``, whoever wrote it: what in it is not of its kind is as if it were not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cai.comparison.history import number

KINDS: Mapping[str, type] = {
    **dict.fromkeys(("error", "started", "ended", "config_dir"), str),
    **dict.fromkeys(("metrics", "parameters", "fingerprints", "device", "machine", "versions", "code"), dict),
    **dict.fromkeys(("overrides", "resumed"), list),
}
"""Of the facts that are read. Those that are numbers are looked at where they are taken."""

PLAIN = ("metrics", "parameters", "device", "machine", "versions", "fingerprints")
"""Facts whose entries are texts, numbers or booleans."""


def sound_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``facts`` that are what they should be, down to the entries of each."""
    found: dict[str, Any] = {key: value for key, value in facts.items() if isinstance(value, KINDS.get(key, object))}
    for key in PLAIN:
        if key in found:
            found[key] = {name: value for name, value in found[key].items() if _is_plain(value)}
    if "fingerprints" in found:
        found["fingerprints"] = {name: str(value) for name, value in found["fingerprints"].items()}
    if "code" in found:
        kinds = {"commit": str, "sources": str, "diff": str, "untracked": dict, "own": dict}
        found["code"] = {name: value for name, value in found["code"].items() if isinstance(value, kinds.get(name, object))}
    if "overrides" in found:
        found["overrides"] = [word for word in found["overrides"] if isinstance(word, str)]
    if "resumed" in found:
        found["resumed"] = [one for one in found["resumed"] if isinstance(one, dict) and _is_resumption(one)]
    return found


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | bool) or number(value) is not None


def _is_resumption(one: Mapping[str, Any]) -> bool:
    return isinstance(one.get("changed", {}), dict)
