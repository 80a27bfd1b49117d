"""Hydra composition: from the words of a command line to validated jobs. (Command layer.)

Hydra composes the groups; single options are applied here, on the composed tree, so that a wrong key reaches the same
validation as a wrong value and all problems are reported together, before anything is touched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from hydra import compose as hydra_compose
from hydra import version
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cai.config.base import Config
from cai.config.validate import Validation, did_you_mean, leaf_paths
from cai.errors import ConfigError
from cai.overrides import Arguments, parse_arguments, quote
from cai.resources import conf_folder

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
        self.hydra_overrides: list[str] = []
        self._trees: dict[tuple[str, ...], DictConfig] = {}

    def __enter__(self) -> Self:
        search_path = create_config_search_path(str(conf_folder()))
        if self.arguments.config_dir:
            folder = Path(self.arguments.config_dir).expanduser().resolve()
            if not folder.is_dir():
                raise ConfigError(f"--config-dir must be a folder of YAMLs, but {folder} is none.")
            search_path.append("command-line", f"file://{folder}")
        if self.arguments.trusted and str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))  # a package of the user's own may lie in the current folder
        GlobalHydra.instance().clear()  # a notebook may have left one
        version.setbase("1.3")
        self.hydra = Hydra.create_main_hydra2(task_name=self.root, config_search_path=search_path)
        self.loader = self.hydra.config_loader
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        GlobalHydra.instance().clear()

    def jobs(self, root_class: type[C]) -> list[Job[C]]:
        """Every job of the command line, validated. Raises ``ConfigError`` with all problems of all jobs."""
        overrides = self._parse()
        combinations, swept_keys = self._combinations(overrides)
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
        self.hydra.run(self.root, lambda _: task(), overrides, with_log_configuration=False)

    def sweep(self, task: Callable[[int], None], directory: Path, folders: Sequence[str]) -> None:
        """Hand the jobs to Hydra's sweeper and launcher; job ``n`` runs ``task(n)`` in ``directory / folders[n]``."""
        OmegaConf.register_new_resolver("cai.job_folder", lambda number: folders[number], replace=True)
        overrides = [*self._for_hydra(), quote("hydra.sweep.dir", str(directory))]
        self.hydra.multirun(self.root, lambda _: task(HydraConfig.get().job.num), overrides, with_log_configuration=False)

    def _parse(self) -> list[Override]:
        """The overrides in Hydra's grammar; those for Hydra itself go to ``hydra_overrides``."""
        parser = OverridesParser.create(config_loader=self.loader)
        parsed = []
        for text in self.arguments.rest:
            try:
                override = parser.parse_override(text)
            except HydraException as error:
                reason = str(error).splitlines()[0]
                self.problems.append(
                    f"`{text}` must be key=value, but cannot be read ({reason})."
                    f" Text with blanks, commas or brackets goes in quotes inside quotes: '{text.partition('=')[0]}=\"...\"'"
                )
                continue
            if override.key_or_group.split(".")[0].split("/")[0] == "hydra":
                self._check_hydra_override(override, text)
            else:
                parsed.append(override)
        return parsed

    def _check_hydra_override(self, override: Override, text: str) -> None:
        """Hydra accepts any ``hydra.*`` key without a word; CAI does not."""
        key = override.key_or_group
        if key in ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"):
            self.problems.append(f"`{key}` is derived, as <output_dir>/<name>/<date_time>. Set name or output_dir.")
        elif "/" not in key and not override.is_force_add() and not override.is_add():
            known = hydra_compose(self.root, return_hydra_config=True)
            paths = leaf_paths({"hydra": OmegaConf.to_container(known.hydra, resolve=False)})
            if key not in paths and not any(path.startswith(f"{key}.") for path in paths):
                hint = did_you_mean(key, paths)
                self.problems.append(
                    f"`{key}` must be an option of Hydra, but there is no such option."
                    + (f" Did you mean {' or '.join(hint)}?" if hint else "")
                )
        self.hydra_overrides.append(text)

    def _combinations(self, overrides: list[Override]) -> tuple[list[list[Override]], set[str]]:
        """One list of overrides for each job, and the keys that are swept."""
        swept = [override for override in overrides if override.is_sweep_override()]
        if not swept or not self.arguments.multirun:
            for override in swept:
                key, _, value = (override.input_line or "").partition("=")
                self.problems.append(
                    f"`{key}` must have one value, but has several: {value}. To sweep over them add -m; for a list write"
                    f" '{key}=[{value}]'; for text with commas '{key}=\"{value}\"'."
                )
            return [[o for o in overrides if o not in swept]], set()
        try:
            batches = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        except HydraException as error:
            raise ConfigError([*self.problems, f"the sweep cannot be expanded: {error}"]) from error
        parser = OverridesParser.create(config_loader=self.loader)
        return [parser.parse_overrides(job) for job in batches[0]], {o.get_key_element() for o in swept}

    def _compose_job(self, overrides: list[Override], root_class: type[C]) -> C | None:
        groups = self._group_choices(overrides)
        before = len(self.problems)
        try:
            tree = self._compose_groups(tuple(o.input_line or "" for o in groups))
            known = leaf_paths(OmegaConf.to_container(tree, resolve=False))  # type: ignore[arg-type]
            for override in overrides:
                if not self._is_group(override):
                    _apply(tree, override)
            values: dict[str, Any] = OmegaConf.to_container(tree, resolve=True)  # type: ignore[assignment]
            for key, text in self.arguments.verbatim.items():
                _set(values, key, text)
        except (HydraException, OmegaConfBaseException) as error:
            self.problems.append(f"the config cannot be composed: {str(error).strip()}")
            return None
        validation = Validation(trusted=self.arguments.trusted, known_paths=known)
        config = validation.build(values, root_class)
        wrong_groups = {o.key_or_group for o in overrides if self._is_group(o) and o not in groups}
        self.problems += [p for p in validation.problems if not any(p.startswith(f"`{g}.") for g in wrong_groups)]
        return config if len(self.problems) == before else None

    def _is_group(self, override: Override) -> bool:
        return "." not in override.key_or_group and override.key_or_group in self.loader.list_groups("")

    def _group_choices(self, overrides: list[Override]) -> list[Override]:
        """The choices that exist; for the others a problem is noted."""
        good = []
        for override in overrides:
            if not self._is_group(override):
                continue
            group, choice = override.key_or_group, override.value()
            options = self.loader.get_group_options(group)
            if override.is_delete() or choice is None or choice in options:
                good.append(override)
            else:
                close = did_you_mean(str(choice), options)
                hint = f" Did you mean {close[0]}?" if close else ""
                self.problems.append(f"`{group}` must be one of {', '.join(options)}, but is {choice}.{hint}")
        return good

    def _compose_groups(self, choices: tuple[str, ...]) -> DictConfig:
        """The tree of a set of group choices, composed once; every caller gets a copy it may change."""
        if choices not in self._trees:
            self._trees[choices] = hydra_compose(self.root, overrides=list(choices))
        tree = self._trees[choices].copy()
        OmegaConf.set_struct(tree, False)
        return tree

    def _for_hydra(self) -> list[str]:
        """The validated overrides, for Hydra's own composition; every key is known to exist, so ``+`` is dropped."""
        plain = [text.lstrip("+") for text in self.arguments.rest if not text.lstrip("+").startswith("hydra")]
        return [*self.hydra_overrides, *plain, *(quote(key, text) for key, text in self.arguments.verbatim.items())]


def compose(overrides: Sequence[str] = (), *, root: str = "train") -> Any:
    """The typed config of ``overrides``, as on the command line: ``compose(["model=gpt2_mini", "optimizer.lr=1e-3"])``.

    For notebooks and scripts. ``root`` is ``train`` (a ``TrainConfig``) or ``generate`` (a ``GenerateConfig``). Raises
    ``ConfigError`` with every problem found.
    """
    from cai.config.roots import ROOTS

    with HydraSession(root, parse_arguments(overrides)) as session:
        return session.jobs(ROOTS[root])[0].config


def _apply(tree: DictConfig, override: Override) -> None:
    """One single-option override on a composed tree, whether the key exists or not."""
    key = override.key_or_group
    if override.is_delete():
        parent, _, leaf = key.rpartition(".")
        with open_dict(tree):
            node = OmegaConf.select(tree, parent) if parent else tree
            if isinstance(node, DictConfig):
                node.pop(leaf, None)
    else:
        OmegaConf.update(tree, key, override.value(), merge=False, force_add=True)


def _set(values: dict[str, Any], key: str, text: str) -> None:
    """Put a verbatim text at a dotted path of a plain tree."""
    *parents, leaf = key.split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            child = values[parent] = {}
        values = child
    values[leaf] = text
