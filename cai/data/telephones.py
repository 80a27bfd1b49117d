"""Telephone numbers in Korean text: found, checked and written in one form. Needs ``phonenumbers`` (extra ``contacts``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from cai.errors import ConfigError

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

_BEFORE: Final = r"(?<![0-9A-Za-z_+=&?\#@%])(?<![0-9][-.])(?<![^0-9]/)"
"""Not inside a word, a longer number (an account, a decimal) or a URL."""
_AREA: Final = r"0(?:2|1[016-9]|[3-6][0-9]|[78]0|50[0-9])"
_GAP: Final = r"(?:[ ]?[-‐‑–.][ ]?|[ ])"
_NUMBER: Final = re.compile(
    rf"""(?:
        {_BEFORE}\+(?=(?:[-. ()]{{0,3}}[0-9]){{8}})[1-9](?:[-. ]{{0,3}}+\(?+[0-9]++\)?+){{1,7}}+
      | (?:\({_AREA}\)[ ]?[-.]?[ ]? | {_BEFORE}{_AREA}(?:\)[ ]?|{_GAP})) (?:[0-9]{{3,4}}{_GAP}[0-9]{{3,5}} | [0-9]{{7,8}})
      | {_BEFORE}(?<!/){_AREA}[0-9]{{7,8}}
      | {_BEFORE}1[5-8][0-9]{{2}}-[0-9]{{4}}
    )(?![0-9A-Za-z_@]|[-.][0-9A-Za-z])""",
    re.VERBOSE,
)
# What is meant as a telephone number, valid or not. Dates, prices, postal codes, registration numbers of companies
# (123-45-67890) and accounts have another shape.
_FIRST: Final = re.compile(r"\((?=0)|\+(?=[1-9])|0(?=[1-8])|1(?=[5-8])")
_SHORT: Final = re.compile(
    r"(?:(?:TEL|Tel|전화) ?[:.]|[☎☏📞]\ufe0f?:?) ?(1[0-9]{2,3})(?![0-9]|[-. ][0-9])|\A(1[0-9]{2,3})\Z"
)
# 119 may count anything: it is a telephone number after a label, or alone.
_DEFUNCT: Final = re.compile("1[16-9][0-9]{7,8}|10[0-9]{7}")
"""011, 016 to 019 and ten-digit 010: switched off by 2021, valid to the library."""


def require(mode: str) -> None:
    """Raise ``ConfigError`` unless the package that ``data.clean.telephones=mode`` needs can be imported."""
    try:
        import phonenumbers  # noqa: F401
    except ImportError:
        raise ConfigError(
            f"data.clean.telephones={mode} needs the package phonenumbers, which cannot be imported."
            ' Try: pip install "cai[contacts]"'
        ) from None


def check(text: str) -> tuple[list[str], list[str]]:
    """The telephone numbers of ``text`` as written: those in use somewhere, and those that look like one but are not.

    Korean unless they begin with +. Short ones (119, 1345) count after a label such as ``TEL:``, or alone.
    """
    require("check")
    valid: list[str] = []
    invalid: list[str] = []
    for _, written, number in _numbers(text):
        (invalid if number is None else valid).append(written)
    for match in _SHORT.finditer(text):
        short = match[match.lastindex or 1]
        (valid if _is_short_number(short) else invalid).append(short)
    return valid, invalid


def format(text: str) -> str:
    """``text`` with valid numbers in national form (02-2112-1234), foreign ones in international form (+1 415-555-2671).

    Numbers that are not valid, and 050 numbers, whose groups the library would shift (0502-123-4567), stay as written.
    """
    require("format")
    pieces: list[str] = []
    end = 0
    for start, written, number in _numbers(text):
        if number is not None:
            # (02) is set off from a word by its bracket, which goes: 전화(02)2112-1234.
            apart = " " if written[0] == "(" and text[start - 1 : start].isalnum() else ""
            pieces += [text[end:start], apart + _form(number, written)]
            end = start + len(written)
    return "".join([*pieces, text[end:]]) if pieces else text


def _numbers(text: str) -> Iterator[tuple[int, str, PhoneNumber | None]]:
    """Where each number stands, how it is written, and the number if it is valid."""
    end = 0
    for first in _FIRST.finditer(text):
        match = _NUMBER.match(text, first.start()) if first.start() >= end else None
        if match is None:
            continue
        read = ((written, number) for written in _readings(match[0]) if (number := _parse(written)))
        written, number = next(read, (match[0], None))
        if written[0] != "1" or (number and not _are_years(written)):
            end = match.start() + len(written)
            yield match.start(), written, number


def _readings(found: str) -> Iterator[str]:
    """``found``; a number with +, whose end no shape tells, also without its last groups: "+82 2 2112 1234 2024"."""
    yield found
    while found[0] == "+" and " " in found:
        found = found.rpartition(" ")[0].rstrip("-. ")
        yield found


def _parse(written: str) -> PhoneNumber | None:
    import phonenumbers

    try:
        number = phonenumbers.parse(written, "KR")
    except phonenumbers.NumberParseException:
        return None
    defunct = number.country_code == 82 and _DEFUNCT.fullmatch(str(number.national_number))
    return number if phonenumbers.is_valid_number(number) and not defunct else None


def _are_years(written: str) -> bool:
    """1899-1961 is a life, though 1899 is also a prefix of nationwide numbers."""
    first, last = written.split("-")
    return int(first) < int(last) <= 2100


def _is_short_number(written: str) -> bool:
    import phonenumbers

    return phonenumbers.is_valid_short_number_for_region(phonenumbers.parse(written, "KR"), "KR")


def _form(number: PhoneNumber, written: str) -> str:
    from phonenumbers import PhoneNumberFormat, format_number

    if number.country_code != 82:
        return format_number(number, PhoneNumberFormat.INTERNATIONAL)
    return written if str(number.national_number).startswith("50") else format_number(number, PhoneNumberFormat.NATIONAL)
