"""Completion of words on the command line: at each TAB the shell asks ``cai --complete``. (Command layer.)

Answers come from the YAMLs' text, without Hydra, pydantic or PyTorch: in the time that Python takes to start. Only the words
of Hydra itself are left to Hydra's own completion.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cai.completion_scripts import SCRIPTS
from cai.config.comments import Option, Sheets, sheets_for
from cai.config.literals import Sources
from cai.errors import ConfigError

OF_TRAIN = ("resume", "reproduce", "inspect_tokenizer", "inspect_data", "inspect_model", "inspect_lr")
"""Verbs that take the options of ``train`` beside their own."""
PLACES = ("resume", "reproduce", "compare", "list", "board")
"""Verbs that begin with a directory."""
FLAGS = {"-m": "a sweep over all combinations", "--config-dir": "a folder of YAMLs of your own", "--help": "what there is"}


class Candidate(NamedTuple):
    """A word that may stand here."""

    word: str
    note: str = ""

    @property
    def whole(self) -> bool:
        """Whether the next word may follow."""
        return not self.word.endswith(("=", ".", "/"))


def main(words: Sequence[str]) -> int:
    """``cai --completion <shell>`` prints what sets a shell up, ``cai --complete <shell>`` what may stand at the cursor."""
    shell = words[1] if len(words) == 2 else ""
    if shell not in SCRIPTS:
        raise ConfigError(
            f"{words[0]} must be told for which shell ({', '.join(SCRIPTS)}), but is told {shell or 'nothing'}."
            ' Try: eval "$(cai --completion bash)"'
        )
    if words[0] == "--completion":
        print(SCRIPTS[shell], end="")
        return 0
    line, point = os.environ.get("COMP_LINE", ""), os.environ.get("COMP_POINT", "")
    typed = split(line[: int(point)] if point.isdecimal() else line)
    for candidate in complete(typed):
        print(WRITTEN[shell](candidate, typed[-1]))
    return 0


def split(line: str) -> list[str]:
    """The words of a command line up to the cursor, quotes taken off; the last one is not finished and may be empty."""
    end = "\0"  # so that there is a last word
    for closing in ("", "'", '"'):
        try:
            *words, last = shlex.split(line + end + closing)
        except ValueError:  # inside of quotes
            continue
        return [*words, last.removesuffix(end)]
    return [*line.split()[:-1], line.split(" ")[-1]]


def complete(typed: Sequence[str]) -> list[Candidate]:
    """What may stand in the place of the last word; the first is the program's name. Nothing: names of files may."""
    from cai.cli import VERBS

    _, *before, word = typed
    if not before:
        return begin_with(word, [*(Candidate(*verb) for verb in VERBS.items()), Candidate("--help"), Candidate("--version")])
    verb, *before = before
    sheets = sheets_for(before)
    if verb == "inspect" and not before:
        return begin_with(word, subjects(sheets))
    if verb == "inspect":
        verb, before = f"{verb}_{before[0]}", before[1:]
    if word.startswith("-") and "=" not in word:
        return begin_with(word, (Candidate(*flag) for flag in FLAGS.items()))
    if before[-1:] == ["--config-dir"] or word.startswith("--config-dir="):
        return list(folders(word.rpartition("=")[2], word[: word.rfind("=") + 1]))
    if verb in PLACES and "=" not in word and (not before or verb == "compare"):
        last = [Candidate("last", "the newest")] * (verb in ("resume", "reproduce"))
        return begin_with(word, [*last, *folders(word)])
    if word.lstrip("+~").startswith("hydra"):
        return begin_with(word, map(Candidate, of_hydra(before, word)))
    return Options(sheets, verb, before).complete(word)


def begin_with(word: str, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that go on from what is typed."""
    return [candidate for candidate in candidates if candidate.word.startswith(word)]


def folders(begun: str, prefix: str = "") -> Iterator[Candidate]:
    """Folders whose path goes on from what is typed."""
    parent, _, name = begun.rpartition("/")
    above = Path(f"{parent}/" if "/" in begun else ".").expanduser()
    shown = f"{parent}/" if "/" in begun else ""
    inside = sorted(above.iterdir()) if above.is_dir() else []
    for folder in inside:
        if folder.name.startswith(name) and folder.is_dir() and (name or not folder.name.startswith(".")):
            yield Candidate(f"{prefix}{shown}{folder.name}/")


def subjects(sheets: Sheets) -> Iterator[Candidate]:
    """What ``cai inspect`` looks at: each has a root of its own."""
    for name in sheets.choices(""):
        sheet = sheets.find(name)
        if name.startswith("inspect_") and sheet:
            yield Candidate(name.removeprefix("inspect_"), sheet.header[0].partition(":")[0])


def of_hydra(before: Sequence[str], word: str) -> list[str]:
    """What Hydra itself would complete a word to: options of ``hydra``, its launchers."""
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin

    from cai.composition import HydraSession
    from cai.overrides import parse_arguments

    with HydraSession("train", parse_arguments([])) as session:
        flags = [flag for flag in before if flag in ("-m", "--multirun")]
        found: list[str] = DefaultCompletionPlugin(session.loader)._query("train", " ".join([*flags, word]))
        return found


class Options:
    """The groups and options of a verb, as the words before say."""

    def __init__(self, sheets: Sheets, verb: str, before: Sequence[str]) -> None:
        self.sheets = sheets
        self.sources = Sources(Path.cwd())
        given = dict(word.lstrip("+").partition("=")[::2] for word in before if "=" in word)
        self.groups: dict[str, str] = {}
        self.options: dict[str, Option] = {}
        self.classes: dict[str, str] = {}
        """Group, or the name of an option of a verb's own → the config class that it is of."""
        for root in ["train"] * (verb in OF_TRAIN) + [verb]:
            self.groups |= {group: choice for group, choice in sheets.groups(root).items() if "/" not in group}
            own = {path: option for path, option in sheets.options(root).items() if not path.startswith("hydra")}
            self.options |= own
            self.classes |= dict.fromkeys((path.partition(".")[0] for path in own), self.sources.class_of_root(root))
        self.groups |= sheets.groups(f"experiment/{given.get('experiment')}")
        self.groups |= {group: choice for group, choice in given.items() if group in self.groups}
        for group, choice in self.groups.items():
            of_group = sheets.options(f"{group}/{choice.partition(',')[0]}") if group != "experiment" else {}
            self.options |= {f"{group}.{path}": option for path, option in of_group.items() if path != "_target_"}
            self.classes[group] = of_group["_target_"].value if "_target_" in of_group else ""

    def complete(self, word: str) -> list[Candidate]:
        """Keys up to their next dot; or, of a key that is there, its values."""
        key, equals, value = word.partition("=")
        if not equals:
            sign = word[: len(word) - len(word.lstrip("+~"))]
            return begin_with(word, (Candidate(sign + name, note) for name, note in self._keys(word.count("."))))
        name = key.lstrip("+").partition("@")[0]
        if name == "run":
            return begin_with(word, [Candidate("run=last", "the newest"), *folders(value, "run=")])
        before = key + "=" + value[: value.rfind(",") + 1]  # of a sweep
        return begin_with(word, (Candidate(before + one, note) for one, note in self._values(name)))

    def _keys(self, depth: int) -> Iterator[tuple[str, str]]:
        """With so many dots, each once."""
        if not depth:
            yield from ((f"{group}=", f"now {choice}") for group, choice in self.groups.items())
        seen = set()
        for path, option in self.options.items():
            parts = path.split(".")
            more = len(parts) > depth + 1
            key = ".".join(parts[: depth + 1]) + ("." if more else "=")
            if len(parts) > depth and key not in seen and option.value and parts[-1] != "_target_":
                seen.add(key)
                yield key, "" if more else option.comment

    def _values(self, name: str) -> Iterator[tuple[str, str]]:
        if name in self.groups:
            for choice in self.sheets.choices(name):
                sheet = self.sheets.find(f"{name}/{choice}")
                yield choice, sheet.header[0] if sheet and sheet.header else ""
        elif name in self.options:
            group, _, rest = name.partition(".")
            value, kind = self.options[name].value, self.classes[group]
            words = self.sources.words_for(kind, rest if group in self.groups else name)
            known = [] if value in ("", "???", "null", "{}") else [value]
            yield from ((word, "as it is" * (word == value)) for word in words or known)


def _for_bash(candidate: Candidate, typed: str) -> str:
    """Bash replaces what stands behind the last of the characters at which it breaks words."""
    breaks = os.environ.get("COMP_WORDBREAKS", " \t\n=:@")
    start = max(typed.rfind(char) for char in breaks) + 1
    return candidate.word[start:] + " " * candidate.whole


def _with_note(candidate: Candidate, _: str) -> str:
    note = candidate.note.partition("; ")[0]  # what else there is to be said would not fit beside the word
    return f"{candidate.word}\t{note}" if note else candidate.word


WRITTEN: dict[str, Callable[[Candidate, str], str]] = {"bash": _for_bash, "zsh": _with_note, "fish": _with_note}
"""Shell → how a candidate is handed to it, given the word that it stands for."""
