"""``cai generate``: a run and a question or prompt → text, streamed; or a file of them, or a conversation."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("generate"))

import sys
from collections.abc import Sequence
from pathlib import Path

from cai.chat import Chat, ask_at
from cai.composition import HydraSession
from cai.config.roots import GenerateConfig
from cai.generate_file import FileJob
from cai.overrides import parse_arguments, refuse_sweep
from cai.prompt import Prompt
from cai.runs import find_run
from cai.show import advise, say, show_samples, show_text, usual_loss, warn
from cai.symptoms.speed import slow_device
from cai.trained import load_trained


def build_prompt(config: GenerateConfig) -> Prompt:
    """The prompt: of a question as in training, or the raw one with its tags read."""
    return Prompt.of(config.question, config.doc, config.prompt)


def main(words: Sequence[str]) -> int:
    """The ``generate`` verb. Returns the exit code."""
    arguments = parse_arguments(words)
    refuse_sweep(arguments, "generate")
    with HydraSession("generate", arguments) as session:
        config = session.jobs(GenerateConfig)[0].config
    job = FileJob(config) if config.file is not None else None
    ask = ask_at(Path(config.output_dir).expanduser()) if config.interactive else None
    device = config.device.build()
    device.set_up()
    say("advice", slow_device(device))
    directory = find_run(config.run, Path(config.output_dir).expanduser(), config.checkpoint)
    trained = load_trained(directory, config.checkpoint, device, arguments.trusted)
    print(f"({directory})", file=sys.stderr)

    if ask is not None:
        Chat(config, words, trained).run(ask)
        return 0
    generator = config.generation.build(trained.model, trained.tokenizer)
    if job is not None:
        job.run(generator, trained)
        return 0
    prompt = build_prompt(config)
    warn(prompt, trained)
    usual = usual_loss(trained, prompt)
    if config.samples > 1:
        several = {"samples": config.samples, "batch_size": config.batch_size}
        advise(show_samples(generator, prompt, config.seed, usual=usual, **several))
    else:
        advise([show_text(generator, prompt, config.seed, usual)])
    return 0
