"""What a config takes before there is any text: its size, its memory, and its speed by trial steps on random ids."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch

from cai.config.roots import TrainConfig
from cai.device import Device
from cai.diagnosis.limits import free_memory
from cai.diagnosis.timing import lap, typical
from cai.inspection.memory import Memory, micro_batch_of, training_memory
from cai.inspection.stand_in import without_numbers
from cai.model.base import IGNORE_INDEX
from cai.plan import count_parameters, flops_per_token
from cai.randomness import seed_everything
from cai.tokenizer.base import TokenizerConfig
from cai.tokenizer.byte import ByteConfig
from cai.tokenizer.pretrained import PretrainedConfig
from cai.trainer.update import Updater

if TYPE_CHECKING:
    from cai.tokens.batches import Arrays, TokenDataset

USUAL_ALPHABET = 2000
"""Characters of a few megabytes of Korean: what a ``char`` tokenizer is taken to come to."""
ANSWERS = 0.5
"""Share of the tokens that are taken to count with ``data.loss=answer``: in the embedded corpus it is 0.56."""
DOCUMENTS = 2
"""Documents in a row with ``data.isolate``."""

SECONDS = 1.2
"""For the trial steps, their warming up left out."""
LONG = 0.8
"""Seconds of a step from which on only a part of it is tried."""
LAP = 0.05
"""Seconds that are measured at once, at least: on an accelerator each look waits for it."""
KEPT = 1.2
"""Times the memory of a step that a process on the CPU grows by, at least: what is freed is kept for the next step."""
RATE = 1e-3
"""Of the learning rate that is asked for: random ids are not to drive the weights anywhere."""


@dataclass(frozen=True)
class Size:
    """What can be told without computing."""

    vocab_size: int
    vocab_note: str
    """Where it is from, if the text has a say in it."""
    parameters: dict[str, int]
    flops_per_token: float
    steps: int | None
    """``None``: the text decides (``trainer.max_epochs``)."""
    tokens_per_step: int
    micro_batch_size: int
    """With which training begins."""
    memory: Memory
    needed: int
    """Bytes that the device must have free for it."""
    free: int | None
    """Bytes that it has; ``None`` if nobody tells."""

    @property
    def fits(self) -> bool:
        return self.free is None or self.needed <= self.free


@dataclass(frozen=True)
class Trial:
    """What trial steps came to."""

    seconds: float
    """Of a step."""
    forward: float
    """Seconds of a token in an evaluation: a forward pass is about a third of forward and backward together."""
    micro_batch_size: int
    """That fitted."""
    parts: int
    """Micro-batches of a step that were tried at once; the others are taken to be as fast as the last of them."""
    peak_memory: int
    """Bytes, see ``Device.peak_memory``."""


class Vocabulary(NamedTuple):
    size: int
    note: str


def size_up(config: TrainConfig, device: Device) -> Size:
    """The size of what ``config`` trains; the model is not filled with numbers. A second or two."""
    vocabulary = expected_vocabulary(config.tokenizer)
    model = without_numbers(config.model, vocabulary.size)
    trainer = config.trainer
    micro = micro_batch_of(model, config, on_cpu=device.type == "cpu", element_size=device.element_size)
    free, times = _free(device), KEPT if device.type == "cpu" else 1.0

    def memory(rows: int) -> Memory:
        sizes = {"vocab_size": vocabulary.size, "element_size": device.element_size}
        return training_memory(model, config, **sizes, micro_batch_size=rows)

    taken = memory(micro)
    while free is not None and times * taken.peak > free and trainer.micro_batch_size == "auto" and micro > 1:
        micro = max(n for n in range(1, micro // 2 + 1) if trainer.batch_size % n == 0)  # as training would find it
        taken = memory(micro)
    return Size(
        vocab_size=vocabulary.size,
        vocab_note=vocabulary.note,
        parameters=count_parameters(model),
        flops_per_token=flops_per_token(model, config.model),
        steps=trainer.max_steps,
        tokens_per_step=trainer.batch_size * config.model.block_size,
        micro_batch_size=micro,
        memory=taken,
        needed=round(times * taken.peak),
        free=free,
    )


def expected_vocabulary(config: TokenizerConfig) -> Vocabulary:
    """The vocabulary of a tokenizer that has not been learned yet."""
    if isinstance(config, ByteConfig | PretrainedConfig):  # whose vocabulary no text changes
        return Vocabulary(config.build([]).vocab_size, "")
    asked = getattr(config, "vocab_size", None)
    if isinstance(asked, int):
        return Vocabulary(asked, "asked for; a small text may give fewer")
    return Vocabulary(USUAL_ALPHABET, "assumed; the text decides")


def try_out(config: TrainConfig, device: Device, size: Size) -> Trial:
    """Take some steps of ``config``: its model, optimizer, micro-batches and precision, on random ids. Nothing is written.

    ``device`` has been set up. Raises ``TrainingError`` if memory runs out.
    """
    if device.type == "cuda":  # what was measured before is not of the trial
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seed_everything(config.seed)
    model = config.model.build(vocab_size=size.vocab_size).to(device.torch_device, device.parameter_dtype)
    dataset = RandomRows(config, size.vocab_size)
    updater = Updater(
        config.trainer,
        model,
        config.optimizer.build(model),
        lambda step: RATE,
        cast("TokenDataset", dataset),
        device,
        config.seed,
    )
    updater.micro_batch.size = min(updater.micro_batch.size, size.micro_batch_size)
    return _Trials(updater).run()


class _Trials:
    """Steps of an updater, timed."""

    def __init__(self, updater: Updater) -> None:
        self.updater, self.device = updater, updater.device
        self.in_all = updater.batch_size
        self.steps = itertools.count()

    def run(self) -> Trial:
        micro = self.updater.micro_batch
        self._cut(1)
        self._update()  # the optimizer makes its state; what is compiled, is; the size of the micro-batch is found
        one_pass = lap(self._pass, self.device)
        micros = self.in_all // micro.size
        parts = micros if micros * one_pass <= LONG else 1
        self._cut(parts)
        seconds = typical(self._update, self.device, SECONDS, calls=math.ceil(LAP / (parts * one_pass)))
        if parts < micros:
            one_pass = typical(self._pass, self.device, SECONDS / 3, least=2)
        self.updater.optimizer.zero_grad(set_to_none=True)
        return Trial(
            seconds=seconds + (micros - parts) * one_pass,
            forward=min(one_pass, seconds / parts) / 3 / (micro.size * self.updater.dataset.block_size),
            micro_batch_size=micro.size,
            parts=parts,
            peak_memory=self.device.peak_memory(),
        )

    def _pass(self) -> None:
        updater = self.updater
        updater.accumulate(updater.batch(next(self.steps), updater.micro_batch.size), step=0)

    def _cut(self, parts: int) -> None:
        """From now on steps have so many micro-batches of the size that fits."""
        self.updater.batch_size = parts * self.updater.micro_batch.size
        next(self.steps)  # whose batch may have been read ahead, and be larger

    def _update(self) -> None:
        self.updater.update(next(self.steps))


class RandomRows:
    """In the place of a dataset: rows of random ids, as many of them targets as ``data.loss`` lets count."""

    ignore_index = IGNORE_INDEX

    def __init__(self, config: TrainConfig, vocab_size: int) -> None:
        self.vocab_size, self.block_size, self.seed = vocab_size, config.model.block_size, config.seed
        self.loss, self.isolate = config.data.loss, config.data.isolate

    def batch(self, step: int, batch_size: int) -> Arrays:
        """``(batch_size, block_size)`` inputs and targets, and with ``isolate`` the number of their document."""
        ids = np.random.default_rng((self.seed, step)).integers(self.vocab_size, size=(batch_size, self.block_size + 1))
        x, y = ids[:, :-1], ids[:, 1:]
        place = np.arange(self.block_size) * DOCUMENTS / self.block_size  # in documents
        if self.loss == "answer":
            y = np.where(place % 1 >= 1 - ANSWERS, y, self.ignore_index)
        return (x, y, np.tile(place.astype(np.int64), (batch_size, 1))) if self.isolate else (x, y)

    def locate(self, step: int, batch_size: int) -> str:
        return f"{batch_size} rows of random ids"


def _free(device: Device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.mem_get_info()[0]
    if device.type == "mps":  # shared with the CPU: what Metal recommends, or what is left of all
        rooms = (torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory(), free_memory())
        return min(room for room in rooms if room is not None)
    return free_memory()
