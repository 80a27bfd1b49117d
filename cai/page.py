"""A page that needs nothing else, neither a network nor a server: a template filled in. What it shows is data alone."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any


def filled(template: str, parts: Mapping[str, str]) -> str:
    """``template`` with a part in each place ``@@name@@``; what is put in is not looked at again."""
    pieces = template.split("@@")  # text, name, text, name, ..., text
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def allowed(script: str) -> str:
    """What lets a page run this very script, and no other, in its Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode()}'"


def json_in_html(payload: dict[str, Any]) -> str:
    """JSON that stands in a page: no ``<`` is left in it, so that no text of a run can end the element."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate has no place in a file
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
