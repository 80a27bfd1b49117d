"""Options given anew for a run that exists: which may change, and what that costs. (Command layer.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cai.composition import HydraSession, compose, set_value
from cai.config.roots import TrainConfig
from cai.config.saved import to_tree
from cai.config.targets import TARGET
from cai.config.validate import Validation, leaf_paths
from cai.device import DeviceConfig
from cai.errors import ConfigError
from cai.grammar import read_overrides
from cai.overrides import Arguments

CADENCES = {
    f"trainer.{key}"
    for key in ("log_every", "eval_every", "sample_every", "histogram_every", "save_every", "keep", "async_save")
}
"""How often things are done that change no loss."""
NONFINITE = {"trainer.on_nonfinite", "trainer.max_skipped"}
"""They take effect where the run would otherwise have ended."""
MEMORY = {f"trainer.{key}" for key in ("micro_batch_size", "chunked_loss", "gradient_checkpointing")}
"""They trade time for memory and compute the same."""
INEXACT = "losses may differ in their last digits from here on"
ANSWERS = {"trainer.answers"}
"""Asked when training is over."""
DEBUGGING = {"trainer.profile", "trainer.detect_anomaly"}
"""They look, and change no loss."""
PRUNING = {"trainer.prune", "trainer.prune_warmup"}
"""Whether a job of a sweep goes on, not what it computes."""
LENGTHS = ("trainer.max_steps", "trainer.max_epochs")


Changes = dict[str, tuple[Any, Any]]
"""Dotted path → (value in the run, value now)."""


def change(
    saved: TrainConfig, arguments: Arguments, refusals: Callable[[Changes, TrainConfig], list[str]]
) -> tuple[TrainConfig, Changes]:
    """``saved`` with the overrides of a command line, and what they change; of groups, only ``device`` can be chosen anew.

    ``refusals`` gives a sentence for each change that must not be. Raises ``ConfigError`` with every problem.
    """
    before = to_tree(saved)
    tree, problems = to_tree(saved), list(arguments.problems)
    with HydraSession("train", arguments) as session:
        overrides, hydras, more = read_overrides(arguments.rest, session.loader)
        groups, devices = session.loader.list_groups(""), session.loader.get_group_options("device")
    problems += more + [f"`{override.key_or_group}` must be left out: a run goes on without Hydra." for override in hydras]
    for override in sorted(overrides, key=lambda one: one.key_or_group not in groups):  # a choice, then its options
        key, value = override.key_or_group, None if override.is_sweep_override() else override.value()
        if override.is_sweep_override() or override.is_delete():
            problems.append(f"`{key}` must be given one value, but is {override.input_line}.")
        elif key == "device" and value in devices:
            tree[key] = to_tree(compose([f"device={value}"]))[key]
        elif key in groups:
            there = f"one of {', '.join(devices)}" if key == "device" else "left out, as it stays as it is in the run"
            problems.append(f"`{key}` must be {there}, but is {value}.")
        else:
            set_value(tree, key, value)
    for key, text in arguments.verbatim.items():
        set_value(tree, key, text)
    validation = Validation(trusted=arguments.trusted, known_paths=leaf_paths(before))
    config = validation.build(tree, TrainConfig)
    old, new = _leaves(before), _leaves(tree)
    changes = {path: (old[path], new.get(path)) for path in old if old[path] != new.get(path)}
    problems += [*refusals(changes, saved), *validation.problems]
    if config is None or problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return config, changes


def named_options(arguments: Arguments) -> set[str]:
    """The dotted paths that a command line decides, whether the value is another than before or not."""
    keys = {word.lstrip("+").partition("=")[0] for word in arguments.typed}
    return keys | {f"device.{option}" for option in DeviceConfig.model_fields if "device" in keys}


def refusals_on_resuming(changes: Changes, saved: TrainConfig) -> list[str]:
    """A sentence for each change that would make it another run."""
    problems = []
    for path, (before, after) in changes.items():
        if path in LENGTHS:
            if not _is_number(before) or not _is_number(after) or after <= before:
                problems.append(f"`{path}` may only be raised, but was {before} and is {after}. Give more than {before}.")
        elif path == "trainer.eval_every" and saved.trainer.patience:
            problems.append(
                f"`{path}` must stay {before} in a run with trainer.patience, which counts evaluations, but is {after}."
            )
        elif (
            not may_move(path)
            and not path.startswith("sweep.")
            and path not in CADENCES | NONFINITE | MEMORY | ANSWERS | DEBUGGING | PRUNING
        ):
            problems.append(f"`{path}` must stay {before} as in the run, but is {after}. Leave it out, or start a new run.")
    return problems


def may_move(path: str) -> bool:
    """Whether an option says where things are or what computes, not what is computed."""
    return is_place(path) or path.startswith("device.")


def is_place(path: str) -> bool:
    """Whether an option says where something lies, which must be the same wherever that is."""
    return path in ("output_dir", "trainer.init_from", "data.cache_gb") or path.endswith(".path")


def costs(changes: Changes) -> list[str]:
    """A sentence for each allowed change that may not be without consequence."""
    found = []
    for path, (before, after) in changes.items():
        if path.startswith("device.") or path in MEMORY:
            found.append(f"{path} was {before} and is {after}: {INEXACT}")
        elif path.endswith(".path") and not path.startswith("data."):
            found.append(f"{path} was {before} and is {after}: it must hold the same, which is checked for data alone")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves |= _leaves(value, f"{prefix}{key}.")
        else:
            leaves[prefix + (key if key != TARGET else "class")] = value
    return leaves
