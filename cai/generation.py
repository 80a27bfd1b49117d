"""Generation: from a prompt's ids to new ids, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from cai.config.base import Config
from cai.markup import ANSWER_END, EOS, Part

if TYPE_CHECKING:
    from cai.device import Device
    from cai.tokenizer.base import Tokenizer


class GenerationConfig(Config):
    """How the next token is chosen."""

    temperature: Annotated[float, Field(ge=0)]
    top_k: Annotated[int, Field(ge=0)]
    max_new_tokens: Annotated[int, Field(gt=0)]

    def build(self, model: nn.Module, tokenizer: Tokenizer, device: Device) -> Generator:
        return Generator(self, model, tokenizer, device)


class Generator:
    """Writes on from a prompt until the answer or the document ends."""

    def __init__(self, config: GenerationConfig, model: nn.Module, tokenizer: Tokenizer, device: Device) -> None:
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.device = device
        self.stop_ids = {tokenizer.eos_id, tokenizer.tag_ids[ANSWER_END]}

    def text(self, prompt: tuple[Part, ...], seed: int) -> str:
        """What follows ``prompt``. The training random state is left as it was."""
        return "".join(self.stream(prompt, seed))

    def stream(self, prompt: tuple[Part, ...], seed: int) -> Iterator[str]:
        """What follows ``prompt``, in pieces of whole characters. An empty prompt begins a new document."""
        ids = self.tokenizer.encode_parts(prompt or (EOS,))
        yield from self.tokenizer.stream(self.tokens(ids, seed))

    def tokens(self, ids: list[int], seed: int) -> Iterator[int]:
        """New ids after ``ids``, up to ``max_new_tokens``; the id that ends a text is not among them."""
        chooser = torch.Generator().manual_seed(seed)
        window = list(ids)
        for _ in range(self.config.max_new_tokens):
            chosen = self.choose(self._last_logits(window), chooser)
            if chosen in self.stop_ids:
                return
            window.append(chosen)
            yield chosen

    def choose(self, logits: Tensor, chooser: torch.Generator) -> int:
        """One id from the logits ``(V,)`` of the next token: the likeliest at temperature 0, else drawn from the top k."""
        if self.config.temperature == 0:
            return int(logits.argmax())
        if self.config.top_k:
            values, candidates = logits.topk(min(self.config.top_k, logits.numel()))  # (k,)
        else:
            values, candidates = logits, torch.arange(logits.numel())
        probabilities = torch.softmax((values - values.max()) / self.config.temperature, dim=-1)  # the max keeps it finite
        return int(candidates[torch.multinomial(probabilities, 1, generator=chooser)])

    @torch.inference_mode()
    def _last_logits(self, window: list[int]) -> Tensor:
        """Logits ``(V,)`` after the last ``block_size`` ids, on the CPU, where drawing is the same for every device."""
        block_size: int = self.model.block_size  # type: ignore[assignment]
        ids = torch.tensor([window[-block_size:]], device=self.device.torch_device)  # (1, T)
        was_training = self.model.training
        try:
            self.model.eval()
            with self.device.autocast():
                logits: Tensor = self.model(ids)[0, -1]  # (V,)
        finally:
            self.model.train(was_training)
        return logits.float().cpu()
