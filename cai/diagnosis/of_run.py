"""What can be seen to be wrong with a run, from its files alone: also with one that runs, has failed or is torn."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cai.comparison.history import History, number, read_history, whole
from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.data.forms import one_sided
from cai.entry import BAD
from cai.errors import CaiError
from cai.runs import CONFIG, METRICS, SAMPLES, read_run
from cai.symptoms import training
from cai.symptoms.failures import symptom_of_text
from cai.symptoms.table import TABLE, Told, tell
from cai.symptoms.texts import repetition
from cai.tokenizer.report import symptoms_of_figures

log = logging.getLogger(__name__)

ERROR: Final = 2000
"""Characters of an error that are shown."""
BYTES_ALONE: Final = 300
"""A vocabulary of no more tokens, if none was asked for, has single bytes: each syllable is in pieces by design."""
SAMPLE: Final = re.compile(r"^## Step (\d+): ([^\n]*)\n\n```\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
"""An entry of ``samples.md``."""


Seen = Iterator[Told | None]


@dataclass(frozen=True)
class Files:
    """What a run directory holds, as far as it can be read."""

    directory: Path
    facts: dict[str, Any]
    history: History
    config: TrainConfig | None

    @property
    def max_steps(self) -> int:
        return whole(self.facts.get("max_steps")) or 0


def symptoms_of_run(directory: Path) -> list[Told]:
    """All that ``run.json``, ``metrics.jsonl``, ``config.yaml`` and ``samples.md`` show of trouble; a good run has none.

    A file that is missing, torn or not what it should be shows nothing.
    """
    facts = _read(read_run, directory)
    files = Files(
        directory,
        facts if isinstance(facts, dict) else {},
        _read(read_history, directory / METRICS) or History([], {}),
        _read(lambda path: load_config(path, TrainConfig), directory / CONFIG),
    )
    return [told for look in LOOKS for told in _read(look, files) or () if told is not None]


def _read(read: Callable[[Any], Any], what: Any) -> Any:
    """What ``read`` gives; ``None`` for what it cannot read."""
    try:
        found = read(what)
        return list(found) if isinstance(found, Iterator) else found
    except (CaiError, *BAD) as error:
        log.debug("%s: %r", what, error)
        return None


def failure(run: Files) -> Seen:
    """Why it failed."""
    if run.facts.get("status") != "failed":
        return
    error = str(run.facts.get("error", ""))[:ERROR]
    error = "".join(char if char.isprintable() else " " for char in error).strip() or "nobody knows why"
    name = run.facts.get("symptom")
    if isinstance(name, str) and name in TABLE:
        yield Told(name, error)
    else:
        yield symptom_of_text(error) or tell("failed", error=error if error.endswith((".", "!", "?")) else f"{error}.")


def stuck(run: Files) -> Told | None:
    """Whether nothing was learned."""
    steps, losses = run.history.series("train/loss")
    vocab_size = whole(run.facts.get("tokenizer", {}).get("vocab_size"))
    if not steps or not vocab_size or not training.is_judged(steps[-1], run.max_steps):
        return None
    floor = number(run.facts.get("data", {}).get("loss_without_context")) or math.log(vocab_size)
    lr = getattr(run.config and run.config.optimizer, "lr", None) or max(run.history.series("train/lr")[1], default=0.0)
    return training.stuck(steps[-1], losses, max(losses), floor, vocab_size, lr)


def curve(run: Files) -> Seen:
    """What its losses tell."""
    yield stuck(run)
    steps, losses = run.history.series("train/loss")
    recent = training.RECENT
    spikes = [
        step for i, step in enumerate(steps) if training.spike(step, losses[i], losses[max(0, i - recent) : i]) is not None
    ]
    if spikes:
        yield tell("spikes", count=len(spikes), steps=", ".join(f"{step:,}" for step in spikes[:5]))
    if skipped := whole(run.facts.get("skipped_updates")):
        yield tell("skipped", "calmer", count=skipped)


def validation(run: Files) -> Seen:
    """What its evaluations tell."""
    steps, values = run.history.series("val/loss")
    if not steps:
        return
    best_step, best = run.history.lowest("val/loss") or (0, math.inf)
    train = run.history.last("train/loss") or math.inf
    evals = len(steps) - 1 - steps.index(best_step)
    if stuck(run) is None:
        yield training.overfitting(steps[-1], values[-1], train, best, best_step, evals)
    if run.facts.get("status") == "finished" and (step := whole(run.facts.get("steps")) or 0) < run.max_steps:
        yield tell("stopped_early", step=step, steps=run.max_steps, best_step=best_step)


def speed(run: Files) -> Seen:
    """Whether it became slow."""
    pace = training.Pace()
    for step, value in zip(*run.history.series("perf/tokens_per_sec"), strict=True):
        yield pace.look(step, value)


def text(run: Files) -> Seen:
    """What its figures tell of the text: whether there is too little, or of one form."""
    data, parameters = run.facts.get("data", {}), run.facts.get("parameters", {})
    tokens, computing = whole(data.get("train_tokens")), whole(parameters.get("without_embeddings"))
    if tokens and computing:
        yield from training.large_model(tokens, computing)
    yield from one_sided(data)


def tokenizer(run: Files) -> Seen:
    """What its figures tell of the tokenizer."""
    figures = run.facts.get("tokenizer", {})
    size, asked = whole(figures.get("vocab_size")) or 0, whole(figures.get("vocab_size_asked"))
    random_words = run.config is None or getattr(run.config.data, "wild", 0) > 0
    by_design = random_words or (asked is None and size <= BYTES_ALONE)
    split = None if by_design else number(figures.get("hangul_split"))
    yield from symptoms_of_figures(split, number(figures.get("unknown")) or 0.0, size, asked)


def samples(run: Files) -> Seen:
    """Whether the newest texts that it wrote repeat themselves."""
    found = SAMPLE.findall((run.directory / SAMPLES).read_text(encoding="utf-8", errors="replace"))
    newest = [(title, written) for step, title, written in found if step == found[-1][0]]
    repeating = [(title, fact) for title, written in newest if (fact := repetition(written))]
    if repeating:
        told = tell("repeats", "penalty_or_no_ngram", fact=repeating[0][1])
        where = f"{len(repeating)} of {len(newest)} samples of step {int(found[-1][0]):,}"
        yield Told(told.name, f"{where}, the first to «{repeating[0][0][:60]}»: {told.sentence}")


LOOKS: Final = (failure, curve, validation, speed, text, tokenizer, samples)
"""In the order in which what they see is told."""
