"""``attention.html``: the maps of all heads as one page that needs nothing else, neither a network nor a library."""

from __future__ import annotations

import base64
import html
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cai.files import write_whole
from cai.inspection.attention import Head
from cai.page import allowed, filled, json_in_html

FEW = 4_000_000
"""Weights up to which each is kept as a whole byte. Six heads of six layers over 1,024 tokens have 18.9 million: 13 MB that
way, 7 MB in 64 steps (measured on a trained model)."""
STEPS, COARSE = 255, 63
"""In how many steps the root of a weight is kept: a weight of one half to 0.3 percentage points, or to 1.1."""


@dataclass(frozen=True)
class Seen:
    """What was looked at: one sequence of tokens, and what all heads did with it."""

    title: str
    about: str
    """A sentence on the model."""
    texts: Sequence[str]
    """Of each token (``cai.inspection.pieces``)."""
    special: Sequence[bool]
    """Whether it is a tag."""
    prompt: int
    """How many of them were given; the others the model wrote."""
    document: range | None
    heads: Sequence[Head]
    names: Sequence[Sequence[str]]
    """What each head looks like."""
    layers: Sequence[Tensor]
    """Weights ``(H, T, T)`` of each layer."""


def write_page(seen: Seen, path: Path) -> None:
    """The page as the file ``path``. Raises ``OutputError``."""
    write_whole(path, page_of(payload_of(seen), seen.title))


def payload_of(seen: Seen) -> dict[str, Any]:
    """As data that JSON can hold. A head's weights are its lower triangle, row after row: nothing looks ahead."""
    steps, packed = pack(seen.layers)
    heads = [
        {**head._asdict(), "names": list(names)} | {key: round(value, 4) for key, value in _floats(head)}
        for head, names in zip(seen.heads, seen.names, strict=True)
    ]
    return {
        "title": seen.title,
        "about": seen.about,
        "texts": list(seen.texts),
        "special": [place for place, special in enumerate(seen.special) if special],
        "prompt": seen.prompt,
        "document": None if seen.document is None else [seen.document.start, seen.document.stop],
        "heads": heads,
        "steps": steps,
        "weights": packed,
    }


def _floats(head: Head) -> list[tuple[str, float]]:
    return [(key, value) for key, value in head._asdict().items() if isinstance(value, float)]


def pack(layers: Sequence[Tensor]) -> tuple[int, str]:
    """The steps that a root is kept in, and all lower triangles as bytes: deflated (RFC 1950), in base64."""
    size = layers[0].shape[-1]
    rows, columns = torch.tril_indices(size, size)
    steps = STEPS if len(rows) * sum(map(len, layers)) <= FEW else COARSE
    deflate = zlib.compressobj()
    pieces = []
    for weights in (head for layer in layers for head in layer):
        roots = (steps * weights[rows, columns].clamp(0, 1).sqrt()).round().to(torch.uint8)
        pieces.append(deflate.compress(roots.numpy().tobytes()))
    return steps, base64.b64encode(b"".join([*pieces, deflate.flush()])).decode()


def page_of(payload: dict[str, Any], title: str) -> str:
    """The whole page. Texts are in it as data alone: one script is allowed, by its hash, and no other runs."""
    page = files("cai.inspection") / "page"
    script = "\n".join((page / name).read_text(encoding="utf-8") for name in ("attention.js", "attention_view.js"))
    script = f"\n{script}\n"
    parts = {
        "policy": allowed(script),
        "title": html.escape(title),
        "style": (page / "attention.css").read_text(encoding="utf-8"),
        "payload": json_in_html(payload),
        "script": script,
    }
    return filled((page / "attention.html").read_text(encoding="utf-8"), parts)
