"""Hydra composition: from the words of a command line to validated jobs. (Command layer.)

Hydra composes the groups; single options are applied here, on the composed tree, so that a wrong key reaches the same
validation as a wrong value and all problems are reported together, before anything is touched.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from hydra import compose as hydra_compose
from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathElement
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cai.config.base import Config
from cai.config.validate import Validation, leaf_paths
from cai.errors import ConfigError, DataError, RunError
from cai.grammar import check_hydra_overrides, expand, read_overrides
from cai.overrides import Arguments, parse_arguments, quote, refuse_sweep, refuse_tokenizer
from cai.resources import conf_folder
from cai.spelling import did_you_mean

C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class Job(Generic[C]):
    """One composed and validated config, and how to say it to Hydra again."""

    config: C
    swept: tuple[str, ...]
    """The overrides in which the jobs of a sweep differ, as ``key=value``; empty for a single run."""


class HydraSession(AbstractContextManager["HydraSession"]):
    """Hydra, initialised on CAI's ``conf/`` and the user's ``--config-dir``, for one root config."""

    def __init__(self, root: str, arguments: Arguments) -> None:
        self.root = root
        self.arguments = arguments
        self.problems = list(arguments.problems)
        self._trees: dict[tuple[str, ...], DictConfig] = {}

    def __enter__(self) -> Self:
        search_path = create_config_search_path(str(conf_folder()))
        if self.arguments.config_dir is not None:
            folder = self._own_folder(self.arguments.config_dir)
            # Behind CAI's own YAMLs and before Hydra's schema, which must stay last.
            search_path.get_path().insert(-1, SearchPathElement("command-line", f"file://{folder}"))
        self._before = GlobalHydra.instance().hydra  # a notebook may have one of its own
        GlobalHydra.instance().clear()
        version.setbase("1.3")
        self.hydra = Hydra.create_main_hydra2(task_name=self.root, config_search_path=search_path)
        self.loader = self.hydra.config_loader
        self._groups = frozenset(self.loader.list_groups(""))  # each call reads the folders anew, for every job of a sweep
        self._options = functools.cache(self.loader.get_group_options)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        GlobalHydra.instance().hydra = self._before

    def jobs(self, root_class: type[C]) -> list[Job[C]]:
        """Every job of the command line, validated. Raises ``ConfigError`` with all problems of all jobs."""
        overrides, hydras, problems = read_overrides(self.arguments.rest, self.loader)
        if hydras:
            chosen = [o for o in hydras if "/" in (key := o.key_or_group) and o.value() in self._options(key)]
            tree = self._hydra_tree(tuple(o.input_line or "" for o in chosen))
            problems += check_hydra_overrides(hydras, tree, self.loader)
        combinations, swept_keys, more = expand(overrides, self.arguments.multirun, self.loader)
        self.problems += problems + more
        jobs = []
        for combination in combinations:
            config = self._compose_job(combination, root_class)
            swept = tuple(o.input_line or "" for o in combination if o.get_key_element() in swept_keys)
            if config is not None:
                jobs.append(Job(config, swept))
        if self.problems:
            raise ConfigError(list(dict.fromkeys(self.problems)))
        return jobs

    def run(self, task: Callable[[], None], directory: Path) -> None:
        """Enter Hydra's job for a single run, in a directory that is fixed already; Hydra records itself there."""
        overrides = [*self._for_hydra(), quote("hydra.run.dir", str(directory))]
        errors: list[Exception] = []

        def run_task(_: DictConfig) -> None:
            try:
                task()
            except Exception as error:  # Hydra would print a line of its own about it first
                errors.append(error)

        self.hydra.run(self.root, run_task, overrides, with_log_configuration=False)
        if errors:
            raise errors[0]

    def sweep(self, task: Callable[[DictConfig], None], directory: Path) -> None:
        """Hand the jobs to Hydra's sweeper and launcher, with what runs them; they work in ``directory``."""
        overrides = [*self._for_hydra(), quote("hydra.sweep.dir", str(directory))]
        self.hydra.multirun(self.root, task, overrides, with_log_configuration=False)

    def _compose_job(self, overrides: list[Override], root_class: type[C]) -> C | None:
        before = len(self.problems)
        choices, unusable = self._choices(overrides)
        try:
            tree = self._compose_groups(choices)
            known = leaf_paths(OmegaConf.to_container(tree, resolve=False))  # type: ignore[arg-type]
            for override in overrides:
                if not self._is_group(override):
                    self._apply(tree, override)
            for path in OmegaConf.missing_keys(tree):  # left out, so that validation calls them missing
                _remove(tree, path)
            values: dict[str, Any] = OmegaConf.to_container(tree, resolve=True)  # type: ignore[assignment]
        except (HydraException, OmegaConfBaseException, YAMLError) as error:
            self.problems.append(f"the config must compose, but does not: {str(error).strip()}")
            return None
        for key, text in self.arguments.verbatim.items():
            set_value(values, key, text)
        validation = Validation(trusted=self.arguments.trusted, known_paths=known)
        config = validation.build(values, root_class)
        self.problems += [p for p in validation.problems if not any(p.startswith(f"`{group}.") for group in unusable)]
        if config is None or len(self.problems) > before:
            return None
        try:
            if (settled := config.settled(self.arguments.trusted)) is not config:
                refuse_tokenizer([*(override.key_or_group for override in overrides), *self.arguments.verbatim], settled)
            return settled
        except (ConfigError, RunError, DataError) as error:
            self.problems += str(error).splitlines()
            return None

    def _is_group(self, override: Override) -> bool:
        return "." not in override.key_or_group and override.key_or_group in self._groups

    def _choices(self, overrides: list[Override]) -> tuple[tuple[str, ...], set[str]]:
        """The group choices that exist, as text; and the groups whose choice does not, each noted as a problem."""
        good, unusable = [], set()
        for override in overrides:
            if not self._is_group(override):
                continue
            group, choice = override.key_or_group, override.value()
            options = self._options(group)
            if override.is_delete():
                good.append(f"~{group}")  # validation says so if the group is needed
            elif choice in options:
                package = f"@{override.package}" if override.package else ""  # as in +data@data.sources.a=text
                good.append(f"{'+' if package else ''}{group}{package}={choice}")
            else:
                close = did_you_mean(str(choice), options)
                hint = f" Did you mean {close[0]}?" if close else " Leave it out to keep what the root YAML chooses."
                shown = "null" if choice is None else choice
                self.problems.append(f"`{group}` must be one of {', '.join(options)}, but is {shown}.{hint}")
                unusable.add(group)
        return tuple(good), unusable

    def _compose_groups(self, choices: tuple[str, ...]) -> DictConfig:
        """The tree of a set of group choices, composed once; every caller gets a copy it may change."""
        if choices not in self._trees:
            self._trees[choices] = hydra_compose(self.root, overrides=list(choices))
            if self.arguments.config_dir is not None and self._hydra_tree(choices) != self._hydra_tree(()):
                self.problems.append(
                    f"a YAML of --config-dir must not set hydra.* (it could run code), but one of {' '.join(choices)} does."
                    " Put such options on the command line."
                )
        tree = self._trees[choices].copy()
        OmegaConf.set_struct(tree, False)
        return tree

    def _hydra_tree(self, choices: tuple[str, ...]) -> dict[str, Any]:
        """Hydra's own part of the composed tree, without the record of what was composed."""
        tree = hydra_compose(self.root, overrides=list(choices), return_hydra_config=True).hydra
        values: dict[str, Any] = OmegaConf.to_container(tree, resolve=False)  # type: ignore[assignment]
        return {key: value for key, value in values.items() if key not in ("runtime", "overrides")} | {
            "job": {key: value for key, value in values["job"].items() if key != "override_dirname"}
        }

    def _apply(self, tree: DictConfig, override: Override) -> None:
        """One single-option override on a composed tree, whether the key exists or not."""
        key = override.key_or_group
        try:
            if override.is_delete():
                _remove(tree, key)
            else:
                OmegaConf.update(tree, key, override.value(), merge=False, force_add=True)
        except (OmegaConfBaseException, ValueError, TypeError, AttributeError, IndexError) as error:
            reason = str(error).strip().splitlines()[0]
            self.problems.append(f"`{key}` must be an option, but cannot be set ({reason}). Write a list whole: key=[a,b].")

    def _own_folder(self, name: str) -> Path:
        """The user's folder of YAMLs. It adds to CAI's own; one of the same name would be passed over in silence."""
        folder = Path(os.path.expanduser(name)).resolve()
        if not name or not folder.is_dir():
            raise ConfigError(f"--config-dir must name a folder of YAMLs, but {name or 'nothing'} is none.")
        if same := [yaml for yaml in conf_folder().rglob("*.yaml") if (folder / yaml.relative_to(conf_folder())).exists()]:
            names = ", ".join(str(yaml.relative_to(conf_folder())) for yaml in same)
            raise ConfigError(
                f"--config-dir must add YAMLs of new names, but {folder} has {names}, as CAI has. Rename them."
            )
        return folder

    def _for_hydra(self) -> list[str]:
        """The validated overrides, for Hydra's own composition; every key is known to exist, so ``+`` is dropped."""
        plain = [text if text.lstrip("+").startswith("hydra") else text.lstrip("+") for text in self.arguments.rest]
        return [*plain, *(quote(key, text) for key, text in self.arguments.verbatim.items())]


def compose(overrides: Sequence[str] = (), *, root: str = "train") -> Any:
    """The typed config of ``overrides``, as on the command line: ``compose(["model=gpt2_mini", "optimizer.lr=1e-3"])``.

    For notebooks and scripts. ``root`` is ``train`` (a ``TrainConfig``) or ``generate`` (a ``GenerateConfig``). Raises
    ``ConfigError`` with every problem found.
    """
    from cai.config.roots import ROOTS

    arguments = parse_arguments(overrides)
    refuse_sweep(arguments, "compose")
    with HydraSession(root, arguments) as session:
        return session.jobs(ROOTS[root])[0].config


def _remove(tree: DictConfig, path: str) -> None:
    parent, _, leaf = path.rpartition(".")
    node = OmegaConf.select(tree, parent) if parent else tree
    if isinstance(node, DictConfig):
        node.pop(leaf, None)


def set_value(values: dict[str, Any], key: str, text: Any) -> None:
    """Put a value at a dotted path of a plain tree."""
    *parents, leaf = key.split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            child = values[parent] = {}
        values = child
    values[leaf] = text
