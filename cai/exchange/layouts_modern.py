"""CAI's own ``modern`` as a Hugging Face architecture whose code lies in the folder, run with ``trust_remote_code=True``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from cai.exchange.layouts import QUANTIZED, Layout, common_page, needed, positions, refuse, validated
from cai.model.base import ModelConfig
from cai.model.modern import ModernConfig
from cai.tokenizer.base import Tokenizer

CODE = Path(__file__).with_name("modern_hf")
STANDARD = {
    "block_size": "max_position_embeddings",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_embd": "hidden_size",
    "tie_weights": "tie_word_embeddings",
}
"""Options that transformers itself has a name for; the others keep theirs."""


class ModernLayout(Layout):
    """Every option is in ``config.json``, and the weights have CAI's own names."""

    architecture = "CaiModernForCausalLM"
    model_type = "cai_modern"
    config_class = ModernConfig

    def files(self) -> dict[str, str]:
        names = ("configuration_cai_modern.py", "modeling_cai_modern.py")
        return {name: (CODE / name).read_text(encoding="utf-8") for name in names}

    def page(self, config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
        assert isinstance(config, ModernConfig)
        code = {
            "AutoConfig": "configuration_cai_modern.CaiModernConfig",
            "AutoModelForCausalLM": f"modeling_cai_modern.{self.architecture}",
        }
        options = {STANDARD.get(name, name): value for name, value in config.model_dump().items()}
        return common_page(self, tokenizer, tied=config.tie_weights) | {"auto_map": code} | options

    def config(self, page: Mapping[str, Any], *, block_size: int | None, dropout: float) -> ModelConfig:
        refuse(list(QUANTIZED.problems(page)), self)
        page = {STANDARD["tie_weights"]: True} | dict(page)  # which transformers 4 leaves out where it is true
        values = {name: needed(page, STANDARD.get(name, name)) for name in ModernConfig.model_fields if name != "dropout"}
        values["block_size"] = positions(page, STANDARD["block_size"], block_size)
        return validated(ModernConfig, values | {"dropout": dropout})

    def theirs(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(weights)

    def ours(self, weights: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
        return dict(weights)


MODERN = ModernLayout()
