"""What ``cai inspect model`` says: the table of modules, and what the whole takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from cai.columns import binary
from cai.comparison.terminal import in_short
from cai.config.roots import TrainConfig
from cai.inspection.flops import Trace, trace
from cai.inspection.lines import aligned, named
from cai.inspection.memory import Memory, cache_bytes, training_memory
from cai.inspection.shapes import ModelParts, Part, letters_of, sizes_of
from cai.plan import count_parameters, flops_per_token

SIZES = {"fp64": 8, "fp32": 4, "bf16": 2, "fp16": 2}
"""Bytes of a number in a forward pass."""


@dataclass(frozen=True)
class ModelPage:
    """A model, and how it is to be trained."""

    model: nn.Module
    """On any device, ``meta`` too."""
    config: TrainConfig
    vocab_size: int
    length: int
    """Tokens of the input whose shapes are shown."""
    device_type: str
    precision: str
    micro_batch_size: int

    @cached_property
    def trace(self) -> Trace:
        """Of a pass over the input."""
        return trace(self.model, self.length)

    @cached_property
    def memory(self) -> Memory:
        """Of training."""
        sizes = {"element_size": SIZES[self.precision], "micro_batch_size": self.micro_batch_size}
        return training_memory(self.model, self.config, vocab_size=self.vocab_size, **sizes)

    def table(self, depth: int) -> str:
        """A line for each module, down to ``depth`` dots, and the total; then what the letters are."""
        parts = ModelParts(self.model, self.trace)
        lines, total = parts.lines(depth), parts.total()
        sizes = sizes_of(self.config.model, self.vocab_size)
        rows = [HEADING, *(self._row(part, total, sizes) for part in lines), self._row(total, total, sizes)]
        rows[-1] = (*rows[-1][:1], "", "", *rows[-1][3:])
        used = {letter for part in lines for each in self._letters(part, sizes) for letter in each if letter.isalpha()}
        known = [f"{letter} {size:,} ({what})" for letter, (size, what) in sizes.items() if letter in used]
        said = [("sizes", ", ".join(["B 1 sequence", f"T {self.length:,} tokens", *known]))]
        if parts.silent:
            said.append(("not listed", f"{', '.join(parts.silent)}: without parameters and matrix products"))
        return "\n".join([*aligned(rows, LEFT), "", *named(said)])

    def totals(self) -> list[tuple[str, str]]:
        """Names and sentences: parameters, operations, the cache of generation."""
        counts = count_parameters(self.model)
        tied = ModelParts(self.model, self.trace).tied_head()
        parameters = f"{counts['total']:,} ({counts['without_embeddings']:,} without embeddings)"
        rows = [("parameters", f"{parameters}; the head is tied to {tied}, counted once" if tied else parameters)]
        forward, backward = (each / self.length for each in (self.trace.forward, self.trace.backward))
        rows.append(
            ("FLOPs", f"{in_short(forward)} forward and {in_short(backward)} backward, each of {self.length:,} tokens")
        )
        rows.append(("", self._against_formula(forward + backward)))
        if (size := cache_bytes(self.model)) is not None:
            block_size = self.config.model.block_size
            rows.append(("KV cache", f"{binary(size / block_size)} for a token in fp32, {binary(size)} for {block_size:,}"))
        return rows

    def _against_formula(self, counted: float) -> str:
        """What ``perf/mfu`` goes by, next to what was counted."""
        formula = flops_per_token(self.model, self.config.model.model_copy(update={"block_size": self.length}))
        text = f"{in_short(counted)} in all, counted; by the formula of perf/mfu {in_short(formula)}"
        apart = formula / counted - 1 if counted else 0.0
        if abs(apart) < 5e-4:
            return f"{text}, the same"
        return (
            f"{text}, {abs(apart):.1%} {'more' if apart > 0 else 'less'}, as it counts vectors (biases, gains) like matrices"
        )

    def of_training(self) -> list[tuple[str, str]]:
        """Names and sizes: the memory of a step."""
        memory, trainer = self.memory, self.config.trainer
        kind = type(self.config.optimizer).__name__.removesuffix("Config")
        again = " with gradient_checkpointing" * trainer.gradient_checkpointing
        how = f"{self.micro_batch_size} of {trainer.batch_size} sequences at once, {self.precision}{again}"
        logits = f", {binary(memory.logits)} of them logits" if memory.logits else ", the loss in chunks"
        held = f"{binary(memory.optimizer)} ({kind}: {memory.optimizer / memory.gradients:.3g} times the gradients)"
        stepping = f", and {binary(memory.update)} while it steps" if memory.update > memory.gradients / 100 else ""
        rows = [
            ("weights", binary(memory.weights)),
            ("gradients", binary(memory.gradients)),
            ("optimizer", held + stepping),
        ]
        rows += [("average", f"{binary(memory.average)} (trainer.ema_decay)")] * bool(memory.average)
        rows.append(("activations", f"{binary(memory.activations)}{logits}; {how}"))
        grows = "; on a CPU the process grows by 1.2 to 2 times that, as freed blocks are kept" * (self.device_type == "cpu")
        rows.append(("at the peak", f"{binary(memory.peak)}, beside the program itself{grows}"))
        return rows

    def notes(self) -> list[str]:
        """What the figures leave out."""
        found = []
        if not self.memory.counted:
            found.append("this model looks at its numbers, so one sequence really went through it, on the CPU")
        if self.config.data.loss == "answer" and self.device_type == "cpu":
            found.append("as if all targets counted; with data.loss=answer fewer do, and a CPU computes no other logits")
        if self.config.device.compile:
            found.append("as without device.compile, which keeps less")
        return found

    def _row(self, part: Part, total: Part, sizes: Mapping[str, tuple[int, str]]) -> tuple[str, ...]:
        letters, numbers = self._letters(part, sizes), part.shape or ()
        flops = part.flops / self.length
        return (
            "  " * (part.depth - 1) + part.name,
            f"({', '.join(letters)})" if letters else "",
            f"({', '.join(map(str, numbers))})" if letters else "",
            f"{part.parameters:,}" if part.parameters else "-",
            _share(part.parameters, total.parameters),
            in_short(flops) if flops else "-",
            _share(part.flops, total.flops),
            part.note,
        )

    def _letters(self, part: Part, sizes: Mapping[str, tuple[int, str]]) -> list[str]:
        return letters_of(part.shape, self.length, sizes) if part.shape else []


HEADING = ("module", "what comes out", "", "parameters", "", "FLOPs a token", "", "")
LEFT = (0, 1, 2, 7)
"""Columns that begin where they begin."""


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if part else ""
