"""``cai evaluate``: a run and data → how well it predicts them, and how well it answers."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("evaluate"))

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from cai.composition import HydraSession
from cai.config.evaluation import EvaluateConfig
from cai.config.saved import to_tree
from cai.data.cases import Case, read_cases
from cai.data.corpus import Corpus
from cai.data.files import digest
from cai.device import Device
from cai.errors import DataError
from cai.evaluation.answering import cases_of, evaluate_answers, longer_than_window
from cai.evaluation.likelihood import Likelihood, likelihood
from cai.evaluation.report import Answers, Evaluation, add_to_tensorboard, refuse_existing, write_page
from cai.exports import is_export, read_export
from cai.interruption import deferred
from cai.model.base import IGNORE_INDEX
from cai.overrides import parse_arguments, refuse_sweep
from cai.runs import find_run, read_facts
from cai.signals import listening
from cai.tokens.batches import dataset_of
from cai.tokens.shards import Shards, build_shards
from cai.trained import TrainedRun, load_trained

Facts = dict[str, Any]


def main(words: Sequence[str]) -> int:
    """The ``evaluate`` verb. Returns the exit code."""
    arguments = parse_arguments(words)
    refuse_sweep(arguments, "evaluate")
    with HydraSession("evaluate", arguments) as session:
        config = session.jobs(EvaluateConfig)[0].config
    refuse_existing(config.out)
    cases = cases_of_file(config)
    device = config.device.build()
    device.set_up()
    directory = find_run(config.run, Path(config.output_dir).expanduser(), config.checkpoint)
    trained = load_trained(directory, config.checkpoint, device, arguments.trusted)
    trained.model.to(device.parameter_dtype)
    if not trained.config.data.asks and (config.file is not None or config.data is not None):
        say("warning: this run's text had no questions; it has not learned to answer any")

    if cases is None:
        evaluation, data = evaluate_data(config, directory, trained, device)
    else:
        evaluation, data = evaluate_file(config, cases, trained)
    print(f"{directory}, {trained.checkpoint} (step {trained.step:,})\n{evaluation.table()}")
    if config.answers and evaluation.answers is None:
        print("\nno answers: this data has no questions")
    facts = {
        "run": str(directory),
        "checkpoint": trained.checkpoint,
        "step": trained.step,
        "data": data,
        "device": {"type": device.type, "precision": device.precision, "threads": torch.get_num_threads()},
        "options": {key: value for key, value in to_tree(config).items() if key != "out"},
    }
    keep(evaluation, facts, config, directory)
    return 0


def cases_of_file(config: EvaluateConfig) -> list[Case] | None:
    """The questions of ``file=``, as many as are to be answered; ``None`` if no file is given. Says how many are left."""
    if config.file is None:
        return None
    cases = list(read_cases(Path(config.file).expanduser()))
    if len(cases) > config.answers:
        say(f"note: the first {config.answers:,} of {len(cases):,} questions are asked; answers={len(cases)} asks all")
    return cases[: config.answers]


def evaluate_file(config: EvaluateConfig, cases: Sequence[Case], trained: TrainedRun) -> tuple[Evaluation, Facts]:
    """Questions of the user's own: no text to predict. With what tells them from others."""
    assert config.file is not None
    data = {"file": config.file, "fingerprint": digest(Path(config.file).expanduser())}
    return Evaluation(None, answers_to(cases, f"of {config.file}", config, trained)), data


def evaluate_data(config: EvaluateConfig, directory: Path, trained: TrainedRun, device: Device) -> tuple[Evaluation, Facts]:
    """The validation text and the questions of ``data=``, or else of the run's own data. With what tells it from others."""
    data = config.data or trained.config.data
    data.check()
    corpus = data.build()
    cases, about = cases_of(data, corpus, config.answers)
    if not cases and not config.likelihood:
        raise DataError(
            "likelihood=false needs data with questions, but this data has none. Leave it out, or give file=questions.jsonl"
        )
    facts, predicted = {"fingerprint": corpus.fingerprint}, None
    if config.likelihood:
        shards = build_shards(corpus, trained.tokenizer, Path(config.output_dir).expanduser() / "cache")
        facts["ids"] = shards.content
        if config.data is None:
            warn_of_other_data(directory, shards)
        predicted = likelihood_of(corpus, shards, config, trained, device)
    return Evaluation(predicted, answers_to(cases, f"about {about}", config, trained) if cases else None), facts


def warn_of_other_data(directory: Path, shards: Shards) -> None:
    """Say so if what is called the run's own data is not what it was trained on."""
    facts = read_export(directory) if is_export(directory) else read_facts(directory)
    before = facts.get("fingerprints", {}).get("ids", shards.content)
    if before != shards.content:
        say(
            f"warning: the run's data are others now (token ids {shards.content}, in training {before}): it may have been"
            " trained on some of what is validation text now"
        )


def likelihood_of(corpus: Corpus, shards: Shards, config: EvaluateConfig, trained: TrainedRun, device: Device) -> Likelihood:
    """A pass over the validation text."""
    dataset = dataset_of(corpus, shards, trained.config.model.block_size, config.seed, IGNORE_INDEX)
    total = shards.val.answer_tokens if corpus.loss == "answer" else shards.val.tokens - 1
    with tqdm(total=total, unit="token", unit_scale=True, disable=None, dynamic_ncols=True) as bar:
        return likelihood(trained.model, dataset, trained.tokenizer, device, stride=config.stride, progress=bar.update)


def answers_to(cases: Sequence[Case], about: str, config: EvaluateConfig, trained: TrainedRun) -> Answers:
    """What the model answers, and how much of it is right."""
    generator = config.generation.build(trained.model, trained.tokenizer)
    with tqdm(total=len(cases), unit="answer", disable=None, dynamic_ncols=True) as bar:
        scores, answered = evaluate_answers(generator, cases, config.seed, config.batch_size, bar.update)
    return Answers(about, scores, answered, longer_than_window(generator, cases))


def keep(evaluation: Evaluation, facts: Facts, config: EvaluateConfig, directory: Path) -> None:
    """Write what was found, and say where."""
    prefix = "/".join(["eval", *series_of(config)])
    with listening(), deferred(then_raise=False):  # a signal meanwhile finds nothing left to stop
        path = write_page(directory, config.out, evaluation.page(facts))
        hindrance: str | None = "an export has no curves"
        if not is_export(directory):
            hindrance = add_to_tensorboard(directory, evaluation.figures(), facts["step"], prefix)
    curves = f"not added: {hindrance}" if hindrance else f"{prefix}/... at step {facts['step']:,}"
    print(f"\nwritten      {path}\nTensorBoard  {curves}")


def series_of(config: EvaluateConfig) -> list[str]:
    """What sets the curves of other data and questions apart from those of the run's own: the name of the file."""
    if config.file is None and config.data is None:
        return []
    name = config.file or getattr(config.data, "path", None) or type(config.data).__module__.rpartition(".")[2]
    return [re.sub(r"[^\w.-]+", "_", Path(name).stem)]


def say(sentence: str) -> None:
    """Beside the table, not in it."""
    print(sentence, file=sys.stderr)
