"""Options of verbs that start at once: a few plain values, written and documented here, read without Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cai.errors import ConfigError
from cai.spelling import did_you_mean

Plain = bool | int | str


@dataclass(frozen=True)
class Option:
    """One option of a verb."""

    name: str
    default: Plain
    about: str
    """As the comment of a YAML's line: meaning, unit, when to change it."""

    def read(self, word: str) -> Plain | None:
        """The value that ``word`` writes; ``None`` if it is none of this option's."""
        if isinstance(self.default, bool):
            return {"true": True, "false": False}.get(word.lower())
        if isinstance(self.default, int):
            return int(word) if word.isascii() and word.isdigit() else None
        return word or None

    @property
    def rule(self) -> str:
        if isinstance(self.default, bool):
            return "true or false"
        return "a whole number, at least 0" if isinstance(self.default, int) else "a text that is not empty"

    @property
    def example(self) -> str:
        return "true" if self.default is False else _text(self.default)


OPTIONS: dict[str, tuple[Option, ...]] = {
    "board": (
        Option("port", 6006, "of TensorBoard's page; 0 = any that is free"),
        Option("host", "127.0.0.1", "who can reach the page: this machine alone; 0.0.0.0 = whoever can reach this machine"),
        Option("open", False, "open the page in a browser"),
    ),
    "list": (Option("clean", False, "offer to delete failed runs and unused caches; asks first"),),
}
"""Verb → its options."""


def read_options(verb: str, typed: Sequence[str], problems: Sequence[str] = ()) -> dict[str, Plain]:
    """Name → value of all options of ``verb``, from words of the form key=value; the last one of a key counts.

    Raises ``ConfigError`` with all that is wrong, ``problems`` found before included.
    """
    options = {option.name: option for option in OPTIONS[verb]}
    values = {name: option.default for name, option in options.items()}
    problems = list(problems)
    for word in typed:
        name, _, text = word.lstrip("+").partition("=")
        if name not in options:
            close = did_you_mean(name, options)
            hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(options)}."
            problems.append(f"`{name}` must be an option of {verb}, but there is no such option. {hint}")
        elif (value := options[name].read(text)) is None:
            problems.append(f"`{name}` must be {options[name].rule}, but is {text!r}. Try {name}={options[name].example}.")
        else:
            values[name] = value
    if problems:
        raise ConfigError(problems)
    return values


def describe_options(verb: str) -> str:
    """Every option with its default and what it is, as a YAML would have them."""
    lines = [(f"{option.name}: {_text(option.default)}", option.about) for option in OPTIONS[verb]]
    width = max(len(line) for line, _ in lines) + 3
    return "\n".join(f"  {line:<{width}}# {about}" for line, about in lines)


def _text(value: Plain) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
