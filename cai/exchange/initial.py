"""Where training begins if not by chance: looked up when a config is composed, loaded when its run begins."""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from tokenizers import Tokenizer as Backend
from torch import Tensor, nn

from cai.config.roots import TrainConfig
from cai.errors import ConfigError, DataError, RunError
from cai.exchange.reading import TABLES, model_at, most_positions, weights_at
from cai.model.base import ModelConfig
from cai.model.from_pretrained import FromPretrainedConfig
from cai.plan import described
from cai.run import TOKENIZER
from cai.runs import find_run
from cai.tokenizer.pretrained import PretrainedConfig, read_tokenizer
from cai.trainer.state import load_weights, take_weights

if TYPE_CHECKING:
    from cai.run import Run

log = logging.getLogger(__name__)

C = TypeVar("C", bound=TrainConfig)

FREE = ("dropout", "block_size")
"""Options of a model that change no weight, or only how many positions have one."""
POSITIONS = "wpe.weight"
"""Weights with a row for each position."""


def settled(config: C, trusted: Collection[str] = ()) -> C:
    """``config`` with the options, the tokenizer and the place of the model that it begins with, so that it is complete.

    Raises ``ConfigError``, ``RunError`` or ``DataError`` if there is none, or one of another shape.
    """
    given, model = config.trainer.init_from, config.model
    if isinstance(model, FromPretrainedConfig):
        if given is not None:
            raise ConfigError(
                f"`trainer.init_from` must be null beside model=from_pretrained, which has the weights, but is {given}."
                " Leave one of them out."
            )
        place = _place(model.path, config, "model.path")
        model = _with_options(model_at(Path(place).expanduser(), "model.path", model.block_size, trusted), model)
        option = "model.path"
    else:
        assert given is not None
        option, place = "trainer.init_from", _place(given, config, "trainer.init_from")
        _refuse_another(model_at(Path(place).expanduser(), option, model.block_size, trusted), model, place)
    tokenizer = PretrainedConfig(path=str(Path(place) / TOKENIZER))
    _check_tokenizer(Path(tokenizer.path).expanduser(), option)
    trainer = config.trainer.model_copy(update={"init_from": place})
    return config.model_copy(update={"model": model, "tokenizer": tokenizer, "trainer": trainer})


def check_initial(config: TrainConfig) -> None:
    """Raise ``RunError`` if what ``config`` begins with is not there any more."""
    if (place := config.trainer.init_from) is not None and not Path(place).expanduser().is_dir():
        raise RunError(
            f"`trainer.init_from` must be the folder of a trained model, but there is no folder {place}. Paths count from"
            f" {Path.cwd()}. If it has moved: trainer.init_from=... tokenizer.path=.../{TOKENIZER}"
        )


def begin(model: nn.Module, config: TrainConfig, run: Run) -> None:
    """Put the weights that ``config`` names into a ``model`` just built, and record which they are.

    Raises ``RunError`` if they do not fit, or are not those that the run began with before.
    """
    weights = take_initial(model, config, run)
    run.record(init_from={"path": config.trainer.init_from, "weights": weights})


def take_initial(model: nn.Module, config: TrainConfig, run: Run | None = None) -> str:
    """Put the weights that ``config`` names into a ``model`` just built. Returns their fingerprint.

    Raises ``RunError`` if they do not fit, or are not those that ``run`` began with before.
    """
    place, tokenizer = config.trainer.init_from, config.tokenizer
    assert place is not None
    assert isinstance(tokenizer, PretrainedConfig)
    folder = Path(place).expanduser()
    found = weights_at(folder, config.model)
    before = run.facts.get("init_from", {}).get("weights") if run else None
    if run and before not in (None, found.fingerprint):
        raise RunError(
            f"{run.directory} must begin with the weights that it began with (fingerprint {before}), but in {place} are"
            f" others now ({found.fingerprint}). Put those back, or start a new run."
        )
    known = Backend.from_file(str(Path(tokenizer.path).expanduser())).get_vocab_size()
    notes: list[str] = []
    shapes = {name: tensor.shape for name, tensor in take_weights(model).items()}
    fitted = {name: fit(name, tensor, shapes.get(name), known, notes) for name, tensor in found.tensors.items()}
    load_weights(model, fitted, {}, folder)
    log.info("%s", "\n".join(described([("begins at", "; ".join([f"{place} ({found.told})", *dict.fromkeys(notes)]))])))
    return found.fingerprint


def fit(name: str, tensor: Tensor, shape: torch.Size | None, known: int, notes: list[str]) -> Tensor:
    """The weight ``name`` of a checkpoint, with a row for each id and each position that the model's own ``shape`` has, and
    no other.

    ``known``: ids of the checkpoint's own tokenizer. A row beyond, as of the tags that CAI appends, is the mean of the
    others: as likely as an average word, so that what was learned is not disturbed (Hewitt 2021, "Initializing new word
    embeddings for pretrained language models"). What is done is added to ``notes``.
    """
    if name not in (POSITIONS, *TABLES) or shape is None or shape[1:] != tensor.shape[1:]:
        return tensor  # if it does not fit, loading says so
    rows, wanted = len(tensor), shape[0]
    if name == POSITIONS:
        notes += [f"the first {wanted:,} of its {rows:,} positions"] * (rows > wanted)
        return tensor[:wanted]
    known = min(known, rows)
    if known < wanted:
        notes.append(f"{wanted - known:,} of the {wanted:,} ids are new, each the mean of the others")
    elif rows > wanted:
        notes.append(f"{rows - wanted:,} rows that no id has are left out")
    tensor = tensor[:wanted].float()
    return torch.cat([tensor[:known], tensor[:known].mean(0, keepdim=True).expand(max(0, wanted - known), -1)])


def _place(given: str, config: TrainConfig, option: str) -> str:
    """The folder that is meant: what was given, or the newest run as it is now."""
    if given != "last":
        return given
    try:
        return str(find_run(given, Path(config.output_dir).expanduser(), "best"))
    except RunError as error:
        raise RunError(f"`{option}`: {error}") from error


def _with_options(model: ModelConfig, chosen: FromPretrainedConfig) -> ModelConfig:
    """``model`` with the options that are left to choose. Raises ``ConfigError`` for more positions than it can have."""
    most = most_positions(model)
    if chosen.block_size is not None and most is not None and chosen.block_size > most:
        raise ConfigError(
            f"`model.block_size` must be at most {most:,}, as many positions as the model in model.path has learned, but is"
            f" {chosen.block_size}."
        )
    options = {"block_size": chosen.block_size or model.block_size, "dropout": chosen.dropout}
    return model.model_copy(update={key: value for key, value in options.items() if key in type(model).model_fields})


def _refuse_another(there: ModelConfig, model: ModelConfig, place: str) -> None:
    """Raise ``ConfigError`` naming each option of ``model`` that ``there``'s weights do not go with."""
    if type(there) is type(model):
        theirs, ours = there.model_dump(), model.model_dump()
        others = [key for key in ours if ours[key] != theirs[key] and key not in FREE]
        differing = [f"model.{key} is {ours[key]}, there {theirs[key]}" for key in others]
        if (most := most_positions(there)) is not None and model.block_size > most:
            differing.append(f"model.block_size is {model.block_size}, there at most {most}")
    else:
        differing = [f"model is {type(model).__name__}, there {type(there).__name__}"]
    if differing:
        raise ConfigError(
            f"`trainer.init_from` must be a model of the same options, but {'; '.join(differing)}. To take all of them from"
            f" there: model=from_pretrained model.path={place}"
        )


def _check_tokenizer(path: Path, option: str) -> None:
    """Raise ``DataError`` if the folder of a model has no tokenizer, or none that keeps text as it is."""
    if not path.is_file():
        raise DataError(
            f"`{option}` must hold a {TOKENIZER}, but {path.parent} has none. If it has another kind of tokenizer, write one"
            " with transformers: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
        )
    if problem := _problem_of(path, path.stat().st_mtime_ns, option):
        raise DataError(problem)


@functools.lru_cache(maxsize=16)
def _problem_of(path: Path, _: int, option: str) -> str | None:
    """Looked for once for all jobs of a sweep: a large tokenizer takes seconds."""
    try:
        read_tokenizer(path, f"`{option}`")
    except DataError as error:  # whose remedy is another tokenizer
        return f"{str(error).rpartition('. ')[0]}. The tokenizer goes with the model: take another model."
    return None
