"""``cai generate``: a run and a question or prompt → text, streamed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from cai.composition import HydraSession
from cai.config.roots import GenerateConfig, TrainConfig
from cai.config.saved import load_config
from cai.device import Device
from cai.errors import RunError
from cai.markup import ANSWER_START, Part, parse_tags, prompt_parts
from cai.overrides import parse_arguments, refuse_sweep
from cai.run import CONFIG, TOKENIZER, find_run
from cai.tokenizer.base import Tokenizer
from cai.trainer.checkpoint import SUFFIX, load_checkpoint, load_weights


@dataclass(frozen=True)
class Loaded:
    """A trained model, ready for use."""

    config: TrainConfig
    model: nn.Module
    tokenizer: Tokenizer


def load_run(directory: Path, checkpoint: str, device: Device, trusted: Sequence[str] = ()) -> Loaded:
    """Model and tokenizer of a run directory. Raises ``RunError`` for what is missing or does not fit."""
    config = load_config(directory / CONFIG, TrainConfig, trusted)
    tokenizer = Tokenizer.load(directory / TOKENIZER)
    path = directory / "checkpoints" / f"{checkpoint}{SUFFIX}"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob(f"*{SUFFIX}"))) or "none"
        raise RunError(f"checkpoint must be one of those saved in {path.parent} ({there}), but is {checkpoint}.")
    model = config.model.build(vocab_size=tokenizer.vocab_size)
    load_weights(model, load_checkpoint(path), path)
    return Loaded(config, model.to(device.torch_device).eval(), tokenizer)


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
    directory = find_run(config.run, Path(config.output_dir).expanduser())
    loaded = load_run(directory, config.checkpoint, device, arguments.trusted)
    generator = config.generation.build(loaded.model, loaded.tokenizer, device)

    print(f"({directory})", file=sys.stderr)
    prompt = build_prompt(config)
    # A question's answer begins with words that the prompt already holds; a raw prompt is shown whole.
    print(ANSWER_START.lstrip() if config.question is not None else "".join(prompt), end="", flush=True)
    for piece in generator.stream(prompt, config.seed):
        print(piece, end="", flush=True)
    print()
    return 0


if __name__ == "__main__":
    from cai.cli import run_verb

    raise SystemExit(run_verb("generate"))
