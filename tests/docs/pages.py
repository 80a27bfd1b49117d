"""A page of documentation is run: its files are written, its commands typed, one after the other, in one scratch folder."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import pytest

from cai.cli import main
from cai.diagnosis import expected, machine, numerics
from tests.conftest import TINY

DOCS = Path(__file__).parents[2] / "docs"
TRAINS = ("train", "tune", "prepare", "doctor")
"""Verbs that take the options of a run."""
SHELL = set("|><&;*`$~")
"""Characters for which a line needs a shell."""


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language. `sh` is run by the tests, `console` is for the eye."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def commands(page: Path) -> list[str]:
    """Every line of every `sh` block, its comment left out."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in (re.sub(r"(^|\s+)#.*", "", line).strip() for line in lines) if line]


def named_files(page: Path) -> dict[str, str]:
    """Path → text of each file that a page has one write: its path begins with `my_`.

    It is a block whose first line is a comment with the path (after Hydra's own line), which belongs to the file; or, where
    a file can have no comments, a block after a line that ends in the path and a colon.
    """
    text = page.read_text(encoding="utf-8")
    every = [block for language in ("python", "yaml", "text", "json") for block in blocks(page, language)]
    named = [(re.match(r"(?:# @package _global_\n)?# (my_\S+)\n", block), block) for block in every]
    files = {found[1]: block for found, block in named if found}
    return files | dict(re.findall(r"`(my_[^`\s]+)`:\n\n```\w+\n(.*?)^```", text, flags=re.M | re.S))


def write_files(page: Path, folder: Path) -> None:
    for path, text in named_files(page).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def headings(page: Path) -> list[tuple[int, str]]:
    """Depth and text of every heading."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [(len(marks), heading) for marks, heading in re.findall(r"^(#+) (.+)$", text, flags=re.M)]


def anchor(heading: str) -> str:
    """The address of a heading on its page, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def dead_links(page: Path) -> list[str]:
    """Links to files that are not there, and to headings that they do not have."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, place = link.partition("#")
        target = page.parent / path if path else page
        if link.startswith(("http:", "https:")):
            continue
        if not target.exists() or (place and place not in [anchor(text) for _, text in headings(target)]):
            dead.append(link)
    return dead


def shortened(line: str, small: Sequence[str] = TINY) -> str:
    """A command that trains, made to take a second: what it does not say itself is small."""
    words = shlex.split(line)
    if words[:2] == ["cai", "resume"]:
        return re.sub(r"trainer\.max_steps=\d+", "trainer.max_steps=9", line)
    if words[:1] != ["cai"] or words[1] not in TRAINS or any(word.startswith("run=") for word in words):
        return line
    keys = {word.partition("=")[0] for word in words}
    own_data = any(word.startswith("data=") and word != "data=contacts" for word in words)
    of_contacts = ("data.samples", "data.questions", "data.wild")
    extra = [word for word in small if (key := word.partition("=")[0]) not in keys and not (own_data and key in of_contacts)]
    return shlex.join([*words, *extra])


@contextmanager
def quick_doctor() -> Iterator[pytest.MonkeyPatch]:
    """Inside, `cai doctor` tests itself shortly and measures hardly; the whole has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numerics, "self_test", partial(numerics.self_test, short=True))
        patch.setattr(expected, "SECONDS", 0.01)
        patch.setattr(machine, "SECONDS", 0.01)
        yield patch


def typed(line: str, folder: Path) -> tuple[int, str]:
    """Exit code and all that a person sees of a command typed in ``folder``; without a new process where none is needed."""
    if line.startswith("cai ") and not SHELL & set(re.sub(r"'[^']*'", "", line)):
        seen = io.StringIO()
        before = Path.cwd()
        os.chdir(folder)
        try:
            with redirect_stdout(seen), redirect_stderr(seen):
                code = main(shlex.split(line)[1:])
        finally:
            os.chdir(before)
        return code, seen.getvalue()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def walk(
    page: Path, folder: Path, codes: Mapping[str, int] | None = None, small: Sequence[str] = TINY
) -> Iterator[tuple[str, str]]:
    """Every command of a page with what is seen of it. ``codes``: exit codes other than 0 that a command must have."""
    write_files(page, folder)
    for line in commands(page):
        code, seen = typed(shortened(line, small), folder)
        assert code == (codes or {}).get(line, 0), f"{line}\n{seen}"
        yield line, seen
