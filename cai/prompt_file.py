"""Prompts in a file, an object in each line, and the lines that answer them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.data.jsonl import read_jsonl
from cai.data.report import Report
from cai.errors import ConfigError, DataError
from cai.files import told
from cai.generation import Completion
from cai.prompt import Prompt

PROMPTS = ("prompt", "question", "doc")
"""The keys that are read."""

SHOWN = 10
"""How many problems of a file are told."""


@dataclass(frozen=True)
class Line:
    """An object of the file."""

    where: str
    record: Mapping[str, Any]

    @property
    def prompt(self) -> Prompt:
        return Prompt.of(*(self.record.get(key) for key in ("question", "doc", "prompt")))

    def begin(self, key: str) -> bytes:
        """What a line of answers begins with: the object as it was given, and the first key that is added."""
        return _json(self.record)[:-1] + f', "{key}": '.encode()

    def finish(self, texts: Sequence[Completion], samples: int) -> bytes:
        """The whole line. ``answer`` and ``end``, or ``answers`` and a list of their ends."""
        answers, ends = [self.prompt.answer(one.text) for one in texts], [one.end for one in texts]
        several = samples > 1
        rest = {"end": ends if several else ends[0]}
        return self.begin(key_of(samples)) + _json(answers if several else answers[0]) + b", " + _json(rest)[1:] + b"\n"


def key_of(samples: int) -> str:
    """What the answers are called."""
    return "answers" if samples > 1 else "answer"


def _json(value: object) -> bytes:
    # A lone surrogate, which JSON can spell and UTF-8 cannot, is written as an escape.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


class Problems(Report):
    """Collects every line that cannot be read, instead of ending at the first."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def refuse(self, on_error: str, message: str, reason: str, where: str, text: str) -> None:
        self.found.append(message)

    def drop(self, reason: str, where: str, text: str) -> None:
        self.found.append(f"{where} must be UTF-8, but is not. Save the file as UTF-8.")


def read_prompts(path: Path, samples: int) -> list[Line]:
    """The objects of a file. Raises ``DataError`` with every mistake in it."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise DataError(
            f"file must name a JSONL file of prompts, but {path} cannot be read ({error.strerror})."
            f" Paths count from {Path.cwd()}; give another."
        ) from error
    problems = Problems()
    lines = []
    for where, record in read_jsonl(path, "utf-8", "skip", problems):
        if more := list(mistakes(record, samples)):
            problems.found += [f"{where} {mistake}" for mistake in more]
        lines.append(Line(where, record))
    if not lines and not problems.found:
        problems.found.append(f'file must hold prompts, but {path} is empty. Write lines such as {{"question": "..."}}')
    if problems.found:
        left = len(problems.found) - SHOWN
        rest = [f"and {left} more mistakes in {path}"] if left > 0 else []
        raise DataError("\n".join([*problems.found[:SHOWN], *rest]))
    return lines


def mistakes(record: Mapping[str, Any], samples: int) -> Iterator[str]:
    """A sentence, without its subject, for each rule that an object breaks."""
    texts = {key: record[key] for key in PROMPTS if record.get(key) is not None}
    given = [key for key in ("prompt", "question") if key in texts]
    if len(given) != 1:
        state = "both" if given else f"neither (it has {', '.join(map(str, record)) or 'nothing'})"
        yield f"must have exactly one of `prompt` and `question`, but has {state}."
    if "doc" in texts and "question" not in texts:
        yield "must have a `question` where it has a `doc`, but has none. Put the document into `prompt`, or ask something."
    for key, text in texts.items():
        if not isinstance(text, str):
            yield f"must have text in `{key}`, but it is {type(text).__name__}. Put it in quotes."
        elif text.encode("utf-8", "ignore") != text.encode("utf-8", "surrogatepass"):
            yield f"must be Unicode text, but `{key}` holds half of a surrogate pair. Mend it."
    for key in (key_of(samples), "end"):
        if key in record:
            yield f"must not have `{key}`, which is added. Give it another name, such as `reference_{key}`."


def finished(out: Path, lines: Sequence[Line], samples: int) -> tuple[int, int]:
    """How many lines of ``out`` are answered already, and their size in bytes; a torn one behind them does not count.

    Raises ``DataError`` for anything in ``out`` that is no answer to ``lines``, which would be lost or mixed up.
    """
    if out.is_dir():
        raise ConfigError(f"out must name a file, but {out} is a folder. Try out={out / 'answers.jsonl'}")
    with told(out):
        data = out.read_bytes() if out.exists() else b""
    *whole, torn = data.split(b"\n")
    for number, raw in enumerate(whole):
        if number >= len(lines) or not _is_answer(raw, lines[number], samples):
            raise _other(out, number, lines)
    if torn:
        begin = lines[len(whole)].begin(key_of(samples)) if len(whole) < len(lines) else b""
        if not begin or not (begin.startswith(torn) or torn.startswith(begin)):
            raise _other(out, len(whole), lines)
    return len(whole), len(data) - len(torn)


def _is_answer(raw: bytes, line: Line, samples: int) -> bool:
    begin = line.begin(key_of(samples))
    try:
        found = json.loads(raw) if raw.startswith(begin) else {}
    except ValueError:
        return False
    answers = found.get(key_of(samples), [])
    return "end" in found and (samples == 1 or len(answers) == samples)


def _other(out: Path, number: int, lines: Sequence[Line]) -> DataError:
    expected = f"the answer to {lines[number].where}" if number < len(lines) else f"the end of {len(lines)} answers"
    return DataError(
        f"{out}, line {number + 1} must be {expected}, but is not: it was written from other lines, or with other samples=,"
        f" or changed. Give another out=, or remove {out}."
    )
