"""Cases: questions whose right answers are known, to score a model's own answers by."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unicodedata import normalize

from cai.data.answers import CONTACT_LABELS
from cai.errors import DataError
from cai.markup import ANSWER_START, DOC, QUESTION, Part, Tag, answer_start, document_parts, find_tag, prompt_parts
from cai.spelling import did_you_mean

if TYPE_CHECKING:
    from cai.data.contacts.examples import Example

DOCUMENT_NAMES: Final = ("context", "doc", "document")
ANSWER_NAMES: Final = ("answers", "answer")

SHOWN: Final = 12
"""Names of fields that a message lists."""

MUST_REFUSE: Final = '"answers": [] says that the document does not have it.'

_SUMMARY: Final = re.compile(r"^요약:\s*\n-([^\n]*)", re.MULTILINE)
_CONTACT_LINE: Final = re.compile(rf"^- ({'|'.join(CONTACT_LABELS.values())}): ([^\n]*)$", re.MULTILINE)
_LINE_ENDS: Final = re.compile(r"[ \t\r]+$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """A question whose right answer is known."""

    prompt: tuple[Part, ...]
    """What the model is given, up to the beginning of the answer."""
    document: str
    """Where contacts may be taken from; empty if there is none."""
    fields: Mapping[str, str]
    """What the line of each label (TEL, ADDR, WEB, EMAIL) must say, ``ABSENT`` included; empty: there are no such lines."""
    refuses: bool
    """The document does not have what is asked, and the right answer says so."""
    answers: tuple[str, ...] = ()
    """Texts one of which the answer must hold; for cases of a user's own."""

    @property
    def question(self) -> str:
        """What is asked; empty if the prompt has no such section."""
        place = find_tag(self.prompt, QUESTION)
        return "" if place is None else _text_from(self.prompt, place + 1).strip()


def case_of_example(example: Example) -> Case:
    """The case of a generated example."""
    case = case_of_document(document_parts(example.question, example.document, example.answer))
    assert case is not None
    return case


def case_of_document(parts: Sequence[Part]) -> Case | None:
    """The case of a document in the founding format; ``None`` if it has no question or no answer.

    The prompt ends where the answer's own words begin: after its fixed beginning, or after ``[ANSWER]`` if it has none.
    """
    parts = tuple(parts)
    question, start = find_tag(parts, QUESTION), answer_start(parts)
    if question is None or start is None or not question < start:
        return None
    rest = _text_from(parts, start)
    if not rest.strip():
        return None
    answer = whole_answer(parts[:start], rest)
    return Case(parts[:start], _document_of(parts[:start]), dict(contact_lines(answer)), is_refusal(answer))


def whole_answer(prompt: Sequence[Part], rest: str) -> str:
    """An answer from its first heading on, which the prompt may hold already; in NFC, without blanks at line ends."""
    given = ANSWER_START if tuple(prompt[-1:]) == (ANSWER_START,) else ""
    return _LINE_ENDS.sub("", normalize("NFC", given + rest)).strip("\n")


def contact_lines(answer: str) -> list[tuple[str, str]]:
    """Label and value of each line of an answer that is ``- TEL: ...``, or the same with another label."""
    return [(label, value) for label, value in _CONTACT_LINE.findall(answer)]


def is_refusal(answer: str) -> bool:
    """Whether the first line of the summary says that the document lacks what is asked: with 문서에 and 없, as all do."""
    summary = _SUMMARY.search(answer)
    return summary is not None and "문서에" in summary[1] and "없" in summary[1]


def read_cases(path: Path) -> Iterator[Case]:
    """The cases of a JSONL file of objects with ``question`` and ``answers``, and ``context`` if there is a document.

    ``answers`` is a list of texts one of which the answer must hold, one text, or ``{"text": [...]}`` as in SQuAD; an empty
    list means that the document does not have it. Raises ``DataError`` that names file, line, rule, value and remedy.
    """
    found = False
    for where, record in _records(path):
        found = True
        yield _case(record, where)
    if not found:
        raise DataError(
            f'{path} must hold at least one case, but has none. Write {{"question": "...", "answers": ["..."]}}.'
        )


def _text_from(parts: Sequence[Part], start: int) -> str:
    """The ordinary text from ``start`` up to the next tag."""
    end = next((i for i in range(start, len(parts)) if isinstance(parts[i], Tag)), len(parts))
    return "".join(parts[start:end])


def _document_of(prompt: Sequence[Part]) -> str:
    """The text of all ``[DOC]`` sections."""
    starts = [i + 1 for i, part in enumerate(prompt) if isinstance(part, Tag) and part == DOC]
    return "\n".join(_text_from(prompt, start).strip("\n") for start in starts)


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object with its place. Blank lines are passed over."""
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                where = f"{path}, line {number}"
                if line := _decode(raw, where).strip():
                    yield where, _object(line, where)
    except OSError as error:
        raise DataError(
            f"{path} must be a file of cases that can be read, but is not: {error.strerror or error}."
            f" Paths count from {Path.cwd()}; give another."
        ) from error


def _decode(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fact = f"has the byte 0x{raw[error.start]:02x} at its column {error.start + 1} ({error.reason})"
        raise DataError(f"{where} must be UTF-8, but {fact}. Save the file as UTF-8.") from None


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
        if isinstance(record, dict):
            return record
        fact = f"is {_shown(record)}"
    except json.JSONDecodeError as error:
        fact = f"cannot be read at column {error.colno} ({error.msg})"
    except ValueError as error:  # an integer of thousands of digits
        fact = f"cannot be read ({error})"
    except RecursionError:
        fact = "is nested too deeply"
    raise DataError(f'{where} must be a JSON object, but {fact}. Write {{"question": "...", "answers": ["..."]}}.')


def _case(record: Mapping[str, Any], where: str) -> Case:
    question = _text(_field(record, ("question",), where)[1], "question", where)
    name, value = _field(record, DOCUMENT_NAMES, where, needed=False)
    is_there = value is not None and not (isinstance(value, str) and not value.strip())
    document = _text(value, name, where) if is_there else None
    name, value = _field(record, ANSWER_NAMES, where)
    answers = _answers(value, name, where)
    return Case(prompt_parts(question, document), document or "", {}, refuses=not answers, answers=answers)


def _field(record: Mapping[str, Any], names: Sequence[str], where: str, *, needed: bool = True) -> tuple[str, Any]:
    """Name and value of the one among ``names`` that the record has; null is as if it were not there."""
    present = [name for name in names if record.get(name) is not None]
    if len(present) > 1:
        raise DataError(f"{where} must have one of {', '.join(names)}, but has {' and '.join(present)}. Leave one out.")
    if present:
        return present[0], record[present[0]]
    if not needed:
        return names[0], None
    others = [name for name in record if name not in names]
    shown = ", ".join(others[:SHOWN]) + ", ..." * (len(others) > SHOWN)
    fact = "it is null" if set(names) & record.keys() else f"there is none (the record has {_printable(shown) or 'nothing'})"
    close = did_you_mean(names[0], others)
    remedy = f"Did you mean {close[0]}?" if close else "Add it."
    more = f" {MUST_REFUSE}" if names is ANSWER_NAMES else ""
    raise DataError(f"{where} must have the field {names[0]}, but {fact}. {remedy}{more}")


def _answers(value: Any, name: str, where: str) -> tuple[str, ...]:
    """The texts of a list, of one text, or of SQuAD's ``{"text": [...]}`` and ``[{"text": ...}]``."""
    if isinstance(value, Mapping):
        value = _inside(value, name, where)
    items = value if isinstance(value, list) else [value]
    return tuple(_text(_inside(item, name, where), name, where, MUST_REFUSE) for item in items)


def _inside(value: Any, name: str, where: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    if "text" in value:
        return value["text"]
    raise DataError(
        f'{where} must have texts in the field {name}, but an object without "text" is there ({_shown(value)}).'
        f' Write "{name}": ["..."]. {MUST_REFUSE}'
    )


def _text(value: Any, name: str, where: str, remedy: str = "") -> str:
    """In NFC, as a model has seen all text, without blanks at its ends."""
    text = normalize("NFC", value).strip() if isinstance(value, str) else ""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        fact = f"the field {name} holds half of a surrogate pair at character {error.start}"
        raise DataError(f"{where} must be Unicode text, but {fact}. Mend the file.") from None
    if not text:
        fact = "it is blank" if isinstance(value, str) else f"{_shown(value)} is there"
        how = "Write it, or leave the case out." if isinstance(value, str) else "Write one text, in quotes."
        raise DataError(f"{where} must have text in the field {name}, but {fact}. {how} {remedy}".rstrip())
    return text


def _shown(value: Any) -> str:
    """A value for a message, cut if it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return _printable(text if len(text) <= 40 else f"{text[:37]}...")


def _printable(text: str) -> str:
    """Halves of surrogate pairs, which JSON can spell and no terminal can show, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
