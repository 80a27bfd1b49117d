"""``cai train``: from a config to a trained run directory. The straight line of the whole program."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("train"))

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from cai import interruption
from cai.composition import HydraSession
from cai.config.roots import TrainConfig
from cai.data.base import Corpus
from cai.errors import CaiError, ConfigError, DataError
from cai.generation import Generator
from cai.markup import plain_text
from cai.model.base import IGNORE_INDEX
from cai.overrides import parse_arguments
from cai.plan import count_parameters, describe_plan, describe_resumption
from cai.randomness import seed_everything
from cai.recorder import Recorder, cut_back, finite_or_null, flatten
from cai.run import TOKENIZER, Run, claim_directory
from cai.signals import listening
from cai.summary import describe_end, describe_failure, describe_interruption
from cai.sweep import sweep
from cai.tokenizer.base import Tokenizer
from cai.tokens.batches import TokenDataset
from cai.tokens.learned import learn_tokenizer
from cai.tokens.shards import build_shards
from cai.trainer.checkpoint import Checkpoint
from cai.trainer.estimate import estimate_seconds
from cai.trainer.progress import FitResult

log = logging.getLogger(__name__)

Found = tuple[Path, Checkpoint]
"""Where a checkpoint lies, and what it holds."""


def train(config: TrainConfig, run: Run, found: Found | None = None) -> FitResult:
    """Build tokenizer, dataset, model, optimizer and trainer from ``config``, and fit. Everything ends up in ``run``.

    ``found``: the checkpoint to go on from and where it lies; its run already has a tokenizer.
    """
    cache = Path(config.output_dir).expanduser() / "cache"
    device = config.device.build()
    device.set_up()

    corpus = config.data.build()
    if found is None:
        learn_tokenizer(config.tokenizer, corpus, cache).save(run.directory / TOKENIZER)
    tokenizer = Tokenizer.load(run.directory / TOKENIZER)
    shards = build_shards(corpus, tokenizer, cache)
    run.confirm_data(corpus.fingerprint, tokenizer.fingerprint, tokens=shards.fingerprint, ids=shards.content)
    dataset = TokenDataset(shards, config.model.block_size, config.seed, IGNORE_INDEX)

    seed_everything(config.seed)
    model = config.model.build(vocab_size=tokenizer.vocab_size).to(device.torch_device, device.parameter_dtype)
    optimizer = config.optimizer.build(model)
    generator = config.generation.build(model, tokenizer, device)

    with open_recorder(run, found) as recorder:
        trainer = config.trainer.build(
            model=model,
            optimizer=optimizer,
            schedule=config.schedule.build(config.trainer.steps(dataset.n_windows)),
            dataset=dataset,
            device=device,
            recorder=recorder,
            samples=sampler(corpus, generator, config.trainer.samples, config.seed),
            seed=config.seed,
            built_from={**config.model.model_dump(), "vocab_size": tokenizer.vocab_size},
            micro_batch_size=run.facts.get("micro_batch_size"),
        )
        if found is None:
            recorder.hyperparameters(flatten(config), metrics=("val/loss", "val/bits_per_byte"), name=run.directory.name)
        else:
            trainer.restore(found[1], source=found[0])
            log.info(describe_resumption(trainer, *found, config.schedule))
        log.info(describe_plan(config, trainer, note=corpus.note, seconds=estimate_seconds(trainer)))
        run.record(
            device={"type": device.type, "precision": device.precision, "threads": torch.get_num_threads()},
            parameters=count_parameters(model),
            max_steps=trainer.max_steps,
            micro_batch_size=trainer.updater.micro_batch.size,
        )
        try:
            return trainer.fit()
        finally:  # what a failed or interrupted run has reached is known too
            reached = trainer.reached()
            run.record(**reached | {"metrics": finite_or_null(reached["metrics"])})


def open_recorder(run: Run, found: Found | None) -> Recorder:
    """The records of a run, without what came after the checkpoint that it goes on from."""
    state = found[1].state if found else {}
    cut_back(run.directory, state.get("sizes"))
    # The first step that is recorded anew: the checkpoint's own, if that one's records were still to come.
    return Recorder(run.directory, purge_step=state["step"] + (state["owed"] is None) if found else None)


def sampler(corpus: Corpus, generator: Generator, count: int, seed: int) -> Callable[[], list[tuple[str, str]]]:
    """A function that writes on from ``count`` prompts of the validation documents, each text with its prompt's title."""
    prompts = corpus.prompts(count)

    def samples() -> list[tuple[str, str]]:
        return [(prompt.title, plain_text(prompt.parts[-1:]) + generator.text(prompt.parts, seed)) for prompt in prompts]

    return samples


def main(words: Sequence[str]) -> int:
    """The ``train`` verb. Returns the exit code."""
    arguments = parse_arguments(words)
    with listening(), HydraSession("train", arguments) as session:
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

        return exit_code_of(lambda: session.run(task, directory), directory, arguments.trust())


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


def train_in(
    directory: Path,
    config: TrainConfig,
    overrides: Sequence[str] = (),
    recorded: TrainConfig | None = None,
    **facts: Any,
) -> FitResult:
    """``train`` in a directory of its own, whose ``run.json`` tells how it went.

    ``recorded``: ``config`` with what an earlier run of it found where it says ``auto``; computed with, but not saved.
    """
    with Run(directory, config, overrides) as run:
        run.record(**facts)
        return train(recorded or config, run)


def exit_code_of(task: Callable[[], None], directory: Path, trust: str = "") -> int:
    """0 if ``task`` ends well; else one message, and 2 for a user's mistake, 1 for a failure, 128 + n for signal n."""
    try:
        task()
    except KeyboardInterrupt:
        log.info(describe_interruption(directory, trust))
        return 128 + (interruption.requested() or signal.SIGINT)
    except Exception as error:  # the run directory has the traceback; the user gets a sentence
        if (number := interruption.requested()) is not None:  # some library has wrapped the wish to stop
            log.info(describe_interruption(directory, trust))
            return 128 + number
        print(f"\n{describe_failure(error, directory)}", file=sys.stderr)
        return error.exit_code if isinstance(error, CaiError) else 1
    return 0
