"""Tokenizer files as other programs write them, learned from a little Korean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend

from tests.tokenizer.conftest import contact_texts

SPLIT = r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def gpt2() -> Backend:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    return learned(backend, "<|endoftext|>")


def llama3() -> Backend:
    backend = Backend(models.BPE(ignore_merges=True))
    backend.pre_tokenizer = _split_first()
    backend.decoder = decoders.ByteLevel()
    learned(backend, "<|begin_of_text|>", "<|end_of_text|>")
    start = processors.TemplateProcessing("<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)])
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), start])
    return backend


def qwen() -> Backend:
    backend = Backend(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = _split_first()
    backend.decoder = decoders.Sequence([decoders.ByteLevel()])
    learned(backend, "<|endoftext|>", "<|im_start|>")
    backend.add_tokens([AddedToken("<tool_call>", special=False, normalized=False), AddedToken("   가", special=False)])
    return backend


LAYOUTS: dict[str, Callable[[], Backend]] = {"gpt2": gpt2, "llama3": llama3, "qwen": qwen}


def learned(backend: Backend, *special: str, alphabet: bool = True) -> Backend:
    """The same backend, its merges learned."""
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()) if alphabet else [],
        show_progress=False,
    )
    backend.train_from_iterator(contact_texts(), trainer)
    return backend


def changed_file(path: Path, change: Callable[[dict[str, Any]], None], backend: Backend | None = None) -> Path:
    """A file of GPT-2's layout after a change of its page."""
    page = json.loads((backend or gpt2()).to_str())
    change(page)
    path.write_text(json.dumps(page), encoding="utf-8")
    return path


def _split_first() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
