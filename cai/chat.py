"""``cai generate interactive=true``: questions at the terminal, one after another. (Command layer.)"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cai.composition import compose
from cai.config.roots import GenerateConfig
from cai.errors import CaiError, ConfigError, DataError
from cai.files import told
from cai.prompt import Prompt
from cai.show import advise, show_text, usual_loss, warn
from cai.spelling import did_you_mean
from cai.trained import TrainedRun

Ask = Callable[[], str]
"""Gives the next line. Raises ``EOFError`` when there are no more."""

HISTORY = Path("cache", "chat_history")

HELP = """\
A line is a question; the answer is streamed, and Ctrl-C stops it. Commands:
  /doc TEXT          the document that the following questions are about
  /doc @FILE         the same, from a file
  /doc               no document any more
  /set OPTION=VALUE  for the following answers: generation.temperature=0.5, generation=greedy, seed=2
  /set               what is set
  /help              this
  /quit              leave; so does Ctrl-D"""


class Chat:
    """A conversation with a run. Each question stands by itself: what was said before is not seen by the model."""

    def __init__(self, config: GenerateConfig, words: Sequence[str], trained: TrainedRun) -> None:
        """``words``: the command line that gave ``config``."""
        self.config = config
        self.words = list(words)
        self.trained = trained
        self.document = config.doc
        self.commands = {"/doc": self.set_document, "/set": self.set_options, "/help": self.help, "/quit": self.quit}

    def run(self, ask: Ask) -> None:
        """Until there are no more lines, or one of them is ``/quit``. What a line gets wrong is told, and no more."""
        while True:
            try:
                line = ask().strip()
                if line.startswith("/"):
                    self.command(line)
                elif line:
                    self.answer(line)
            except EOFError:
                return
            except CaiError as error:
                _note(str(error))

    def answer(self, question: str) -> None:
        """Print an answer as it comes; Ctrl-C stops this one alone."""
        prompt = Prompt.of(question, self.document, None)
        generator = self.config.generation.build(self.trained.model, self.trained.tokenizer)
        warn(prompt, self.trained)
        try:
            writing = show_text(generator, prompt, self.config.seed, usual_loss(self.trained, prompt))
        except KeyboardInterrupt:
            print()
            _note("(stopped)")
            return
        print()
        advise([writing])

    def command(self, line: str) -> None:
        """Do what a line that begins with a slash says."""
        name, _, rest = line.partition(" ")
        if name not in self.commands:
            close = did_you_mean(name, self.commands)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ConfigError(f"`{name}` must be one of {', '.join(self.commands)}.{hint}")
        self.commands[name](rest.strip())

    def set_document(self, text: str) -> None:
        if text.startswith("@"):
            text = _read(Path(text[1:].strip()).expanduser())
        self.document = text or None
        _note(f"document: {len(text):,} characters" if text else "no document")

    def set_options(self, text: str) -> None:
        """Compose the command line anew, with these words in place of earlier ones about the same."""
        try:
            new = shlex.split(text)
        except ValueError as error:
            raise ConfigError(f"`/set {text}` cannot be read ({error}). Close the quotes.") from error
        keys = [word.partition("=")[0] for word in new]
        if others := [key for key in keys if key != "seed" and key.partition(".")[0] != "generation"]:
            raise ConfigError(
                f"`{others[0]}` must be seed, generation or an option of it to be set here. Leave with /quit for others."
            )
        kept = [word for word in self.words if not any(_replaces(key, word.partition("=")[0]) for key in keys)]
        self.config = compose([*kept, *new], root="generate")
        self.words = [*kept, *new]
        _note(" ".join(new) or _settings(self.config))

    def help(self, _: str) -> None:
        _note(HELP)

    def quit(self, _: str) -> None:
        raise EOFError


def _replaces(new: str, old: str) -> bool:
    """Whether a word makes an earlier one void: the same option, or a choice of the group that it belongs to."""
    return old == new or (new == "generation" and old.startswith("generation."))


def _settings(config: GenerateConfig) -> str:
    """What can be set, a line each, ready to paste."""
    options = {f"generation.{key}": value for key, value in config.generation.model_dump().items()}
    return "\n".join(
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in {"seed": config.seed, **options}.items()
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise DataError(f"/doc @ must name a text file, but {path} cannot be read ({reason}). Give another.") from error


def _note(text: str) -> None:
    """Beside the answers, not among them."""
    print(text, file=sys.stderr, flush=True)


def ask_at(output_dir: Path) -> Ask:
    """Lines from the terminal, edited and remembered; from a pipe or a file as they are."""
    if not sys.stdin.isatty():
        return ask_pipe
    _note("/help tells what can be said; /quit or Ctrl-D leaves.")
    return terminal(output_dir / HISTORY)


def ask_pipe() -> str:
    """The next line of standard input."""
    raw = sys.stdin.buffer.readline()
    if not raw:
        raise EOFError
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"a question must be UTF-8, but {raw!r} is not. Convert it.") from error


def terminal(history: Path, **streams: Any) -> Ask:
    """Lines that are typed. ``streams``: prompt_toolkit's ``input`` and ``output``, if not the terminal's."""
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import FileHistory
    except ImportError as error:
        raise ConfigError(
            "interactive=true at a terminal needs the package prompt_toolkit, which is not there."
            ' Try: pip install "cai[chat]"'
        ) from error
    with told(history.parent):
        history.parent.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession("> ", history=FileHistory(str(history)), **streams)

    def ask() -> str:
        try:
            return session.prompt()
        except KeyboardInterrupt:  # the line is given up
            return ""

    return ask
