"""``cai inspect model``: shapes through the net, parameters and FLOPs by module, the memory of training. (Command layer.)"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cai.comparison.facts import sound_facts
from cai.comparison.history import whole
from cai.composition import HydraSession
from cai.config.looking import InspectModelConfig
from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.device import DeviceConfig
from cai.diagnosis.expected import expected_vocabulary
from cai.errors import ConfigError
from cai.inspect import divide
from cai.inspection.lines import named
from cai.inspection.memory import micro_batch_of
from cai.inspection.model_page import SIZES, ModelPage
from cai.inspection.stand_in import without_numbers
from cai.overrides import Arguments, refuse_sweep
from cai.recorded import as_recorded
from cai.run import TOKENIZER
from cai.runs import CONFIG, STATUS, find_run, read_facts
from cai.tokenizer.base import Tokenizer

BOTH = "output_dir"
"""An option of this subject and of ``train``."""


def main(words: Sequence[str]) -> int:
    """Print the page of a run's model, or of what the words compose. Returns the exit code."""
    options, arguments = divide(words, "inspect_model", InspectModelConfig, [BOTH])
    refuse_sweep(arguments, "inspect model")
    page, notes = composed(options, arguments) if options.run is None else of_run(options, arguments)
    print(page.table(options.depth))
    print("\n".join(["", *named(page.totals()), "", "memory of training", *named(page.of_training())]))
    print("\n".join(["", *named(("note", note) for note in [*notes, *page.notes()])]))
    return 0


def of_run(options: InspectModelConfig, arguments: Arguments) -> tuple[ModelPage, list[str]]:
    """The model of a run, as it was trained."""
    others = [word for word in arguments.typed if not word.startswith(f"{BOTH}=")]
    problems = [f"`{word}` must be left out beside run=, whose model is there already." for word in others]
    if problems := [*arguments.problems, *problems]:
        raise ConfigError(problems)
    assert options.run is not None
    directory = find_run(options.run, Path(options.output_dir).expanduser(), checkpoint=None)
    config = load_config(directory / CONFIG, TrainConfig, arguments.trusted)
    facts = sound_facts(read_facts(directory)) if (directory / STATUS).is_file() else {}  # an export has none
    size, about = vocabulary(directory, config)
    print(f"{directory}\n")
    place = place_of(as_recorded(config, facts).device)
    page = page_of(config, options, size, place, micro_batch_size=whole(facts.get("micro_batch_size")))
    return page, [*about * (options.vocab_size is None), *place.notes]


def composed(options: InspectModelConfig, arguments: Arguments) -> tuple[ModelPage, list[str]]:
    """The model that ``cai train`` would build of the same words."""
    with HydraSession("train", arguments) as session:
        config = session.jobs(TrainConfig)[0].config
    size, about = options.vocab_size or 0, []
    if options.vocab_size is None:
        config.tokenizer.check()
        size, note = expected_vocabulary(config.tokenizer)
        about = [f"a vocabulary of {size:,}: {note}, vocab_size=... sets it"] * bool(note)
    place = place_of(config.device)
    return page_of(config, options, size, place), [*about, *place.notes]


def vocabulary(directory: Path, config: TrainConfig) -> tuple[int, list[str]]:
    """Of a run's tokenizer; of one that was stopped before it had one, what it asks for, and that it is that."""
    if (directory / TOKENIZER).is_file():
        return Tokenizer.load(directory / TOKENIZER).vocab_size, []
    size, note = expected_vocabulary(config.tokenizer)
    return size, [f"a vocabulary of {size:,}{', ' * bool(note)}{note}, as the run has no tokenizer yet"]


class Place(NamedTuple):
    """What computes."""

    type: str
    precision: str
    notes: list[str]


def place_of(config: DeviceConfig) -> Place:
    """The device of a config; of one that is not there, what it would be."""
    try:
        device = config.build()
        return Place(device.type, device.precision, [])
    except ConfigError:
        if config.type in ("auto", "cpu"):  # which is there: it is the precision that is wrong
            raise
        precision = {"cuda": "bf16", "mps": "fp32"}[config.type] if config.precision == "auto" else config.precision
        note = f"{config.type} is not there: counted as for it, in {precision}, but with the operations of a CPU"
        return Place(config.type, precision, [note])


def page_of(
    config: TrainConfig, options: InspectModelConfig, vocab_size: int, place: Place, micro_batch_size: int | None = None
) -> ModelPage:
    """The page. Raises ``ConfigError`` for an input that is longer than the model sees."""
    longest = config.model.block_size
    if options.length is not None and options.length > longest:
        raise ConfigError(
            f"`length` must be at most model.block_size ({longest}), but is {options.length}. Try length={longest}."
        )
    vocab_size = options.vocab_size or vocab_size
    model = without_numbers(config.model, vocab_size)
    if micro_batch_size is None:
        element_size = SIZES[place.precision]
        micro_batch_size = micro_batch_of(model, config, on_cpu=place.type == "cpu", element_size=element_size)
    return ModelPage(model, config, vocab_size, options.length or longest, place.type, place.precision, micro_batch_size)
