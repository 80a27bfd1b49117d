"""Overrides in Hydra's grammar: read, sorted into CAI's and Hydra's own, expanded into jobs. (Command layer.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from cai.config.validate import leaf_paths
from cai.spelling import did_you_mean

DERIVED = {
    "hydra.run.dir": "is derived, as <output_dir>/<name>/<date_time>. Set name or output_dir.",
    "hydra.sweep.dir": "is derived, as <output_dir>/<name>/<date_time>. Set name or output_dir.",
    "hydra.sweep.subdir": "is derived, as <number>_<overrides>.",
    "hydra.mode": "is derived. Add -m to the command for a sweep.",
    "hydra.job.chdir": "is always false: paths mean what they meant where the command was typed. Leave it out.",
}


def read_overrides(texts: Sequence[str], loader: ConfigLoader) -> tuple[list[Override], list[Override], list[str]]:
    """CAI's overrides, those of Hydra itself (``hydra.*``), and a problem for each that cannot be read."""
    parser = OverridesParser.create(config_loader=loader)
    own: list[Override] = []
    hydras: list[Override] = []
    problems = []
    for text in texts:
        try:
            (override,) = parser.parse_overrides([text])
        except HydraException as error:
            reason = str(error).strip().splitlines()[-2:][0]
            problems.append(
                f"`{text}` must be key=value, but cannot be read ({reason}). Text with blanks, commas or brackets goes"
                f" in quotes inside quotes: '{text.partition('=')[0]}=\"...\"'"
            )
            continue
        is_hydras = override.key_or_group.split(".")[0].split("/")[0] == "hydra"
        (hydras if is_hydras else own).append(override)
    return own, hydras, problems


def check_hydra_overrides(overrides: Sequence[Override], hydra_tree: dict[str, Any], loader: ConfigLoader) -> list[str]:
    """Hydra accepts any ``hydra.*`` key without a word; CAI does not."""
    problems = []
    paths = leaf_paths({"hydra": hydra_tree})
    for override in overrides:
        key = override.key_or_group
        if key.startswith("hydra.sweeper.params"):
            problems.append(f"`{key}` must be left out: jobs are what the command line spells out. Write key=a,b,c with -m.")
        elif key in DERIVED:
            problems.append(f"`{key}` {DERIVED[key]}")
        elif override.is_sweep_override():
            problems.append(f"`{key}` must have one value, but has several. Hydra's own options cannot be swept.")
        elif key == "hydra/sweeper" and override.value() != "basic":
            problems.append(f"`{key}` must be basic, but is {override.value()}. To search, use cai tune.")
        elif key == "hydra.launcher.jobs" and (type(jobs := override.value()) is not int or jobs < 1):
            problems.append(f"`{key}` must be a whole number of at least 1, but is {jobs}.")
        elif "/" in key or key == "hydra":
            options = loader.get_group_options(key)
            if override.value() not in options:
                problems.append(f"`{key}` must be one of {', '.join(options)}, but is {override.value()}.")
        elif not override.is_force_add() and not any(f"{p}.".startswith(f"{key}.") for p in paths):
            close = did_you_mean(key, paths)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            problems.append(f"`{key}` must be an option of Hydra, but there is no such option.{hint}")
    return problems


def expand(
    overrides: list[Override], multirun: bool, loader: ConfigLoader
) -> tuple[list[list[Override]], set[str], list[str]]:
    """One list of overrides for each job, the keys in which they differ, and the problems of the sweep."""
    swept = [override for override in overrides if override.is_sweep_override()]
    if not swept:
        return [overrides], set(), []
    if not multirun:
        return [[override for override in overrides if override not in swept]], set(), [_needs_flag(o) for o in swept]
    try:
        batches = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        parser = OverridesParser.create(config_loader=loader)
        return [parser.parse_overrides(job) for job in batches[0]], {o.get_key_element() for o in swept}, []
    except HydraException as error:
        return [], set(), [f"the sweep cannot be expanded: {error}. Write it as key=a,b,c."]


def _needs_flag(override: Override) -> str:
    key, _, value = (override.input_line or "").partition("=")
    return (
        f"`{key}` must have one value, but has several: {value}. To sweep over them add -m; for a list write"
        f" '{key}=[{value}]'; for text with commas '{key}=\"{value}\"'."
    )
