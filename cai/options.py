"""Options of verbs that start at once: read from the verb's YAML and checked as all options are, without Hydra, whose
composition leads to PyTorch. (Command layer.)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml

from cai.config.base import Config
from cai.config.tree import load_yaml
from cai.config.validate import Validation
from cai.errors import ConfigError
from cai.overrides import Arguments, refuse_sweep
from cai.resources import conf_folder

C = TypeVar("C", bound=Config)


def config_of(verb: str, root: type[C], arguments: Arguments) -> C:
    """The options in ``conf/<verb>.yaml``, with those of the command line put in. Raises ``ConfigError`` with all that is
    wrong.
    """
    refuse_sweep(arguments, verb)
    tree = load_yaml((conf_folder() / f"{verb}.yaml").read_text(encoding="utf-8"))
    validation = Validation(problems=arguments.problems, known_paths=list(tree))
    texts = {name for name, hint in get_type_hints(root).items() if str in (hint, *get_args(hint))}
    for word in arguments.typed:
        key, _, value = word.partition("=")
        key = key.lstrip("+")
        tree[key] = _text(value) if key in texts else _value(value)
    if arguments.config_dir is not None:
        validation.problems.append(f"`--config-dir` must be left out: {verb} has no groups to choose from.")
    config = validation.build(tree, root)
    if config is None or validation.problems:
        raise ConfigError(list(dict.fromkeys(validation.problems)))
    return config


def _text(value: str) -> str | None:
    """As typed: a path may look like anything."""
    return None if value == "null" else value


def _value(text: str) -> Any:
    """What ``text`` says in a YAML; as for Hydra, ``yes`` is none of the words for true."""
    try:
        value = load_yaml(text)
    except yaml.YAMLError:
        return text  # which no option that is no text can be
    return text if isinstance(value, bool) and text.lower() not in ("true", "false") else value


def is_directory(word: str) -> bool:
    """Whether a word is no option yet. A folder's name may hold ``=``."""
    return not word.startswith("-") and ("=" not in word or os.path.exists(Path(word).expanduser()))


def named_folder(words: Sequence[str]) -> tuple[Path | None, Sequence[str]]:
    """The folder that the words begin with, if they do, and the other words."""
    if words and is_directory(words[0]):
        return Path(words[0]).expanduser(), words[1:]
    return None, words
