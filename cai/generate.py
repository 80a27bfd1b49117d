"""``cai generate``: a run and a question or prompt → text, streamed."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("generate"))

import sys
from collections.abc import Sequence
from pathlib import Path

from cai.composition import HydraSession
from cai.config.roots import GenerateConfig
from cai.markup import ANSWER_START, Part, parse_tags, plain_text, prompt_parts
from cai.overrides import parse_arguments, refuse_sweep
from cai.runs import find_run
from cai.trained import TrainedRun, load_trained


def build_prompt(config: GenerateConfig) -> tuple[Part, ...]:
    """The parts of the prompt: of a question as in training, or the raw prompt with its tags read."""
    if config.question is not None:
        return prompt_parts(config.question, config.doc)
    assert config.prompt is not None
    return parse_tags(config.prompt)


def main(words: Sequence[str]) -> int:
    """The ``generate`` verb. Returns the exit code."""
    arguments = parse_arguments(words)
    refuse_sweep(arguments, "generate")
    with HydraSession("generate", arguments) as session:
        config = session.jobs(GenerateConfig)[0].config
    device = config.device.build()
    device.set_up()
    directory = find_run(config.run, Path(config.output_dir).expanduser(), config.checkpoint)
    trained = load_trained(directory, config.checkpoint, device, arguments.trusted)
    generator = config.generation.build(trained.model, trained.tokenizer, device)
    prompt = build_prompt(config)

    print(f"({directory})", *warnings(config, trained, prompt), sep="\n", file=sys.stderr)
    # A question's answer begins with words that the prompt already holds; a raw prompt is shown whole.
    print(ANSWER_START.lstrip() if config.question is not None else plain_text(prompt), end="", flush=True)
    for piece in generator.stream(prompt, config.seed):
        print(piece, end="", flush=True)
    print()
    return 0


def warnings(config: GenerateConfig, trained: TrainedRun, prompt: tuple[Part, ...]) -> list[str]:
    """What will not stop the model but spoil its text."""
    found = []
    length, block_size = len(trained.tokenizer.encode_parts(prompt)), trained.config.model.block_size
    if length > block_size:
        found.append(
            f"warning: the prompt has {length} tokens, but the model sees {block_size} (model.block_size): its beginning is"
            " cut off. Shorten doc=."
        )
    if config.question is not None and not trained.config.data.asks:
        found.append("warning: this run's text had no questions; it does not know their form. Try prompt=...")
    return found
