"""The options of a CAI ``modern`` model, for transformers 4.57 and 5."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import PretrainedConfig


class CaiModernConfig(PretrainedConfig):
    """Every option is in ``config.json``; the defaults are there because transformers asks for them."""

    model_type = "cai_modern"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values", "cache"]

    def __init__(
        self,
        *,
        vocab_size: int = 24000,
        max_position_embeddings: int = 960,
        num_hidden_layers: int = 4,
        num_attention_heads: int = 2,
        hidden_size: int = 128,
        activation: str = "relu2",
        qk_norm: bool = True,
        zero_init: bool = True,
        token_shift: int = 3,
        block_shift: int = 3,
        shift_init: float = 0.5,
        value_embeddings: bool = False,
        logit_softcap: float = 15.0,
        rope_base: float = 1.0e4,
        dropout: float = 0.0,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings  # tokens that the model sees at once
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.hidden_size = hidden_size
        self.activation = activation  # of the feed-forward: relu2 (squared ReLU) or gelu
        self.qk_norm = qk_norm  # queries and keys to unit size before they meet
        self.token_shift = token_shift  # how many tokens before it each embedding takes a share of
        self.block_shift = block_shift  # the same ahead of attention and of the feed-forward in every block
        self.value_embeddings = value_embeddings  # a table of its own for each block adds to the values
        self.logit_softcap = logit_softcap  # logits stay within this bound by a tanh; 0: no bound
        self.rope_base = rope_base
        self.dropout = dropout  # while training
        # How CAI began; not used by the modeling file.
        self.zero_init = zero_init
        self.shift_init = shift_init
        super().__init__(**kwargs)
        self.tie_word_embeddings = tie_word_embeddings  # last, as transformers 4 has a default for it
