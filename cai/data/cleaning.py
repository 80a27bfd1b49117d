"""Cleaning of one document's text, each step a switch. Duplicates of whole documents: ``cai.data.duplicates``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import Field

from cai.config.base import Config
from cai.data import labels, telephones

_ENDS: Final = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_COMMON_CONTROLS: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufdd0-\ufdef\ufeff\ufffe\uffff"
_CONTROLS: Final = re.compile(
    f"[{_COMMON_CONTROLS}{''.join(chr(plane << 16 | low) for plane in range(1, 17) for low in (0xFFFE, 0xFFFF))}]"
)
# One range instead of 16 pairs, and rare characters with them: a search without a find is eight times as fast.
_SUSPECTS: Final = re.compile(f"[{_COMMON_CONTROLS}\U0001fffe-\U0010ffff]")
_BLANKS: Final = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# The first blank comes before the look behind it: so a search skips everything else.
_TRAILING: Final = re.compile(r"[ \t](?<![ \t]{2})[ \t]*+(?=\n)")
_RUNS: Final = re.compile(r"[ \t](?<=[^ \t\n].)[ \t]++")
_GAPS: Final = re.compile(r"\n{3,}+")


class CleanConfig(Config):
    """What is done to the text of each document before anything else sees it, and which documents are left out."""

    nfc: bool
    control_characters: bool
    whitespace: bool
    contact_labels: bool
    telephones: Literal["keep", "check", "format"]
    duplicates: Literal["keep", "exact", "near"]
    near_threshold: Annotated[float, Field(gt=0, le=1)]


class Cleaner:
    """The switches of a ``CleanConfig`` that concern one text by itself. Raises ``ConfigError`` if a package is missing."""

    def __init__(self, config: CleanConfig) -> None:
        steps: list[tuple[str, bool, Callable[[str], str]]] = [
            # In this order: NFC does not see across controls, two blanks may stand before a label, but not in a number.
            ("control_characters", config.control_characters, without_controls),
            ("nfc", config.nfc, nfc),
            ("contact_labels", config.contact_labels, labels.standardise),
            ("whitespace", config.whitespace, tidy),
            ("telephones", config.telephones == "format", telephones.format),
        ]
        self._steps = [(name, step) for name, wanted, step in steps if wanted]
        self._checks_telephones = config.telephones == "check"
        if config.telephones != "keep":
            telephones.require(config.telephones)

    def clean(self, text: str) -> tuple[str, list[str]]:
        """The cleaned text and the names of the switches that changed it.

        With ``telephones=check``, which changes nothing, "telephones" names a text that holds a number that is not valid.
        """
        changed: list[str] = []
        for name, step in self._steps:
            before, text = text, step(text)
            if text != before:
                changed.append(name)
        if self._checks_telephones and telephones.check(text)[1]:
            changed.append("telephones")
        return text, changed


def nfc(text: str) -> str:
    """One spelling for one text: 한 as a syllable, not as three letters."""
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def without_controls(text: str) -> str:
    r"""Without C0 and C1 controls other than \n and \t, U+FEFF and noncharacters.

    What ends a line or page (CR, CRLF, VT, FF, NEL, U+2028, U+2029) becomes \n, so that no words are joined.
    Joiners stay: emoji and several scripts are spelled with them.
    """
    return _CONTROLS.sub("", _ENDS.sub("\n", text)) if _SUSPECTS.search(text) else text


def tidy(text: str) -> str:
    r"""White space that says something, once.

    NBSP and other blanks of Unicode become a space; a run of blanks becomes one, a tab if it holds a tab (a column); those
    at the end of a line go; those at its start stay, for they may be the indentation of code or a list; of empty lines
    one is left; both ends of the text are stripped.
    """
    if not text.isascii() and _BLANKS.search(text):
        text = _BLANKS.sub(" ", text)
    if " \n" in text or "\t\n" in text:
        text = _TRAILING.sub("", text)
    if "  " in text or "\t" in text:
        text = _RUNS.sub(lambda run: "\t" if "\t" in run[0] else " ", text)
    if "\n\n\n" in text:
        text = _GAPS.sub("\n\n", text)
    return text.strip(" \t\n")
