"""``cai train``: from a config to a trained run directory. The straight line of the whole program."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("train"))

import logging
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cai.composition import HydraSession
from cai.config.roots import TrainConfig
from cai.data.base import Corpus
from cai.errors import CaiError, ConfigError, DataError
from cai.generation import Generator
from cai.markup import plain_text
from cai.model.base import IGNORE_INDEX
from cai.overrides import parse_arguments
from cai.plan import count_parameters, describe_plan
from cai.recorder import Recorder, finite_or_null, flatten
from cai.run import TOKENIZER, Run, claim_directory
from cai.summary import describe_end, describe_failure
from cai.sweep import sweep
from cai.tokens.batches import TokenDataset
from cai.tokens.learned import learn_tokenizer
from cai.tokens.shards import build_shards
from cai.trainer.progress import FitResult

log = logging.getLogger(__name__)


def train(config: TrainConfig, run: Run) -> FitResult:
    """Build tokenizer, dataset, model, optimizer and trainer from ``config``, and fit. Everything ends up in ``run``."""
    cache = Path(config.output_dir).expanduser() / "cache"
    device = config.device.build()
    device.set_up()

    corpus = config.data.build()
    tokenizer = learn_tokenizer(config.tokenizer, corpus, cache)
    tokenizer.save(run.directory / TOKENIZER)
    shards = build_shards(corpus, tokenizer, cache)
    dataset = TokenDataset(shards, config.model.block_size, config.seed, IGNORE_INDEX)

    seed_everything(config.seed)
    model = config.model.build(vocab_size=tokenizer.vocab_size).to(device.torch_device)
    optimizer = config.optimizer.build(model)
    generator = config.generation.build(model, tokenizer, device)

    with Recorder(run.directory) as recorder:
        trainer = config.trainer.build(
            model=model,
            optimizer=optimizer,
            schedule=config.schedule.build(config.trainer.steps(dataset.n_windows)),
            dataset=dataset,
            device=device,
            recorder=recorder,
            samples=sampler(corpus, generator, config.trainer.samples, config.seed),
            seed=config.seed,
        )
        seconds = trainer.estimate_seconds()
        log.info(
            describe_plan(
                config, note=corpus.note, shards=shards, model=model, device=device, trainer=trainer, seconds=seconds
            )
        )
        total, computing = count_parameters(model)
        run.record(
            device={"type": device.type, "precision": device.precision, "threads": torch.get_num_threads()},
            fingerprints={
                "corpus": corpus.fingerprint,
                "tokenizer": tokenizer.fingerprint,
                "tokens": shards.fingerprint,
            },
            parameters={"total": total, "without_embeddings": computing},
        )
        recorder.hyperparameters(flatten(config), metrics=("val/loss", "val/bits_per_byte"), name=run.directory.name)
        try:
            return trainer.fit()
        finally:  # what a failed or interrupted run has reached is known too
            reached = trainer.reached()
            run.record(**reached | {"metrics": finite_or_null(reached["metrics"])})


def seed_everything(seed: int) -> None:
    """Every global source of randomness: a component may use any, and an earlier job of a sweep may have."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def sampler(corpus: Corpus, generator: Generator, count: int, seed: int) -> Callable[[], list[tuple[str, str]]]:
    """A function that writes on from ``count`` prompts of the validation documents, each text with its prompt's title."""
    prompts = corpus.prompts(count)

    def samples() -> list[tuple[str, str]]:
        return [(prompt.title, plain_text(prompt.parts[-1:]) + generator.text(prompt.parts, seed)) for prompt in prompts]

    return samples


def main(words: Sequence[str]) -> int:
    """The ``train`` verb. Returns the exit code."""
    arguments = parse_arguments(words)
    with HydraSession("train", arguments) as session:
        jobs = session.jobs(TrainConfig)
        check_surroundings([job.config for job in jobs])
        config = jobs[0].config
        directory = claim_directory(Path(config.output_dir).expanduser() / config.name)
        if arguments.multirun:
            return sweep(session, jobs, directory, train_in)

        def task() -> None:
            result = train_in(directory, config, arguments.typed)
            again, trust = arguments.again(without="optimizer.lr"), arguments.trust()
            log.info(describe_end(directory, result, config, again=again, trust=trust))

        return exit_code_of(lambda: session.run(task, directory), directory)


def check_surroundings(configs: Sequence[TrainConfig]) -> None:
    """Raise ``ConfigError`` with all that can be told about data and device before a run begins."""
    problems = []
    for config in configs:
        for check in (config.data.check, config.device.build):
            try:
                check()
            except (ConfigError, DataError) as error:
                problems += str(error).splitlines()
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def train_in(directory: Path, config: TrainConfig, overrides: Sequence[str] = (), **facts: Any) -> FitResult:
    """``train`` in a directory of its own, whose ``run.json`` tells how it went."""
    with Run(directory, config, tuple(overrides)) as run:
        run.record(**facts)
        return train(config, run)


def exit_code_of(task: Callable[[], None], directory: Path) -> int:
    """0 if ``task`` ends well; else one message, and 2 for a mistake of the user's, 1 for a failure, 130 for Ctrl-C."""
    try:
        task()
    except KeyboardInterrupt:
        log.info("\ninterrupted; what was saved is in %s", directory)
        return 130
    except Exception as error:  # the run directory has the traceback; the user gets a sentence
        print(f"\n{describe_failure(error, directory)}", file=sys.stderr)
        return error.exit_code if isinstance(error, CaiError) else 1
    return 0
