"""The memory that training takes, counted by running a step on tensors that have a shape and no content."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.flop_counter import FlopCounterMode

from cai.config.roots import TrainConfig
from cai.dropout import keyed
from cai.inspection.ledger import Ledger, bytes_of
from cai.inspection.stand_in import NEEDS_CONTENT, Shapes, stand_in
from cai.model.decoder import Decoder
from cai.trainer.memory import MicroBatch, sequences_in_cache, trade_memory


@dataclass(frozen=True)
class Memory:
    """Bytes that a step of training takes. What the program, its libraries and their kernels take is not in it, nor what an
    allocator keeps: on a CPU, whose freed blocks CAI has kept, a process grows by 1.2 to 2 times the peak (measured).
    """

    weights: int
    """Buffers included."""
    gradients: int
    optimizer: int
    """Its state, from the first step on."""
    average: int
    """The moving average of the weights (``trainer.ema_decay``)."""
    activations: int
    """At the highest point, all targets counting: what is kept for the backward pass, and what that computes with."""
    logits: int
    """The part of the activations that is as wide as the vocabulary."""
    peak: int
    """At the highest point of all, where activations and gradients are not all there at once."""
    counted: bool = True
    """Whether nothing was computed; otherwise a pass over one sequence was, and its activations are multiplied."""
    update: int = 0
    """What the optimizer takes while it steps, when the activations are gone."""
    operations: int = 0
    """Operations of a pass forward and back that make a tensor, each of which an accelerator must be told of."""
    written: int = 0
    """Bytes of all that they make, kept or not."""
    update_flops: int = 0
    """Of matrix products in an optimizer's step; AdamW has none."""

    @property
    def total(self) -> int:
        """If all parts but ``update`` were there at once."""
        return self.weights + self.gradients + self.optimizer + self.average + self.activations


def training_memory(
    model: nn.Module, config: TrainConfig, *, vocab_size: int, element_size: int, micro_batch_size: int
) -> Memory:
    """Of training ``model``, which ``config.model`` has built, on any device (``meta`` too), and which stays as it is.

    ``element_size``: bytes of a number in a forward pass: 2 (bf16 or fp16, by autocast), 4 or 8. Takes no memory to speak
    of and a second or two, but for a model whose code looks at the numbers: that is run, on the CPU, over one sequence.
    """
    sizes = {"vocab_size": vocab_size, "element_size": element_size}
    try:
        return _measured(model, config, **sizes, micro_batch_size=micro_batch_size, fake=True)
    except NEEDS_CONTENT:
        return _measured(model, config, **sizes, micro_batch_size=micro_batch_size, fake=False)


def micro_batch_of(model: nn.Module, config: TrainConfig, *, on_cpu: bool, element_size: int) -> int:
    """Sequences in a forward pass, as training begins."""
    at_most = sequences_in_cache(model, config.model.block_size, element_size) if on_cpu else None
    return MicroBatch(config.trainer.micro_batch_size, config.trainer.batch_size, at_most).size


def cache_bytes(model: nn.Module) -> int | None:
    """What one text takes in fp32 while it is generated, of keys, values and the like; ``None`` without a cache."""
    if not isinstance(model, Decoder) or "context" not in inspect.signature(model.hidden).parameters:
        return None
    with Shapes(1), torch.no_grad():
        model = stand_in(model, torch.float32).eval()
        ids, cache = torch.zeros(1, 1, dtype=torch.int64), model.new_cache(1)
        try:
            model.read(ids, cache, ids)
        except NEEDS_CONTENT:
            return None
        return cache.nbytes


def _measured(
    model: nn.Module, config: TrainConfig, *, vocab_size: int, element_size: int, micro_batch_size: int, fake: bool
) -> Memory:
    rows = micro_batch_size if fake else 1
    with Shapes(rows * config.model.block_size) if fake else contextlib.nullcontext():
        device = "cuda" if any(p.is_cuda for p in model.parameters()) else "cpu"
        model = stand_in(model, torch.float64 if element_size == 8 else torch.float32, device).train()
        trade_memory(model, config.trainer)
        optimizer = config.optimizer.build(model)
        trained = [p for p in model.parameters() if p.requires_grad]
        weights, gradients = bytes_of([*model.parameters(), *model.buffers()]), bytes_of(trained)
        if accumulates := config.trainer.batch_size > micro_batch_size:
            _set_gradients(trained)
        isolate = config.data.isolate
        of_step = _step(model, config.model.block_size, rows, vocab_size, reduced=element_size == 2, isolate=isolate)
        _set_gradients(trained)
        optimizer.step()  # makes the state
        state = bytes_of(_state(optimizer))
        of_update, update_flops = _update(optimizer, [*trained, *_state(optimizer)])
    average = gradients * (config.trainer.ema_decay > 0)
    times = micro_batch_size // rows
    passing = times * of_step.highest + gradients if accumulates else of_step.peak + (times - 1) * of_step.highest
    peak = weights + state + average + max(passing, gradients + of_update)
    activations, logits = times * of_step.highest, times * of_step.logits
    return Memory(
        *(weights, gradients, state, average, activations, logits, peak, fake, of_update),
        operations=of_step.made,
        written=times * of_step.written,
        update_flops=update_flops,
    )


def _set_gradients(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)


def _step(model: nn.Module, length: int, rows: int, vocab_size: int, *, reduced: bool, isolate: bool) -> Ledger:
    """Forward and backward over one micro-batch, as ``cai.trainer.update`` does it."""
    parameters = list(model.parameters())
    device = parameters[0].device
    ids = torch.zeros(rows, length, dtype=torch.int64, device=device)
    inputs = (ids, torch.zeros_like(ids)) + (torch.zeros_like(ids),) * isolate
    ledger = Ledger([*parameters, *model.buffers(), *inputs], vocab_size)
    ledger.watch(p for p in parameters if p.requires_grad)
    with ledger, keyed(model, 0, 0, range(rows)):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=reduced):
            loss = model(*inputs)
        loss.backward()
    return ledger


def _update(optimizer: Optimizer, known: Sequence[Tensor]) -> tuple[int, int]:
    """Bytes that a step of ``optimizer`` takes beside its state and the gradients, and its matrix products' operations."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    ledger = Ledger([*known, *(p.grad for p in parameters)], width=0)
    with FlopCounterMode(display=False) as counter, ledger:
        optimizer.step()
    return ledger.peak, counter.get_total_flops()


def _state(optimizer: Optimizer) -> list[Tensor]:
    return [value for values in optimizer.state.values() for value in values.values() if isinstance(value, Tensor)]
