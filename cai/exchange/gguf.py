"""``to=gguf``: ``model.gguf``, one file for llama.cpp."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from cai.errors import ConfigError
from cai.exchange.base import Reopened, Source, needs_package
from cai.exchange.chat_template import CHAT_TEMPLATE
from cai.exchange.gguf_vocabulary import vocabulary_of
from cai.exchange.gguf_weights import ARCHITECTURES, theirs
from cai.markup import ANSWER_END, PAD
from cai.model.base import ModelConfig
from cai.tokenizer.base import Tokenizer
from cai.trainer.state import take_weights

PRECISIONS = ("float32", "float16", "q8_0")
MODEL = "model.gguf"
FILE_TYPES = {"float32": "ALL_F32", "float16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}
BLOCK = 32
"""Weights of a row that share a scale in ``q8_0``."""

SHAPE = {
    "context_length": "block_size",
    "embedding_length": "n_embd",
    "block_count": "n_layer",
    "attention.head_count": "n_head",
}
ROTARY = SHAPE | {
    "attention.head_count_kv": "n_kv_head",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "rope.dimension_count": "head_dim",
    "feed_forward_length": "intermediate_size",
    "rope.freq_base": "rope_base",
    "attention.layer_norm_rms_epsilon": "norm_eps",
}
OPTIONS = {"gpt2": SHAPE, "llama": ROTARY, "qwen3": ROTARY}
"""Key in the file, behind the architecture's name → CAI's option."""

EPSILON = 1e-5
"""Of the LayerNorms of CAI's GPT-2."""


def refuse(source: Source) -> None:
    """Raise ``ConfigError`` if llama.cpp has no such model, or cannot cut text into the same tokens."""
    model = source.trained.config.model
    if type(model) not in ARCHITECTURES:
        raise ConfigError(
            f"`model` must be one that llama.cpp has an architecture for ({', '.join(ARCHITECTURES.values())}) with to=gguf,"
            f" but the run's is of {type(model).__name__}. Train again with model=llama or model=qwen3, or export this run"
            " with to=huggingface or to=onnx."
        )
    vocabulary_of(source.trained.tokenizer)
    needs_package("gguf", "gguf", "to=gguf")


def write(source: Source, folder: Path, precision: str) -> None:
    """Matrices are of the given precision; what has one dimension, and GPT-2's positions, stay in fp32.

    With ``q8_0``, a matrix whose rows do not divide into its blocks of 32 is written as ``float16``.
    """
    gguf: Any = import_module("gguf")
    trained, config = source.trained, source.trained.config.model
    writer = gguf.GGUFWriter(folder / MODEL, ARCHITECTURES[type(config)])
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name("CAI")  # not the run's: a "phi3" in it is taken for Microsoft's, and the file not read
    writer.add_basename(trained.config.name)
    writer.add_description(f"Run {source.directory.name}, checkpoint {source.checkpoint}, step {trained.step}")
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[precision]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_options(writer, config)
    _add_tokenizer(writer, trained.tokenizer)
    for name, weight in theirs(take_weights(trained.model), config).items():
        kind = gguf.GGMLQuantizationType[_kind(name, weight, precision)]
        writer.add_tensor(name, gguf.quants.quantize(weight.float().contiguous().numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _kind(name: str, weight: Tensor, precision: str) -> str:
    """Positions are as llama.cpp's own converter has them."""
    if precision == "float32" or weight.dim() == 1 or name == "position_embd.weight":
        return "F32"
    return "Q8_0" if precision == "q8_0" and weight.shape[1] % BLOCK == 0 else "F16"


def _add_options(writer: Any, config: ModelConfig) -> None:
    architecture, options = ARCHITECTURES[type(config)], config.model_dump()
    values = {key: options[name] for key, name in OPTIONS[architecture].items()}
    if architecture == "gpt2":
        values |= {"feed_forward_length": 4 * options["n_embd"], "attention.layer_norm_epsilon": EPSILON}
    for key, value in values.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"{architecture}.{key}", value)


def _add_tokenizer(writer: Any, tokenizer: Tokenizer) -> None:
    vocabulary = vocabulary_of(tokenizer)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_vocab_size(tokenizer.vocab_size)
    writer.add_bos_token_id(tokenizer.eos_id)  # as GPT-2: a text begins where another ended
    writer.add_eos_token_id(tokenizer.eos_id)
    writer.add_eot_token_id(tokenizer.tag_ids[ANSWER_END])  # where an answer ends too
    writer.add_pad_token_id(tokenizer.tag_ids[PAD])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def reopen(folder: Path, trusted: Collection[str] = ()) -> Reopened:
    """By llama.cpp if xllamacpp carries it here; else by CAI, from what the file says alone."""
    from cai.exchange.gguf_reading import ReadBack
    from cai.exchange.gguf_runtime import LlamaCpp, has_llama_cpp

    return LlamaCpp(folder / MODEL) if has_llama_cpp() else ReadBack(folder / MODEL)
