"""Small checkpoints in folders of Hugging Face's, as transformers writes them; and configs that begin with something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from cai.composition import compose
from cai.config.roots import TrainConfig
from cai.errors import ConfigError
from cai.exchange.initial import begin
from cai.tokenizer.byte import ByteConfig
from tests.conftest import TINY

FAMILIES = ("gpt2", "llama", "qwen3")
COMMON = {"bos_token_id": 0, "eos_token_id": 0}
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": 48, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "llama": {
        "max_position_embeddings": 48,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
SHAPES["qwen3"] = {**SHAPES["llama"], "head_dim": 8}
KINDS = {
    "gpt2": (transformers.GPT2Config, transformers.GPT2LMHeadModel),
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
}


def save_pretrained(folder: Path, family: str, *, vocab_size: int = 264, seed: int = 0, **options: Any) -> nn.Module:
    """Every weight is drawn, so that none can be mixed up unnoticed; CAI's tokenizer of bytes lies beside them."""
    kind, model_kind = KINDS[family]
    torch.manual_seed(seed)
    model: nn.Module = model_kind(kind(vocab_size=vocab_size, **{**COMMON, **SHAPES[family], **options})).eval()
    for name, parameter in model.named_parameters():
        is_gain = parameter.dim() == 1 and name.endswith("weight")
        nn.init.normal_(parameter, mean=float(is_gain), std=0.1)
    model.save_pretrained(folder)  # type: ignore[operator]
    ByteConfig().build([]).save(folder / "tokenizer.json")
    return model


WITHOUT_MODEL = (*(word for word in TINY if not word.startswith(("model.", "tokenizer"))), "trainer.samples=0")
"""A tiny run of whatever model it begins with."""
BLOCK = "model.block_size=40"
EIGHT_STEPS = (
    "trainer.max_steps=8",
    "trainer.save_every=4",
    "trainer.samples=0",
    "optimizer.lr=0.01",
    BLOCK,
)
TEN_STEPS = ("model.dropout=0.1", "trainer.max_steps=10", "trainer.save_every=4", "trainer.samples=1")
FINE = ("model=from_pretrained", "model.path=hf")


def composed(*words: str) -> TrainConfig:
    config: TrainConfig = compose([*WITHOUT_MODEL, *words])
    return config


def refused(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        composed(*words)
    (problem,) = caught.value.problems
    return problem


class Facts:
    """As much of a run as notes what it began with."""

    directory = Path("run")

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    def record(self, **facts: Any) -> None:
        self.facts |= facts


def begun(config: Any) -> tuple[Any, str]:
    """The model of a config as its training begins with it, and what is said of that."""
    tokenizer = config.tokenizer.build([])
    model = config.model.build(vocab_size=tokenizer.vocab_size)
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cai.exchange.initial.log.info", lambda text, *values: said.append(text % values))
        begin(model, config, Facts())  # type: ignore[arg-type]
    return model, "\n".join(said)
