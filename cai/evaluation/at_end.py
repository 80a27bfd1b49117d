"""The last thing a training run does: it answers questions with its best weights, and the answers are scored."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from cai.evaluation.answering import Answered, cases_of, evaluate_answers, longer_than_window, told_of_window
from cai.files import write_whole
from cai.generation import GenerationConfig
from cai.interruption import deferred
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.state import load_weights

if TYPE_CHECKING:
    from cai.config.roots import TrainConfig
    from cai.data.corpus import Corpus
    from cai.run import Run
    from cai.tokenizer.base import Tokenizer
    from cai.trainer.progress import FitResult
    from cai.trainer.trainer import Trainer

log = logging.getLogger(__name__)

ANSWERS = "answers.jsonl"
ANSWERED = "answered"
"""In ``run.json``: at what step, with what figures, and how large the records are with them, which no checkpoint knows."""


def answer_at_end(
    result: FitResult, config: TrainConfig, corpus: Corpus, trainer: Trainer, tokenizer: Tokenizer, run: Run
) -> FitResult:
    """``result`` with the figures of the answers, if any are asked for and the data has questions. The model is left with
    the best weights. A run that is stopped or killed meanwhile has recorded none of it, and answers when it is resumed.
    """
    if (there := run.facts.get(ANSWERED)) and there["step"] == result.step:  # stopped between them and its end
        return _with(there["figures"], result, trainer)
    if not config.trainer.answers or result.pruned:
        return result
    cases, about = cases_of(config.data, corpus, config.trainer.answers)
    if not cases:
        return result
    best = load_checkpoint(trainer.checkpoints.best)
    load_weights(trainer.model, best.weights, best.state, trainer.checkpoints.best, trainer.built_from)
    generator = greedy(config.generation).build(trainer.model, tokenizer)
    with tqdm(total=len(cases), unit="answer", disable=None if trainer.world.is_first else True, dynamic_ncols=True) as bar:
        scores, answered = evaluate_answers(generator, cases, config.seed, progress=bar.update)
    note = told_of_window(longer_than_window(generator, cases))
    log.info("%s", "\n".join([f"answers to {len(cases):,} questions about {about}:", scores.table(), *[note] * bool(note)]))
    figures = scores.figures()
    with deferred(then_raise=False):  # it is the end anyway
        if trainer.world.is_first:
            write_whole(run.directory / ANSWERS, jsonl(answered))
        trainer.recorder.metrics(result.step, figures)
        trainer.recorder.sync()
        run.facts[ANSWERED] = {"step": result.step, "figures": figures, "sizes": trainer.recorder.sizes()}
    return _with(figures, result, trainer)


def sizes_with_answers(run: Run, state: Mapping[str, Any] | None) -> Mapping[str, int] | None:
    """How large the records of ``run`` are with its answers, if it gave them where it goes on from; else it gives others."""
    there = run.facts.get(ANSWERED)
    if there and state and there["step"] == state["step"]:
        sizes: Mapping[str, int] = there["sizes"]
        return sizes
    run.facts.pop(ANSWERED, None)
    return None


def greedy(options: GenerationConfig) -> GenerationConfig:
    """Always the likeliest token, as long as ``options`` say: nothing that is drawn or forbidden decides a score."""
    off = {"repetition_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0, "no_repeat_ngram": 0}
    return options.model_copy(update={**off, "temperature": 0.0, "show": None})


def _with(figures: Mapping[str, float], result: FitResult, trainer: Trainer) -> FitResult:
    """They are metrics of the run like any other."""
    trainer.newest |= figures
    return replace(result, metrics={**result.metrics, **figures})


def jsonl(answered: Sequence[Answered]) -> str:
    """A line for each."""
    return "".join(json.dumps(one.record(), ensure_ascii=False) + "\n" for one in answered)
