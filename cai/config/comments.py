"""The YAMLs as texts: which options they have, and what their comments say. Reads text, imports nothing heavy."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cai.resources import conf_folder

_OPTION = re.compile(r"""( *)([\w./-]+):(?: +("[^"]*"|'[^']*'|[^#\s].*?))?(?: +# *(.*?))?\s*$""")
_ABOUT_FILE = re.compile(r"@package .*|\S+\.yaml|yaml-language-server:.*")
_ITEM = re.compile(r" *- (.*?)(?: +#.*)?$")


class Option(NamedTuple):
    """An option as its YAML has it."""

    path: str
    """Dotted, from the top of the file."""
    value: str
    """As it is written; empty for one that holds others."""
    comment: str
    line: str


class Sheet(NamedTuple):
    """One YAML."""

    header: tuple[str, ...]
    """The comment at its top, line by line; not what is said to Hydra or an editor, nor the file's own name."""
    defaults: tuple[str, ...]
    """What it is made of, in Hydra's words: ``gpt2_nano``, ``parts/rows@_here_``, ``model: modern``, ``_self_``."""
    options: dict[str, Option]
    """By their paths, ``_target_`` included."""

    @property
    def groups(self) -> dict[str, str]:
        """Group → the choice that the defaults make. ``override /model: gpt2`` counts like ``model: gpt2``."""
        pairs = (entry.removeprefix("override ").lstrip("/").partition(":") for entry in self.defaults)
        return {group: choice.strip() for group, colon, choice in pairs if colon}


class Sheets:
    """Folders of YAMLs, as Hydra searches them: CAI's own first, then those of the user."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self._read: dict[Path, Sheet] = {}

    def choices(self, group: str) -> list[str]:
        """The names that a group can be set to."""
        return sorted({path.stem for folder in self.folders for path in (folder / group).glob("*.yaml")})

    def find(self, name: str) -> Sheet | None:
        """The YAML of a name such as ``model/gpt2_nano``, or of a root, such as ``train``."""
        path = next((path for folder in self.folders if (path := folder / f"{name}.yaml").is_file()), None)
        if path is None:
            return None
        if path not in self._read:
            self._read[path] = read_sheet(path.read_text(encoding="utf-8"))
        return self._read[path]

    def groups(self, name: str) -> dict[str, str]:
        """Group → choice, as a root or an experiment and what it is made of say."""
        sheet = self.find(name)
        if sheet is None:
            return {}
        found: dict[str, str] = {}
        for entry in sheet.defaults:
            if ":" not in entry and entry != "_self_":
                found |= self.groups(entry)
        return found | sheet.groups

    def options(self, name: str) -> dict[str, Option]:
        """The options of a YAML and of those it is made of: what is said later takes the place of what was said before."""
        sheet = self.find(name)
        if sheet is None:
            return {}
        group = name.rpartition("/")[0]
        whole: dict[str, Option] = {}
        entries = sheet.defaults if "_self_" in sheet.defaults else (*sheet.defaults, "_self_")
        for entry in entries:
            if entry == "_self_":
                for path, option in sheet.options.items():
                    known = whole.get(path)  # a value alone is explained where the option first stands
                    whole[path] = option if option.comment or known is None else option._replace(comment=known.comment)
            elif ":" not in entry:
                other = entry.partition("@")[0]
                whole |= self.options(other[1:] if other.startswith("/") else f"{group}/{other}".lstrip("/"))
        return whole


def sheets_for(words: Sequence[str]) -> Sheets:
    """CAI's YAMLs, and those of the folder that ``--config-dir`` names among the words of a command."""
    named = [after for word, after in itertools.pairwise(words) if word == "--config-dir"]
    named += [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    return Sheets([conf_folder(), *(Path(name).expanduser() for name in named[-1:])])


def read_sheet(text: str) -> Sheet:
    """Read a YAML's text."""
    lines = text.splitlines()
    top = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header = tuple(line.removeprefix("#").strip() for line in lines[:top])
    defaults: list[str] = []
    options: dict[str, Option] = {}
    above: list[tuple[int, str]] = []  # indentation and path of what the line at hand may belong to
    for line in lines[top:]:
        if found := _OPTION.match(line):
            indent = len(found[1])
            above = [(depth, path) for depth, path in above if depth < indent]
            path = ".".join([*(path for _, path in above[-1:]), found[2]])
            above.append((indent, path))
            if path != "defaults":
                options[path] = Option(path, (found[3] or "").strip(), found[4] or "", line)
        elif (item := _ITEM.match(line)) and above:
            path = above[-1][1]
            if path == "defaults":
                defaults.append(item[1].strip())
            else:  # a list, an item a line
                known = options[path]
                value = f"{known.value[:-1]}, {item[1]}]" if known.value else f"[{item[1]}]"
                options[path] = known._replace(value=value, line=f"{known.line}\n{line}")
    return Sheet(tuple(line for line in header if not _ABOUT_FILE.fullmatch(line)), tuple(defaults), options)
