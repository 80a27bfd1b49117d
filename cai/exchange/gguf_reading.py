"""A ``model.gguf`` read back into a model of CAI's, from what it says alone: for machines without llama.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unicodedata import normalize

import torch
from torch import Tensor

from cai.exchange.base import Reopened
from cai.exchange.gguf import OPTIONS
from cai.exchange.gguf_vocabulary import Vocabulary, tokenizer_of
from cai.exchange.gguf_weights import ARCHITECTURES, ours
from cai.model.base import ModelConfig

UNSAID: dict[str, dict[str, Any]] = {"gpt2": {"bias": True}, "qwen3": {"previous_token_heads": 0}}
"""Options of an architecture that no key of the file says."""


class ReadBack(Reopened):
    """The model and the tokenizer of a file. Raises ``ValueError`` if it lacks a key or a weight."""

    def __init__(self, path: Path) -> None:
        gguf: Any = import_module("gguf")
        self.by = f"gguf {version('gguf')}, read back (no llama.cpp runtime installed)"
        reader = gguf.GGUFReader(path)
        self._fields = {name: field.contents() for name, field in reader.fields.items()}
        weights = {
            tensor.name: torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
            for tensor in reader.tensors
        }
        vocabulary = self._vocabulary()
        self._tokenizer = tokenizer_of(vocabulary)
        config = self._config(tied="output.weight" not in weights)
        self._model = config.build(vocab_size=len(vocabulary.tokens))
        self._model.load_state_dict(ours(weights, config, self._model.state_dict()))
        self._model.eval()

    def _key(self, name: str) -> Any:
        if name not in self._fields:
            raise ValueError(f"{name} is missing in it")
        return self._fields[name]

    def _vocabulary(self) -> Vocabulary:
        pre, tokens, types, merges = (
            self._key(f"tokenizer.ggml.{key}") for key in ("pre", "tokens", "token_type", "merges")
        )
        return Vocabulary(pre, tokens, types, merges)

    def _config(self, *, tied: bool) -> ModelConfig:
        architecture = self._key("general.architecture")
        kind = next(kind for kind, name in ARCHITECTURES.items() if name == architecture)
        options = {name: self._key(f"{architecture}.{key}") for key, name in OPTIONS[architecture].items()}
        options |= {"dropout": 0.0, "tie_weights": tied} | UNSAID.get(architecture, {})
        return kind.model_validate(options)

    def encode(self, text: str) -> list[int]:
        """llama.cpp does not bring text to NFC either, so that this is for the caller to do."""
        ids: list[int] = self._tokenizer.encode(normalize("NFC", text)).ids
        return ids

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        logits: Tensor = self._model(torch.tensor([list(ids)]))[0].float()
        return logits
