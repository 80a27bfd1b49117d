"""Options given anew for a run that exists: which may change, and what that costs. (Command layer.)"""

from __future__ import annotations

from typing import Any

from cai.composition import HydraSession, compose, set_value
from cai.config.roots import TrainConfig
from cai.config.saved import to_tree
from cai.config.validate import TARGET, Validation, leaf_paths
from cai.errors import ConfigError
from cai.grammar import read_overrides
from cai.overrides import Arguments

CADENCES = {f"trainer.{key}" for key in ("log_every", "eval_every", "sample_every", "save_every", "keep")}
"""How often things are done that change no loss."""
NONFINITE = {"trainer.on_nonfinite", "trainer.max_skipped"}
"""They take effect where the run would otherwise have ended."""
LENGTHS = ("trainer.max_steps", "trainer.max_epochs")


def apply_changes(config: TrainConfig, arguments: Arguments) -> TrainConfig:
    """``config`` with the overrides of a command line; of groups, only ``device`` can be chosen anew.

    Raises ``ConfigError`` with every problem.
    """
    tree, problems = to_tree(config), list(arguments.problems)
    with HydraSession("train", arguments) as session:
        overrides, hydras, more = read_overrides(arguments.rest, session.loader)
        groups = session.loader.list_groups("")
    problems += more + [f"`{override.key_or_group}` must be left out: a run goes on without Hydra." for override in hydras]
    known = leaf_paths(tree)
    for override in overrides:
        key = override.key_or_group
        if override.is_sweep_override() or override.is_delete():
            problems.append(f"`{key}` must be given one value, but is {override.input_line}.")
        elif key == "device":
            tree[key] = to_tree(compose([f"device={override.value()}"]))[key]
        elif key in groups:
            problems.append(f"`{key}` must stay as it is in the run, but is {override.value()}. Leave it out.")
        else:
            set_value(tree, key, override.value())
    for key, text in arguments.verbatim.items():
        set_value(tree, key, text)
    validation = Validation(trusted=arguments.trusted, known_paths=known)
    changed = validation.build(tree, TrainConfig)
    if changed is None or problems:
        raise ConfigError(list(dict.fromkeys([*problems, *validation.problems])))
    return changed


def differences(before: TrainConfig, after: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """Dotted path → (value before, value after), where they differ."""
    old, new = _leaves(to_tree(before)), _leaves(to_tree(after))
    return {path: (old.get(path), new.get(path)) for path in {**old, **new} if old.get(path) != new.get(path)}


def check_changes(changed: dict[str, tuple[Any, Any]], config: TrainConfig) -> list[str]:
    """A sentence for each change that costs exactness. Raises ``ConfigError`` for those that would make it another run."""
    problems, costs = [], []
    for path, (before, after) in changed.items():
        if path.startswith("device.") or path == "trainer.micro_batch_size":
            costs.append(f"{path} was {before} and is {after}: losses may differ in their last digits from here on")
        elif path in LENGTHS:
            if before is None or after is None or after <= before:
                problems.append(f"`{path}` may only be raised, but was {before} and is {after}. Give more than {before}.")
        elif path == "trainer.eval_every" and config.trainer.patience:
            problems.append(
                f"`{path}` must stay {before} in a run with trainer.patience, which counts evaluations, but is {after}."
            )
        elif path not in CADENCES | NONFINITE | {"output_dir"} and not path.endswith(".path"):
            problems.append(f"`{path}` must stay {before} as in the run, but is {after}. Leave it out, or start a new run.")
    if problems:
        raise ConfigError(problems)
    return costs


def _leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves |= _leaves(value, f"{prefix}{key}.")
        else:
            leaves[prefix + (key if key != TARGET else "class")] = value
    return leaves
