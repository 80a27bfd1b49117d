"""The words after a verb: flags, texts taken as they are, group choices, and options. (Command layer.)"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cai.errors import ConfigError

VERBATIM = frozenset({"question", "doc", "prompt", "text", "file", "run", "out", "path", "name", "output_dir"})
"""Keys whose values are texts of the user's: Hydra's grammar would refuse them, read a list, or make a sweep."""

PLACES = ("model.path", "trainer.init_from")
"""Keys whose values are paths; with ``-m`` several of them where there is a comma, which Hydra's grammar then reads: a sweep
over what training begins with."""

FLAGS = ("-m", "--multirun", "--config-dir", "-h", "--help")


@dataclass
class Arguments:
    """A command line, sorted."""

    multirun: bool = False
    config_dir: str | None = None
    trusted: list[str] = field(default_factory=list)
    verbatim: dict[str, str] = field(default_factory=dict)
    """Dotted path → text, exactly as typed."""
    rest: list[str] = field(default_factory=list)
    """Everything else, for Hydra's grammar."""
    typed: list[str] = field(default_factory=list)
    """All overrides as typed, for the record."""
    problems: list[str] = field(default_factory=list)
    """A sentence for each word that cannot be read."""

    def again(self, without: str) -> str:
        """What was typed, ready to paste after a verb, but for the option ``without``; with a blank before each word."""
        words = [word for word in self.typed if word.lstrip("+").partition("=")[0] != without]
        words += ["--config-dir", self.config_dir] if self.config_dir is not None else []
        return "".join(f" {shlex.quote(word)}" for word in words) + self.trust()

    def trust(self) -> str:
        """The trust given, ready to paste, with a blank before it; nothing if there is none."""
        return f" trust={','.join(self.trusted)}" if self.trusted else ""


def parse_arguments(words: Sequence[str]) -> Arguments:
    """Sort a command line."""
    arguments = Arguments()
    queue, overrides = list(words), list[str]()
    while queue:
        word = queue.pop(0)
        if word in ("-m", "--multirun"):
            arguments.multirun = True
        elif word == "--config-dir" and not queue:
            arguments.problems.append(
                "`--config-dir` must name a folder of YAMLs, but names none. Try --config-dir my_conf."
            )
        elif word == "--config-dir":
            arguments.config_dir = queue.pop(0)
        elif word.startswith("--config-dir="):
            arguments.config_dir = word.partition("=")[2]
        elif word.startswith("-"):
            arguments.problems.append(
                f"`{word}` must be one of the flags {', '.join(FLAGS)}; options are written as key=value."
            )
        elif "=" not in word and not word.startswith("~"):
            arguments.problems.append(f"`{word}` must be an override of the form key=value. {_similar_form(word)}")
        else:
            overrides.append(word)
    for word in overrides:  # now that it is known whether they may be a sweep
        _sort(word, arguments)
    return arguments


def named_run(verb: str, words: Sequence[str]) -> tuple[str, Arguments]:
    """For verbs that begin with a run: its name, and the other words sorted. Raises ``ConfigError`` without one."""
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise ConfigError(f"{verb} must be given a run directory, or `last`: cai {verb} outputs/run/<date_time>")
    arguments = parse_arguments(words[1:])
    refuse_sweep(arguments, verb)
    return words[0], arguments


def _sort(word: str, arguments: Arguments) -> None:
    key, _, value = word.partition("=")
    key = key.lstrip("+")
    if key == "trust":
        arguments.trusted += [package.strip() for package in value.split(",") if package.strip()]
        return
    arguments.typed.append(word)
    if not word.startswith("~") and _is_verbatim(key, value, arguments.multirun):
        arguments.verbatim[key] = value
    else:
        arguments.rest.append(_quoted(word))


def _is_verbatim(key: str, value: str, multirun: bool) -> bool:
    if key in PLACES:
        return not (multirun and "," in value) and (key, value) != ("trainer.init_from", "null")
    if key == "prepare.out":
        return value != "null"
    return key in VERBATIM or key.endswith((".path", ".template", ".marker"))


def refuse_tokenizer(keys: Iterable[str], config: object) -> None:
    """For a ``config`` whose tokenizer is there already: raise ``ConfigError`` if one of the ``keys`` given is of it."""
    from cai.tokenizer.from_data import FromDataConfig  # takes time to import, and completion needs this module

    place, remedy = "where training begins with a model (trainer.init_from, model=from_pretrained)", "with the weights"
    if isinstance(getattr(config, "tokenizer", None), FromDataConfig):
        place, remedy = "with data=prepared, whose ids are there already", "with the data (tokenizer=from_data)"
    problems = [
        f"`{key}` must be left out {place}, but is given. Leave it out: the tokenizer goes {remedy}."
        for key in keys
        if key.partition(".")[0] == "tokenizer"
    ]
    if problems:
        raise ConfigError(problems)


def _quoted(word: str) -> str:
    """``key=값`` as ``key='값'``, and each value of a sweep by itself: Hydra's grammar has no letters but those of ASCII."""
    key, equals, value = word.partition("=")
    if value.isascii() or not re.fullmatch(r"[\w .,/+-]*", value):
        return word
    return key + equals + ",".join(part if part.isascii() else f"'{part}'" for part in value.split(","))


def refuse_sweep(arguments: Arguments, verb: str) -> None:
    """For verbs that run once: ``-m`` is one more problem."""
    if arguments.multirun:
        arguments.problems.append(f"`-m` must go with train, but is given to {verb}, which runs once. Leave -m out.")


def quote(key: str, value: str) -> str:
    """A verbatim text as an override that Hydra's grammar reads back to exactly that text."""
    # OmegaConf reads `${` unless a backslash stands before it; Hydra's quoted strings end at a quote unless one does.
    # Backslashes are doubled only where they would otherwise belong to such an escape.
    value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    value = re.sub(r"(\\*)(')", r"\1\1\\'", value)
    value = re.sub(r"(\\+)\Z", r"\1\1", value)
    return f"{key}='{value}'"


def _similar_form(word: str) -> str:
    return f"Try {word.replace(':', '=', 1)}" if ":" in word else 'Write text with spaces in quotes: question="..."'


def job_folder(number: int, overrides: Iterable[str]) -> str:
    """``<num>_<overrides>``, safe on every file system and in Hydra's grammar: no ``=``, comma, brace, slash or blank."""
    text = re.sub(r"[^\w.+-]+", "-", "_".join(override.lstrip("+") for override in overrides)).strip("-.")
    name = f"{number}_{text}" if text else str(number)
    if len(name.encode()) > 100:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = name.encode()[:90].decode(errors="ignore") + "_" + digest
    return name
