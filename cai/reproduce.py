"""``cai reproduce``: run a saved config again, and say whether everything came out the same."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("reproduce"))

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.changes import CADENCES, Changes, change, is_place, may_move, named_options
from cai.composition import HydraSession
from cai.config.roots import ReproduceConfig, ReproduceOptions, TrainConfig
from cai.config.saved import load_config
from cai.environment import fingerprint_of
from cai.errors import RunError
from cai.exchange.reading import weights_at
from cai.launch import together
from cai.losses import Losses, compare_losses, read_losses
from cai.overrides import named_run, parse_arguments
from cai.recorded import Fact, as_recorded, compare_facts, compare_surroundings
from cai.run import TOKENIZER, claim_directory
from cai.runs import CONFIG, find_run, read_run
from cai.signals import listening
from cai.tokenizer.base import Tokenizer
from cai.tokens.shards import build_shards
from cai.train import check_surroundings, exit_code_of, train_in

log = logging.getLogger(__name__)

WITHIN_TOLERANCE, DIFFERENT = 3, 4
"""Exit codes; 0 is for equal to the bit, 1 and 2 for a repetition that did not come to its end."""


def main(words: Sequence[str]) -> int:
    """The ``reproduce`` verb: 0 if all is equal to the bit, 3 if the losses are within tolerance, 4 if they are not."""
    name, arguments = named_run("reproduce", [word for word in words if not word.startswith("reproduce.")])
    with HydraSession("reproduce", parse_arguments([word for word in words if word.startswith("reproduce.")])) as session:
        options = session.jobs(ReproduceConfig)[0].config.reproduce
    original = find_run(name, Path(arguments.verbatim.get("output_dir", "outputs")).expanduser())
    saved = load_config(original / CONFIG, TrainConfig, arguments.trusted)
    config, changed = change(saved, arguments, refusals)
    facts = read_run(original)
    if facts["status"] != "finished":
        raise RunError(f"{original} must be a finished run, but is {facts['status']}. Finish it: cai resume {original}")
    recorded = as_recorded(config, facts, named_options(arguments))
    check_surroundings([recorded])
    losses = read_losses(original)
    with listening():
        same_data, same_rest = check(original, config, changed, facts)
        if options.check_only or not same_data:
            return 0 if same_data and same_rest else DIFFERENT
        directory = claim_directory(Path(config.output_dir).expanduser() / config.name)
        log.info("\nreproducing %s in %s", original, directory)

        def task() -> None:
            found = {"reproduces": str(original), "micro_batch_size": facts.get("micro_batch_size")}
            together(recorded.device, train_in, directory, config, facts.get("overrides", ()), recorded, **found)

        failed = exit_code_of(task, directory, arguments.trust())
    return failed or report(original, losses, directory, options)


def refusals(changes: Changes, _: TrainConfig) -> list[str]:
    """A sentence for each change that would make it another run."""
    return [
        f"`{path}` must stay {before} as in the run, but is {after}; reproduce takes *.path, trainer.init_from and device.*"
        " alone."
        for path, (before, after) in changes.items()
        if not may_move(path)
    ]


def check(original: Path, config: TrainConfig, changed: Changes, facts: Mapping[str, Any]) -> tuple[bool, bool]:
    """Compare what there is before any training, and say so. Whether the data are the same, and whether all else is."""
    now = fingerprint_of((original / CONFIG).read_text(encoding="utf-8"))
    options = [Fact("config.yaml", facts.get("config", now), now)]
    options += [Fact(path, str(before), str(now)) for path, (before, now) in changed.items()]
    data = list(compare_data(original, config, facts))
    surroundings = list(compare_surroundings(facts))
    log.info("%s", "\n".join([*table("config", options), *table("data", data), *table("surroundings", surroundings)]))
    for entry in facts.get("resumed", []):
        if entry["changed"]:
            log.info("note: it was resumed at step %s with other options: %s", entry["step"], entry["changed"])
    return all(fact.same for fact in data), all(fact.same or is_place(fact.name) for fact in [*surroundings, *options])


def compare_data(original: Path, config: TrainConfig, facts: Mapping[str, Any]) -> Iterator[Fact]:
    """The run's tokenizer and the ids that it makes of today's text, against what was recorded."""
    before = facts["fingerprints"]
    tokenizer = Tokenizer.load(original / TOKENIZER)
    shards = build_shards(config.data.build(), tokenizer, Path(config.output_dir).expanduser() / "cache")
    yield Fact("tokenizer.json", before["tokenizer"], tokenizer.fingerprint)
    if "ids" in before:
        yield Fact("token ids", before["ids"], shards.content)
    else:
        yield Fact("token shards", before["tokens"], shards.fingerprint)
    if config.trainer.init_from is not None:
        weights = weights_at(Path(config.trainer.init_from).expanduser(), config.model)
        yield Fact("initial weights", facts.get("init_from", {}).get("weights", "unknown"), weights.fingerprint)


def report(original: Path, losses: Losses, directory: Path, options: ReproduceOptions) -> int:
    """Say how the two runs compare. Returns the exit code."""
    before, now = read_run(original), read_run(directory)
    rows = [Fact(key, str(value), str(now["device"].get(key))) for key, value in before["device"].items()]
    rows += [Fact("micro_batch_size", str(before.get("micro_batch_size")), str(now["micro_batch_size"]))]
    rows += [Fact(f"{key} fingerprint", value, now["fingerprints"][key]) for key, value in before["fingerprints"].items()]
    rows += compare_facts(before, now)
    resumed = [path for entry in before.get("resumed", []) for path in entry["changed"]]
    comparison = compare_losses(losses, read_losses(directory), same_steps=not CADENCES.intersection(resumed))
    lines = ["", *table("compared", rows)]
    if comparison.first is None:
        log.info("%s", "\n".join([*lines, f"reproduced: all {comparison.count} losses are equal to the bit"]))
        return 0
    within = comparison.within(options.tolerance)
    verdict = "reproduced within tolerance" if within else "not reproduced"
    lines += [
        f"{verdict}: of {comparison.count} losses the first to part is {comparison.first}",
        f"  the widest apart is {comparison.widest} (reproduce.tolerance={options.tolerance:g})",
    ]
    log.info("%s", "\n".join(lines))
    return WITHIN_TOLERANCE if within else DIFFERENT


def table(title: str, facts: Sequence[Fact]) -> list[str]:
    """A line for each fact."""
    lines = [f"{title}:"]
    for fact in facts:
        apart = f"{'elsewhere' if is_place(fact.name) else 'DIFFERENT'}  was {fact.before}, is {fact.now}"
        what = f"equal      {fact.now}" if fact.same else apart
        lines.append(f"  {fact.name:<24}{what}")
    return lines
