"""What a step of a config takes on GPUs that are not at hand: estimates, computed from shapes. Nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from cai.config.roots import TrainConfig
from cai.diagnosis.expected import expected_vocabulary
from cai.diagnosis.gpus import LAUNCH, OF_BANDWIDTH, OF_MEMORY, OF_PEAK, Kind
from cai.inspection.memory import Memory, training_memory
from cai.inspection.stand_in import without_numbers
from cai.model.decoder import LARGE
from cai.plan import count_parameters, flops_per_token

Strategy = Literal["ddp", "fsdp"]

HALF = 2
"""Bytes of a number in bf16 or fp16, in which a forward pass computes."""
AT_ONCE = 2
"""Blocks whose weights a process of ``fsdp`` has as a whole: one that is computed with, one that is on its way."""
MANY = 4
"""Sequences from which on what is kept for the backward pass is taken to grow by the same for each, at least."""


@dataclass(frozen=True)
class Estimate:
    """A step on one kind of GPU, several of which share it."""

    strategy: Strategy
    fits: bool
    micro_batch_size: int
    """The largest that fits; of what does not, the smallest."""
    memory: float
    """Bytes of one GPU, at its highest point."""
    seconds: float
    """Of a step."""
    exchange: float
    """Those of them in which GPUs exchange weights and gradients."""
    tokens_per_second: float
    """Of all GPUs together."""


class Workload:
    """A config's step, measured once on tensors without content, and cut for any number of GPUs."""

    def __init__(self, config: TrainConfig) -> None:
        """Takes some seconds, and hardly any memory, however large the model."""
        self._config = config
        self.vocab_size = expected_vocabulary(config.tokenizer).size
        self._model = without_numbers(config.model, self.vocab_size)
        self.parameters = count_parameters(self._model)["total"]
        self.block_size, self.batch_size = config.model.block_size, config.trainer.batch_size
        self.steps = config.trainer.max_steps
        again = 4 / 3 if config.trainer.gradient_checkpointing else 1.0  # the forward pass, a third of it all, twice
        self.flops_per_token = again * flops_per_token(self._model, config.model)
        self._gathered = HALF * _gathered(self._model)
        self._weights = HALF * sum(p.numel() for p in self._model.parameters())
        self._memories: dict[int, Memory] = {}
        # From here on the loss is computed in chunks, or never: what is kept is a line.
        enough = LARGE // (self.block_size * self.vocab_size) if config.trainer.chunked_loss == "auto" else 0
        self._base = max(MANY, 1 << enough.bit_length())

    def sequences(self, processes: int) -> int:
        """Of a step: ``trainer.batch_size``, or where it cannot be shared equally, the next number that can."""
        return -(-self.batch_size // processes) * processes

    def tokens(self, processes: int) -> int:
        """Of a step."""
        return self.sequences(processes) * self.block_size

    def estimate(self, kind: Kind, processes: int, strategy: Strategy) -> Estimate | None:
        """``None`` where CAI has no such thing: ``fsdp`` in fp16."""
        if strategy == "fsdp" and kind.precision == "fp16":
            return None
        share = self.sequences(processes) // processes
        sizes = self._micro_batches(share)
        room = OF_MEMORY * kind.memory
        micro = next((n for n in sizes if self.memory(processes, n, strategy) <= room), None)
        chosen = micro or sizes[-1]
        exchange = self._exchanged(processes, share // chosen, strategy) / (OF_BANDWIDTH * kind.link)
        seconds = self._computing(kind, processes, chosen, strategy) + exchange
        return Estimate(
            strategy,
            fits=micro is not None,
            micro_batch_size=chosen,
            memory=self.memory(processes, chosen, strategy),
            seconds=seconds,
            exchange=exchange,
            tokens_per_second=self.tokens(processes) / seconds,
        )

    def memory(self, processes: int, micro_batch_size: int, strategy: Strategy) -> float:
        """Bytes that one GPU needs for its part of a step, so many sequences at once.

        ``fsdp`` divides weights, gradients and optimizer state, and takes copies in half precision of some blocks' weights
        instead of all.
        """
        sizes, divided = self._sizes_of_model, strategy == "fsdp" and processes > 1
        parts = processes if divided else 1
        lasting = (sizes.weights + sizes.optimizer + sizes.average) / parts
        gradients = sizes.gradients / parts
        update = sizes.update if sizes.update_flops else sizes.update / parts  # of whole matrices, or number by number
        return lasting + max(self._kept(micro_batch_size, divided=divided) + gradients, gradients + update)

    def _micro_batches(self, share: int) -> Sequence[int]:
        """Of micro-batches that training may take, the largest first."""
        asked = self._config.trainer.micro_batch_size
        if asked != "auto" and share % asked == 0:
            return [asked]
        return [n for n in range(share, 0, -1) if share % n == 0]

    @property
    def _sizes_of_model(self) -> Memory:
        """For what does not depend on the rows."""
        return self._memory(self._base)

    def _memory(self, rows: int) -> Memory:
        """Measured on one GPU."""
        if rows not in self._memories:
            sizes = {"vocab_size": self.vocab_size, "element_size": HALF}
            self._memories[rows] = training_memory(self._model, self._config, **sizes, micro_batch_size=rows)
        return self._memories[rows]

    def _grown(self, name: Literal["activations", "written"], rows: int) -> float:
        """Bytes of a pass over so many sequences: those that it keeps and computes with, or all that it writes."""
        if rows <= self._base:
            return float(getattr(self._memory(rows), name))
        low, high = (getattr(self._memory(n * self._base), name) for n in (1, 2))
        return float(low + (high - low) * (rows / self._base - 1))

    def _kept(self, rows: int, *, divided: bool) -> float:
        """Bytes of activations, copies of weights among them replaced by those that are gathered, if these are divided."""
        kept = self._grown("activations", rows)
        if not divided:
            return kept
        once, twice = (self._grown("activations", n * self._base) for n in (1, 2))
        copies = 2 * once - twice  # what does not grow with the rows
        return max(0.0, kept - min(max(0.0, copies), self._weights)) + self._gathered

    def _computing(self, kind: Kind, processes: int, micro_batch_size: int, strategy: Strategy) -> float:
        """Seconds of a step's passes, each bound by products, memory or the number of operations; and of its update."""
        sizes, bandwidth, peak = (
            self._memory(min(micro_batch_size, self._base)),
            OF_BANDWIDTH * kind.bandwidth,
            OF_PEAK * kind.flops,
        )
        passes = self.sequences(processes) // processes // micro_batch_size
        flops = self.flops_per_token * micro_batch_size * self.block_size
        moved = 2 * self._grown("written", micro_batch_size)  # by one operation, and read by the next
        one_pass = max(flops / peak, moved / bandwidth, sizes.operations * LAUNCH)
        updated = 2 * (sizes.weights + sizes.optimizer) + sizes.gradients
        parts = processes if strategy == "fsdp" else 1
        return passes * one_pass + max(updated / parts / bandwidth, sizes.update_flops / peak)

    def _exchanged(self, processes: int, passes: int, strategy: Strategy) -> float:
        """Bytes that one GPU sends in a step.

        ``ddp``: gradients, summed around a ring. ``fsdp``: in each pass, weights in half precision before the way forward
        and back, and gradients summed where they belong; these gathered once more for an optimizer of whole matrices.
        """
        sizes, others = self._sizes_of_model, (processes - 1) / processes
        if strategy == "ddp":
            return 2 * others * sizes.gradients
        return others * (passes * (2 * self._weights + sizes.gradients) + sizes.gradients * bool(sizes.update_flops))


def _gathered(model: nn.Module) -> int:
    """Numbers that a process of ``fsdp`` has as a whole: what is outside of the blocks, some blocks, a block's gradients."""
    blocks = [block for layers in model.modules() if isinstance(layers, nn.ModuleList) for block in layers]
    of_blocks = {id(p): p.numel() for block in blocks for p in block.parameters()}
    largest = max((sum(p.numel() for p in block.parameters()) for block in blocks), default=0)
    outside = sum(p.numel() for p in model.parameters() if id(p) not in of_blocks)
    whole = outside + sum(of_blocks.values())
    return min(outside + AT_ONCE * largest, whole) + max(outside, largest)
