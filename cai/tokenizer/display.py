"""A tokenizer for people: what it is, what it makes of a text, and several side by side. All of it returned as text."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cai.tokenizer.base import Tokenizer
from cai.tokenizer.report import TokenizerReport

RESET, TAG = "\033[0m", "\033[30;48;5;215m"
GROUNDS = ("\033[30;48;5;153m", "\033[30;48;5;194m")
"""Black on light blue and on light green: readable on dark and on light terminals."""

LONGEST = 8
"""How many of the longest words among the tokens are shown."""

Row = tuple[str, str]
"""A name and what is to be said about it."""


def facts(tokenizer: Tokenizer) -> list[Row]:
    """What can be said without any text."""
    special = {number: token for token, number in sorted(tokenizer.tag_ids.items(), key=lambda item: item[1])}
    ordinary = (raw for number, raw in enumerate(tokenizer.token_bytes) if number not in special)
    texts = (raw.decode(errors="replace") for raw in ordinary)
    words = [text for text in texts if "\ufffd" not in text and text.strip().isalpha()]  # not a line of hyphens
    longest = sorted(words, key=len, reverse=True)[:LONGEST]
    names = [f"{token} {number}" for number, token in special.items()]
    if len(names) > 2 * LONGEST:  # a file with hundreds of reserved ones; CAI's own were appended
        names[LONGEST:-LONGEST] = ["..."]
    return [
        ("kind", _kind(tokenizer)),
        ("vocabulary", f"{tokenizer.vocab_size:,} tokens, {len(special)} of them special"),
        ("special", ", ".join(names)),
        ("longest", " ".join(map(repr, longest))),
    ]


def figures(report: TokenizerReport) -> list[Row]:
    """What can be said about a sample of text."""
    rows = [
        ("round trip", f"exact for all of {report.texts:,} texts" if not report.changed else f"{report.changed:,} changed"),
        ("bytes", f"{report.bytes_per_token:.2f} per token ({report.bytes:,} in {report.tokens:,})"),
    ]
    if report.hangul_per_token is not None and report.split_share is not None:
        rows += [
            ("Hangul", f"{report.hangul_per_token:.2f} syllables per token"),
            ("split", f"{report.split_share:.2%} of {report.syllables:,} Hangul syllables are in pieces"),
        ]
    return [*rows, ("unknown", f"{report.unknown_share:.3%} of {report.characters:,} characters")]


def aligned(rows: Sequence[Row]) -> str:
    """Names and values, one pair a line."""
    return "\n".join(f"  {name:<12}{value}" for name, value in rows)


def show_tokens(tokenizer: Tokenizer, ids: Sequence[int], *, colour: bool, with_ids: bool) -> str:
    """The tokens of a text, each on a ground of its own or, without colour, with a ``|`` between them.

    A piece of a character is shown by its bytes, as ``\\xea\\xb0``; a newline as ``↵`` before it.
    """
    special = set(tokenizer.tag_ids.values())
    shown = []
    for position, number in enumerate(ids):
        text = visible(tokenizer.token_bytes[number]) + f"({number})" * with_ids
        if colour:
            ground = TAG if number in special else GROUNDS[position % 2]
            text = ground + text.replace("\n", f"{RESET}\n{ground}") + RESET  # or the ground would fill the line
        shown.append(text)
    return ("" if colour else "|").join(shown)


def visible(raw: bytes) -> str:
    """Text as it is, but for what a terminal would not show or would obey."""
    text = raw.decode(errors="backslashreplace")
    return "".join(
        "↵\n" if char == "\n" else char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def compare(rows: Sequence[tuple[str, TokenizerReport, int, int | None]]) -> str:
    """A table of tokenizers: name, report, estimated train tokens, embedding parameters of each."""
    head = ("vocabulary", "bytes/token", "Hangul/token", "split", "unknown", "train tokens", "embedding", "")
    lines = [head]
    for name, report, tokens, parameters in rows:
        hangul, split = report.hangul_per_token, report.split_share
        lines.append(
            (
                f"{report.vocab_size:,}" + (f" of {report.asked:,}" if (report.asked or 0) > report.vocab_size else ""),
                f"{report.bytes_per_token:.2f}",
                "-" if hangul is None else f"{hangul:.2f}",
                "-" if split is None else f"{split:.2%}",
                f"{report.unknown_share:.3%}",
                f"{tokens:,}",
                "-" if parameters is None else f"{parameters:,}",
                name,
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    # The names stand last: Hangul in them takes two columns and would push what follows.
    return "\n".join("  ".join([*map(str.rjust, line[:-1], widths), line[-1]]).rstrip() for line in lines)


def _kind(tokenizer: Tokenizer) -> str:
    page = json.loads(tokenizer.backend.to_str())
    if page["decoder"]["type"] != "ByteLevel":
        return "one token a character"
    merges = len(page["model"].get("merges", ()))
    return f"byte-level BPE of {merges:,} merges" if merges else "one token a byte"
