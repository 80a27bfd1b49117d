"""A look inside the model every so many steps: weights, gradients, activations, attention. It changes nothing there."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cai import randomness
from cai.sharding import collected
from cai.tensorboard import Histogram, Look, Picture
from cai.trainer.state import plain_name

if TYPE_CHECKING:
    from cai.trainer.meter import Meter
    from cai.trainer.update import Updater

log = logging.getLogger(__name__)

BUCKETS = 64
"""Of a histogram, from the least to the greatest value."""
PROMPT = 96
"""Tokens of which the attention is drawn."""
TILE = 128
"""Pixels that the map of one head is wide at least."""
GAP, PAPER = 4, 208
"""Pixels between maps, and their shade."""


class Inside:
    """Looks into the model of ``updater`` after every so many steps; with ``every`` 0 never, and at no cost.

    Weights are those that learn, not their average. Activations are outputs of blocks and their parts, without dropout,
    for the first row of the validation text. The model is always asked as it is written, also where it trains compiled.
    """

    def __init__(self, every: int, updater: Updater, meter: Meter, prompt: Sequence[int] | None = None) -> None:
        """``prompt``: ids whose attention is drawn; ``None``: those of the row."""
        self.every = every
        self._updater, self._meter, self._prompt = updater, meter, prompt
        self._step, self._gradients = 0, dict[str, Histogram]()
        if every:
            updater.observe = self._take_gradients

    def look(self, step: int) -> Look | None:
        """What there is to see after ``step`` updates; ``None`` if none is due.

        Gradients are those of the update just taken, as ``train/grad_norm`` before clipping. There are none if it was
        passed over, or taken before the run was interrupted and resumed.
        """
        if not self.every or not step or step % self.every:
            return None
        model = self._updater.model
        with self._aside():
            histograms = {f"weights/{name}": histogram_of(p) for name, p in _trained(model)}
            histograms |= {f"activations/{name}": histogram_of(out) for name, out in self._activations().items()}
            picture = self._attention()
        gradients = self._gradients if self._step == step else {}
        found = {tag: seen for tag, seen in histograms.items() if seen is not None}
        return Look(found | gradients, {} if picture is None else {"attention": picture})

    def _take_gradients(self, step: int) -> None:
        """In update number ``step``, when its gradients are there."""
        if (step + 1) % self.every == 0:
            with self._meter.paused():
                seen = {f"gradients/{name}": histogram_of(p.grad) for name, p in _trained(self._updater.model)}
            self._step, self._gradients = step + 1, {tag: one for tag, one in seen.items() if one is not None}

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """For what is no training: in no lap of the meter, without gradients, without an effect on what training draws."""
        self._updater.model.eval()  # the next update puts it back into training
        with self._meter.paused(), randomness.preserved(), torch.no_grad(), self._updater.device.autocast():
            yield

    def _row(self) -> list[Tensor]:
        """What the model is called with for the first row of the validation text, each ``(1, T)``."""
        row = next(self._updater.dataset.val_batches(1))
        return [self._updater.device.put(torch.from_numpy(array)) for array in row]

    def _activations(self) -> dict[str, Tensor]:
        """The output of each block and of its parts that have weights, by the module's name."""
        outputs: dict[str, Tensor] = {}

        def keep(name: str, _: nn.Module, __: object, output: object) -> None:
            if isinstance(output, Tensor) and output.is_floating_point():
                outputs[name] = output

        with ExitStack() as hooks:
            for name, module in self._updater.model.named_modules():
                plain = plain_name(name)
                if _is_part_of_block(plain) and next(module.parameters(), None) is not None:
                    hooks.callback(module.register_forward_hook(partial(keep, plain)).remove)
            self._updater.model(*self._row())
        return outputs

    def _attention(self) -> Picture | None:
        """The maps of every layer and head; ``None`` for a model that cannot tell its attention."""
        model = self._updater.model
        attention, hidden = getattr(model, "attention", None), getattr(model, "hidden", None)
        if not inspect.ismethod(attention) or hidden is None or "context" not in inspect.signature(hidden).parameters:
            return None
        ids = self._updater.device.put(torch.tensor([list(self._prompt)])) if self._prompt else self._row()[0]
        _, layers = attention(ids := ids[:, : min(PROMPT, self._updater.dataset.block_size)])
        if not layers:
            return None
        whose = "the first validation prompt" if self._prompt else "the validation text"
        about = (
            f"Attention over the first {ids.shape[1]} tokens of {whose}. From top to bottom the layers, from left to right"
            " the heads of each; in a map a line for each token, dark where it looks (the root of the weight is shown)."
        )
        return Picture(attention_grid([layer[0] for layer in layers]).numpy(), about)


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((plain_name(name), p) for name, p in model.named_parameters() if p.requires_grad)


def _is_part_of_block(name: str) -> bool:
    """Whether a module is a direct part of the model or of one of its blocks: ``layers.0``, ``layers.0.attn``."""
    return 1 <= sum(not part.isdigit() for part in name.split(".") if part) <= 2


def histogram_of(values: Tensor | None) -> Histogram | None:
    """Of all that are finite; ``None`` if there are none."""
    if values is None:
        return None
    flat = collected(values.detach()).flatten().to("cpu", torch.float64)  # counts of more than 2**24 are exact too
    flat = flat[flat.isfinite()]
    if not len(flat):
        return None
    low, high = flat.min().item(), flat.max().item()
    if low == high:
        limits, counts = [high], [float(len(flat))]
    else:
        counts = torch.histc(flat, BUCKETS, low, high).tolist()
        limits = [low + (high - low) * (number / BUCKETS) for number in range(1, BUCKETS)] + [high]
    return Histogram(low, high, len(flat), flat.sum().item(), flat.square().sum().item(), limits, counts)


def attention_grid(layers: Sequence[Tensor]) -> Tensor:
    """Weights of each layer, ``(H, T, T)``, as one image ``(height, width)`` of bytes: layers below each other."""
    size = layers[0].shape[-1]
    zoom = math.ceil(TILE / size)
    side, heads = size * zoom + GAP, max(len(layer) for layer in layers)
    image = torch.full((len(layers) * side + GAP, heads * side + GAP), PAPER, dtype=torch.uint8)
    for row, layer in enumerate(layers):
        shades = (255 * (1 - layer.float().cpu().clamp(0, 1).sqrt())).round().to(torch.uint8)
        for column, shade in enumerate(shades.repeat_interleave(zoom, dim=1).repeat_interleave(zoom, dim=2)):
            top, left = GAP + row * side, GAP + column * side
            image[top : top + size * zoom, left : left + size * zoom] = shade
    return image
