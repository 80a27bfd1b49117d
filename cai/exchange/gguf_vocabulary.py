"""A tokenizer as a file of llama.cpp's says it: tokens, merges, and the name of how text is split before merging."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from cai.errors import ConfigError
from cai.markup import EOS, PAD
from cai.tokenizer.base import Tokenizer

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
"""``gguf.TokenType``."""

WORDS = "GPT-2"
"""Stands for GPT-2's own split, which is part of the ``ByteLevel`` step of the tokenizers library."""

DIGIT = r"\p{N}"
_CONTRACTED = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

SPLITS: dict[str, tuple[str, ...]] = {
    "gpt-2": (WORDS,),
    "smollm": (DIGIT, WORDS),
    "llama-bpe": (_CONTRACTED + r"|\p{N}{1,3}" + _REST,),
    "qwen2": (_CONTRACTED + r"|\p{N}" + _REST,),
}
"""``tokenizer.ggml.pre`` → what it splits by, one after the other. llama.cpp has several names for the second (starcoder,
refact, command-r, exaone); with this one it leaves blanks before punctuation alone when it detokenizes."""

WHOLE_WORDS = ("llama-bpe",)
"""Where a word that is a token is that token, whatever its merges would give."""

NEVER = f"{EOS} {PAD}"
"""A merge of what text never is cut into: llama.cpp reads no file without merges."""


@dataclass(frozen=True)
class Vocabulary:
    """The keys ``tokenizer.ggml.*``."""

    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str]


def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    """Raises ``ConfigError`` naming the option to change if llama.cpp would make other tokens of some text."""
    page = json.loads(tokenizer.backend.to_str())
    model = page["model"]
    if problem := next(_problems(page), None):
        raise ConfigError(
            "`tokenizer` must be byte-level BPE of the plain kind with to=gguf, all that llama.cpp can be told, but"
            f" {problem}. Train again with tokenizer=bpe, or export this run with to=huggingface."
        )
    added = {token["id"]: CONTROL if token["special"] else USER_DEFINED for token in page["added_tokens"]}
    merges = [" ".join(merge) for merge in model["merges"]]
    return Vocabulary(
        pre=_pre(tokenizer, page),
        tokens=[str(tokenizer.backend.id_to_token(number)) for number in range(tokenizer.vocab_size)],
        types=[added.get(number, NORMAL) for number in range(tokenizer.vocab_size)],
        merges=merges or [NEVER],
    )


def _problems(page: Mapping[str, Any]) -> Iterator[str]:
    """What llama.cpp has no word for, in words that follow a "but"."""
    model, decoder = page["model"], (page["decoder"] or {}).get("type")
    if model["type"] != "BPE" or decoder != "ByteLevel":
        yield f"this one is of the kind {model['type']} with the decoder {decoder}"
        return
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(name):
            yield f"this one has {name}={model[name]}"
    normalizer = page["normalizer"] or {"type": "NFC"}
    if any(each["type"] != "NFC" for each in normalizer.get("normalizers", [normalizer])):
        yield f"this one rewrites text (its normalizer is {normalizer['type']})"
    for token in page["added_tokens"]:
        if not token["special"] and (token["lstrip"] or token["rstrip"] or token["single_word"]):
            yield f"its added token {token['content']!r} takes blanks along, or stands for whole words alone"


def _pre(tokenizer: Tokenizer, page: Mapping[str, Any]) -> str:
    """The name of the split."""
    steps, whole = tuple(_steps(page["pre_tokenizer"])), bool(page["model"].get("ignore_merges"))
    if not whole and _within_characters(tokenizer, page["model"]):
        return "smollm"  # any will do, as each splits between characters
    for name, split in SPLITS.items():
        if steps == split and whole == (name in WHOLE_WORDS):
            return name
    if groups := re.fullmatch(r"\\p\{N\}\{1,(\d)\}", steps[0] if steps else ""):
        raise ConfigError(
            "`tokenizer.digits` must be 1 with to=gguf, as llama.cpp knows no split of digits into groups before GPT-2's"
            f" split into words, but is {groups[1]}. Train again with tokenizer.digits=1, or export this run with"
            " to=huggingface."
        )
    raise ConfigError(
        "`tokenizer` must split text in a way that llama.cpp has a name for with to=gguf (that of GPT-2, with or without"
        f" single digits, of Llama 3, or of Qwen2), but this one splits by {', then '.join(steps) or 'nothing'}"
        f"{', and takes words that are tokens as they are' * whole}."
        " Train again with tokenizer=bpe, or export this run with to=huggingface."
    )


def _steps(page: Mapping[str, Any] | None) -> Iterator[str]:
    """What a ``pre_tokenizer`` of ``tokenizer.json`` splits by."""
    for step in [] if page is None else page.get("pretokenizers", [page]):
        pattern = step.get("pattern", {}).get("Regex")
        if step["type"] == "ByteLevel" and not step["add_prefix_space"]:
            yield from [WORDS] * step["use_regex"]
        elif step["type"] == "Split" and pattern and step["behavior"] == "Isolated" and not step["invert"]:
            yield DIGIT if pattern == rf"{DIGIT}{{1,1}}" else pattern
        elif step["type"] == "Digits" and step["individual_digits"]:
            yield DIGIT
        else:
            yield f"the step {step['type']}"


def _within_characters(tokenizer: Tokenizer, model: Mapping[str, Any]) -> bool:
    """Whether all merges join bytes of one character: the second part then begins with a byte that begins none."""
    bytes_of = {token: tokenizer.token_bytes[number] for token, number in model["vocab"].items()}
    return all(bytes_of[second][0] & 0xC0 == 0x80 for _, second in model["merges"])


def tokenizer_of(vocabulary: Vocabulary) -> Backend:
    """The inverse, without the normalizer, which the file has no key for: text is to be NFC. Ordinary text alone: what
    spells a special token is no special token."""
    merges = [(first, second) for first, _, second in (one.partition(" ") for one in vocabulary.merges if one != NEVER)]
    numbers = {token: number for number, token in enumerate(vocabulary.tokens)}
    backend = Backend(models.BPE(numbers, merges, ignore_merges=vocabulary.pre in WHOLE_WORDS))
    split = SPLITS[vocabulary.pre]
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in split if pattern != WORDS),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=WORDS in split),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    for token, kind in zip(vocabulary.tokens, vocabulary.types, strict=True):
        if kind != NORMAL:
            backend.add_tokens([AddedToken(token, special=kind == CONTROL)])
    backend.encode_special_tokens = True
    return backend
