"""Plain values of data options, for tests that look at a few of them."""

from __future__ import annotations

from typing import Any

ROWS: dict[str, Any] = {"packing": "stream", "isolate": False, "loss": "all"}
CLEAN: dict[str, Any] = {
    "nfc": True,
    "control_characters": False,
    "whitespace": False,
    "contact_labels": False,
    "telephones": "keep",
    "duplicates": "keep",
    "near_threshold": 0.8,
}
AUGMENT: dict[str, Any] = {
    "copies": 0,
    "seed": 1337,
    "questions": False,
    "synonyms": None,
    "sentences": False,
    "layout": False,
}
FILES: dict[str, Any] = ROWS | {
    "encoding": "utf-8",
    "on_error": "stop",
    "parse_tags": False,
    "end_of_text": True,
    "split": "hash",
    "val_ratio": 0.5,
    "clean": CLEAN,
    "chunk": 0,
    "max_repeats": 4.0,
    "augment": AUGMENT,
}
RECORDS: dict[str, Any] = FILES | {"template": "text", "split_by": None, "balance_by": None}
