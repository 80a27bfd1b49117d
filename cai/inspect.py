"""``cai inspect``: a look at what a run is made of. Each subject has a module of its own, ``cai.inspect_<subject>``."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import TypeVar

from cai.composition import HydraSession
from cai.config.base import Config
from cai.errors import ConfigError
from cai.overrides import Arguments, parse_arguments, refuse_sweep
from cai.spelling import did_you_mean

SUBJECTS = {
    "tokenizer": "its figures, its vocabulary, a text's tokens; -m compares",
    "data": "documents, varied copies, tokens and rows, as training would see them",
    "model": "shapes through the net, parameters and FLOPs by module, the memory that training takes",
    "lr": "a range test: which learning rates a config can be trained with, as a plot",
    "gradients": "of a run, by parameter: mean, deviation, norm, update-to-weight ratio; dead units",
    "attention": "of a run over a prompt, by layer and head: a page, a picture, entropy and induction score",
    "checkpoint": "what is inside: step, tensors, optimizer state",
    "run": "how it went, and what there is to be seen of trouble",
    "options": "every option with its type and its comment, and the JSON schema of the YAMLs",
}

C = TypeVar("C", bound=Config)


def main(words: Sequence[str]) -> int:
    """The ``inspect`` verb. Returns the exit code."""
    subject = words[0] if words else ""
    if subject not in SUBJECTS:
        close = did_you_mean(subject, SUBJECTS)
        hint = f" Did you mean {close[0]}?" if close else " Try: cai inspect tokenizer run=last"
        raise ConfigError(
            f"inspect must be told what to look at ({', '.join(SUBJECTS)}), but is told {subject or 'nothing'}.{hint}"
        )
    code: int = import_module(f"cai.inspect_{subject}").main(words[1:])
    return code


def read_options(words: Sequence[str], root: str, options: type[C]) -> tuple[C, list[str]]:
    """The options of a subject that takes no others, and the packages trusted. Its root YAML is ``conf/<root>.yaml``."""
    arguments = parse_arguments(words)
    refuse_sweep(arguments, root.replace("_", " "))
    with HydraSession(root, arguments) as session:
        return session.jobs(options)[0].config, arguments.trusted


def divide(words: Sequence[str], root: str, options: type[C], both: Collection[str] = ()) -> tuple[C, Arguments]:
    """A subject's own options, and all other words, which are those of ``train``; ``both`` are options of the two.

    Nothing is composed of the others yet.
    """
    keys = [word.lstrip("+").partition("=")[0] if "=" in word else "" for word in words]
    own = [word for word, key in zip(words, keys, strict=True) if key in options.model_fields]
    rest = [word for word, key in zip(words, keys, strict=True) if key not in options.model_fields or key in both]
    with HydraSession(root, parse_arguments(own)) as session:
        return session.jobs(options)[0].config, parse_arguments(rest)


def wants_colour() -> bool:
    """Whether standard output is a terminal that may be coloured (no-color.org)."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal() -> bool:
    return sys.stdout.isatty()


if __name__ == "__main__":
    from cai.cli import run_verb

    raise SystemExit(run_verb("inspect"))
