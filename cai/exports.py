"""Exported folders that exist: what they say of themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cai.errors import RunError

EXPORT = "export.json"
"""In the folder of an export: its format, and the run that it was made of."""

READ = ("safetensors", "huggingface")
"""Formats that CAI reads back."""


def is_export(folder: Path) -> bool:
    """Whether ``cai export`` has written it."""
    return (folder / EXPORT).is_file()


def read_export(folder: Path) -> dict[str, Any]:
    """``export.json``. Raises ``RunError`` if there is none that can be read."""
    try:
        facts = json.loads((folder / EXPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{folder} must be an export of CAI's, but its {EXPORT} cannot be read ({error!r}).") from error
    facts = facts if isinstance(facts, dict) else {}
    for key, kind, what in (("to", str, "a name"), ("step", int, "a whole number"), ("fingerprints", dict, "an object")):
        value = facts.get(key, {} if key == "fingerprints" else None)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise RunError(
                f"{folder} must be an export of CAI's, but its {EXPORT} cannot be read: {key} must be {what}, but is"
                f" {json.dumps(value)[:80]}. Export the run once more: cai export run=... to=safetensors"
            )
    return facts


def format_read(folder: Path) -> str:
    """The format of an export. Raises ``RunError`` for one that CAI does not read back."""
    to: str = read_export(folder)["to"]
    if to not in READ:
        raise RunError(
            f"an export must be {' or '.join(f'to={one}' for one in READ)} for CAI to read it, but {folder} is to={to}, for"
            " other programs alone. Export the run once more: cai export run=... to=safetensors"
        )
    return to
