"""``cai reproduce``: run a saved config again, and say whether every loss came out the same."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("reproduce"))

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.errors import ConfigError, RunError
from cai.overrides import parse_arguments, refuse_sweep
from cai.run import CONFIG, claim_directory, find_run, read_run
from cai.train import check_surroundings, exit_code_of, train_in

log = logging.getLogger(__name__)

LOSSES = ("train/loss", "val/loss")


@dataclass(frozen=True)
class Comparison:
    """How far two runs agree. ``first`` is where they part: (step, metric, before, now); ``None`` if they never do."""

    compared: int
    first: tuple[int, str, float | None, float | None] | None


def read_losses(directory: Path) -> dict[tuple[int, str], float]:
    """(step, metric) → value, from ``metrics.jsonl``."""
    path = directory / "metrics.jsonl"
    if not path.is_file():
        raise RunError(f"{directory} must have a metrics.jsonl to compare with, but has none.")
    entries = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {(entry["step"], tag): entry[tag] for entry in entries for tag in LOSSES if tag in entry}


def compare_losses(before: dict[tuple[int, str], float], now: dict[tuple[int, str], float]) -> Comparison:
    """Compare to the bit, in the order of steps. A step that only one of them has is a difference."""
    for step, tag in sorted(before.keys() | now.keys()):
        old, new = before.get((step, tag)), now.get((step, tag))
        if old != new:
            return Comparison(len(before), (step, tag, old, new))
    return Comparison(len(before), None)


def main(words: Sequence[str]) -> int:
    """The ``reproduce`` verb: 0 if every loss is equal, 1 if not."""
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise ConfigError("reproduce must be given a run directory, or `last`: cai reproduce outputs/run/<date_time>")
    arguments = parse_arguments(words[1:])
    refuse_sweep(arguments, "reproduce")
    output_dir = arguments.verbatim.pop("output_dir", "outputs")
    if arguments.verbatim or arguments.rest or arguments.config_dir is not None:
        given = " ".join([*arguments.typed, *["--config-dir"] * (arguments.config_dir is not None)])
        arguments.problems.append(
            f"reproduce must be given a run and at most trust=... and output_dir=... (where `last` is), but is given"
            f" {given}."
        )
    if arguments.problems:
        raise ConfigError(arguments.problems)
    original = find_run(words[0], Path(output_dir).expanduser())
    config = load_config(original / CONFIG, TrainConfig, arguments.trusted)
    if (status := read_run(original)["status"]) != "finished":
        raise RunError(f"{original} must be a finished run, but is {status}.")
    check_surroundings([config])
    directory = claim_directory(Path(config.output_dir).expanduser() / config.name)
    log.info("reproducing %s in %s", original, directory)
    failed = exit_code_of(lambda: train_again(directory, config, original), directory)
    return failed or report(original, directory)


def train_again(directory: Path, config: TrainConfig, original: Path) -> None:
    """The same config in another directory, which says whose repetition it is."""
    train_in(directory, config, read_run(original).get("overrides", ()), reproduces=str(original))


def report(original: Path, directory: Path) -> int:
    """Say how the two runs compare. Returns the exit code."""
    comparison = compare_losses(read_losses(original), read_losses(directory))
    if comparison.first is None:
        log.info("\nreproduced: all %d losses are equal to the bit", comparison.compared)
        return 0
    step, tag, before, now = comparison.first
    log.info("\nnot reproduced: at step %d %s was %s and is %s", step, tag, before, now)
    for name in ("fingerprints", "device", "versions", "machine", "code"):
        old, new = read_run(original).get(name), read_run(directory).get(name)
        if old != new:
            log.info("  %s differ: was %s, is %s", name, old, new)
    return 1
