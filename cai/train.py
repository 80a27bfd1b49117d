"""``cai train``: from a config to a trained run directory. The straight line of the whole program."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("train"))

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cai.bystander import open_run, recorder_of
from cai.composition import HydraSession
from cai.config.roots import TrainConfig
from cai.data.corpus import Corpus
from cai.device import Device
from cai.errors import CaiError, ConfigError, DataError, RunError
from cai.evaluation.at_end import answer_at_end, sizes_with_answers
from cai.generation import Generator
from cai.interruption import advise, is_interruption, requested
from cai.launch import together
from cai.markup import plain_text
from cai.model.base import IGNORE_INDEX
from cai.overrides import parse_arguments
from cai.plan import count_parameters, describe_plan, describe_resumption, flops_per_token
from cai.randomness import seed_everything
from cai.recorder import finite_or_null
from cai.run import TOKENIZER, Run, claim_directory
from cai.runs import STATUS, read_run
from cai.sharding import lay_out
from cai.signals import listening
from cai.summary import describe_end, describe_failure, describe_interruption, resume_command
from cai.tensorboard import hyperparameters
from cai.tokenizer.base import Tokenizer
from cai.tokens.batches import dataset_of
from cai.tokens.learned import learn_tokenizer
from cai.tokens.shards import build_shards
from cai.trainer.estimate import estimate_seconds
from cai.trainer.progress import FitResult
from cai.trainer.trainer import Trainer
from cai.trainer.update import refuse_undivided
from cai.world import current, joined

log = logging.getLogger(__name__)


def train(config: TrainConfig, run: Run, source: Path | None = None) -> FitResult:
    """Build tokenizer, dataset, model, optimizer and trainer from ``config``, and fit. Everything ends up in ``run``.

    ``source``: the checkpoint to go on from; its run already has a tokenizer.
    """
    cache = Path(config.output_dir).expanduser() / "cache"
    device = ready(config)
    corpus = config.data.build()
    if source is None:
        _check_initial(config)
        device.world.agree(lambda: learn_tokenizer(config.tokenizer, corpus, cache).save(run.directory / TOKENIZER))
    tokenizer = Tokenizer.load(run.directory / TOKENIZER)
    shards = build_shards(corpus, tokenizer, cache)
    run.confirm_data(corpus.fingerprint, tokenizer.fingerprint, tokens=shards.fingerprint, ids=shards.content)
    gate = shards.gate_of(config.tokenizer)
    dataset = dataset_of(corpus, shards, config.model.block_size, config.seed, IGNORE_INDEX)

    seed_everything(config.seed)
    model = config.model.build(vocab_size=tokenizer.vocab_size)
    if source is None and config.trainer.init_from is not None:
        from cai.exchange.initial import begin  # takes time to import, and few runs need it

        begin(model, config, run)
    model = lay_out(model, device)
    optimizer = config.optimizer.build(model)
    generator = config.generation.build(model, tokenizer)

    with recorder_of(run) as recorder:
        trainer = config.trainer.build(
            model=model,
            optimizer=optimizer,
            schedule=config.schedule.build(config.trainer.steps(dataset.n_windows)),
            dataset=dataset,
            device=device,
            recorder=recorder,
            samples=sampler(corpus, generator, config.trainer.samples, config.seed),
            seed=config.seed,
            prompt=prompt_ids(corpus, tokenizer) if config.trainer.histogram_every else None,
            built_from={**config.model.model_dump(), "vocab_size": tokenizer.vocab_size},
            micro_batch_size=run.facts.get("micro_batch_size"),
            flops_per_token=flops_per_token(model, config.model),
        )
        take_up(trainer, config, run, source)
        log.info(describe_plan(config, trainer, gate, note=corpus.note, seconds=estimate_seconds(trainer)))
        run.record(
            tokenizer=gate.figures(),
            device={"type": device.type, "precision": device.precision, "threads": torch.get_num_threads()},
            parameters=count_parameters(model),
            max_steps=trainer.max_steps,
            data=figures(trainer),
            micro_batch_size=trainer.updater.micro_batch.size,
        )
        try:
            return answer_at_end(trainer.fit(), config, corpus, trainer, tokenizer, run)
        finally:  # what a failed or interrupted run has reached is known too; the run writes it when it ends
            run.facts |= finite_or_null(trainer.reached())


def ready(config: TrainConfig) -> Device:
    """The device, set up. Raises ``TrainingError`` for an accelerator that does not compute rightly."""
    device = config.device.build()
    device.set_up()
    if device.type != "cpu" and config.device.self_test:
        from cai.diagnosis.numerics import refuse_unless_sound  # what a run on the CPU has no use for

        refuse_unless_sound(device)
    return device


def take_up(trainer: Trainer, config: TrainConfig, run: Run, source: Path | None) -> None:
    """Have trainer and records stand where the run stands: at its beginning, or at its checkpoint ``source``."""
    state = trainer.restore(source) if source else None
    run.go_on(trainer.progress.step)
    trainer.recorder.go_on(state, sizes_with_answers(run, state))
    if state is None:
        trainer.recorder.hyperparameters(hyperparameters(config, run.facts["overrides"]))
    else:
        log.info(describe_resumption(trainer, state, config.schedule))


def figures(trainer: Trainer) -> dict[str, Any]:
    """What ``run.json`` keeps of the text, to judge the run by."""
    shards, dataset = trainer.dataset.shards, trainer.dataset
    return {
        "train_tokens": shards.train.tokens,
        "val_tokens": shards.val.tokens,
        "epochs": round(trainer.max_steps * trainer.config.batch_size / dataset.n_windows, 3),
        "loss_without_context": round(dataset.loss_without_context, 4),
        "one_sided": shards.report.get("one_sided", []),
    }


def sampler(corpus: Corpus, generator: Generator, count: int, seed: int) -> Callable[[], list[tuple[str, str]]]:
    """A function that writes on from ``count`` prompts of the validation documents, each text with its prompt's title."""
    prompts = corpus.prompts(count)

    def samples() -> list[tuple[str, str]]:
        return [(prompt.title, plain_text(prompt.parts[-1:]) + generator.text(prompt.parts, seed)) for prompt in prompts]

    return samples


def prompt_ids(corpus: Corpus, tokenizer: Tokenizer) -> list[int] | None:
    """The first prompt of the validation documents, if it says anything."""
    return next((tokenizer.encode_parts(prompt.parts) for prompt in corpus.prompts(1)), None) or None


def main(words: Sequence[str]) -> int:
    """The ``train`` verb. Returns the exit code."""
    arguments = parse_arguments(words)
    with listening(), HydraSession("train", arguments) as session:
        jobs = session.jobs(TrainConfig)
        check_surroundings([job.config for job in jobs])
        config = jobs[0].config
        with joined(config.device.type) as world:
            directory = world.agree(lambda: claim_directory(Path(config.output_dir).expanduser() / config.name))
            if arguments.multirun:
                from cai.sweep import start_sweep  # whose jobs are run by this very module

                return start_sweep(session, jobs, directory)

            def task() -> None:
                result = together(config.device, train_in, directory, config, arguments.typed, **given(arguments.config_dir))
                again, trust = arguments.again(without="optimizer.lr"), arguments.trust()
                log.info(describe_end(directory, result, config, again=again, trust=trust))

            whole = (lambda: session.run(task, directory)) if world.is_first else task
            return exit_code_of(whole, directory, arguments.trust())


def check_surroundings(configs: Sequence[TrainConfig], *, learns: bool = True) -> None:
    """Raise ``ConfigError`` with all that can be told about data, tokenizer and device before a run begins.

    ``learns=False``: the tokenizer is there already.
    """
    tokenizers = dict.fromkeys(config.tokenizer for config in configs) if learns else ()
    checks = [check for config in configs for check in (config.data.check, config.device.build)]
    checks += [partial(_check_initial, config) for config in configs] if learns else []
    checks += [partial(refuse_undivided, c.trainer, max(c.device.processes, current().size)) for c in configs]
    problems = []
    for check in (*checks, *(tokenizer.check for tokenizer in tokenizers)):
        try:
            check()
        except (ConfigError, DataError, RunError) as error:
            problems += str(error).splitlines()
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def _check_initial(config: TrainConfig) -> None:
    if config.trainer.init_from is not None:
        from cai.exchange.initial import check_initial

        check_initial(config)


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
    with open_run(directory, config, overrides) as run:
        run.record(**facts)
        return train(recorded or config, run)


def given(config_dir: str | None) -> dict[str, Any]:
    """For ``run.json``: the folder of YAMLs that the command named, if it did."""
    return {} if config_dir is None else {"config_dir": config_dir}


def exit_code_of(task: Callable[[], object], directory: Path, trust: str = "") -> int:
    """0 if ``task`` ends well; else one message, and 2 for a user's mistake, 1 for a failure, 128 + n for signal n."""
    advise(resume_command(directory, trust))
    try:
        task()
    except SystemExit:
        raise
    except BaseException as error:  # the run directory has the traceback; the user gets a sentence
        if not is_interruption(error):
            if not current().is_first:  # which tells it
                raise
            print(f"\n{describe_failure(error, directory, trust)}", file=sys.stderr)
            return error.exit_code if isinstance(error, CaiError) else 1
        if (directory / STATUS).is_file() and read_run(directory)["status"] in ("finished", "pruned"):
            log.info("\nfinished: %s", directory)  # the signal came when there was nothing left to stop
            return 0
        log.info(describe_interruption(directory, trust))
        return getattr(error, "exit_code", 128 + (requested() or signal.SIGINT))
    return 0
