"""The answer format: four sections in a fixed order, written and read back.

The headings are the contract between the data, the trained model and its evaluation; they belong to no world of examples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ABSENT: Final = "문서에 없음"
"""The value of a contact line whose field is not in the document."""

NAME_LABEL: Final = "기관"
CONTACT_LABELS: Final[Mapping[str, str]] = {"tel": "TEL", "address": "ADDR", "web": "WEB", "email": "EMAIL"}
"""The label of each contact field of an answer, in the order of its lines."""


@dataclass(frozen=True)
class Answer:
    """The content of an answer. ``contacts`` holds what the document has of ``tel address web email``."""

    summary: str
    checklist: tuple[str, ...]
    name: str
    contacts: Mapping[str, str]
    details: str

    def render(self) -> str:
        """The answer as text. It has no newline at its end."""
        values = {NAME_LABEL: self.name}
        values |= {label: self.contacts.get(field, ABSENT) for field, label in CONTACT_LABELS.items()}
        lines = ["요약:", f"- {self.summary}", ""]
        lines += ["체크리스트:", *(f"- {item}" for item in self.checklist), ""]
        lines += ["연락처(공공정보):", *(f"- {label}: {value}" for label, value in values.items()), ""]
        lines += ["상세 설명:", self.details]
        return "\n".join(lines)


_TELEPHONE: Final = r"(?=(?:[-+() ]*[0-9]){2,15}\n)\+?\(?\+?[0-9]+(?:[() ]{1,3}[0-9]+)*(?:[-()]{1,3}[0-9]+)*"
"""119 and 15, 02-2345-6789, +86 (0) 20 8314 3000: two digits or more, at most the 15 of E.164.
After a hyphen no blank comes, as it would between two numbers.
"""

_VALUES: Final[Mapping[str, str]] = {
    "tel": _TELEPHONE,
    "address": r"\S[^\n]*",
    "web": r"https?://[^\s@]+",
    "email": r"[^\s@]+@[^\s@]+",
}
_CONTACT_LINES: Final = "".join(
    rf"- {label}: (?P<{field}>{ABSENT}|{_VALUES[field]})\n" for field, label in CONTACT_LABELS.items()
)
_PATTERN: Final = re.compile(
    r"요약:\n- (?P<summary>\S[^\n]*\.)\n\n"
    r"체크리스트:\n(?P<checklist>(?:- \S[^\n]*\n){1,2})\n"
    rf"연락처\(공공정보\):\n- {NAME_LABEL}: (?P<name>\S[^\n]*)\n{_CONTACT_LINES}\n"
    r"상세 설명:\n(?P<details>\S[^\n]*니다\.)"
)


def parse_answer(text: str) -> Answer | None:
    """The content of a rendered answer, or None if ``text`` is not exactly one whole answer.

    Details end with 니다 and a full stop, so an answer that stops half-way is told from a complete one.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        return None
    return Answer(
        summary=match["summary"],
        checklist=tuple(item.removeprefix("- ") for item in match["checklist"].splitlines()),
        name=match["name"],
        contacts={field: match[field] for field in CONTACT_LABELS if match[field] != ABSENT},
        details=match["details"],
    )


def well_formed(answer: str) -> bool:
    """Whether ``answer`` has every section, in order and complete."""
    return parse_answer(answer) is not None
