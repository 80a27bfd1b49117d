"""llama.cpp cuts text into the tokens of CAI's own tokenizer; one that it cannot be told is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, pre_tokenizers
from tokenizers import Tokenizer as Backend

from cai.errors import ConfigError
from cai.exchange import gguf, gguf_vocabulary
from cai.exchange.base import Source
from cai.exchange.check import QUESTIONS, difference, same_tokens
from cai.exchange.gguf_reading import ReadBack
from cai.exchange.gguf_runtime import LlamaCpp
from cai.exchange.gguf_vocabulary import SPLITS, WHOLE_WORDS, WORDS, vocabulary_of
from cai.markup import ANSWER_END, TAGS, plain_text, prompt_parts
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.pretrained import read_tokenizer
from tests.exchange.llama_cpp import SHORT, needs_llama_cpp, refusal
from tests.exchange.making import make_source
from tests.tokenizer.layouts import gpt2


@needs_llama_cpp
def test_tokens_that_llama_cpp_makes_otherwise_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(tmp_path, *SHORT)
    monkeypatch.setattr(gguf_vocabulary, "SPLITS", {"gpt-2": SPLITS["smollm"]})
    source.trained.tokenizer.backend.model = together(source.trained.tokenizer)
    gguf.write(source, tmp_path, "float32")
    with pytest.raises(ValueError, match=r"the text '12345678 .* has the tokens"):
        difference(source, gguf.reopen(tmp_path))


def together(tokenizer: Tokenizer) -> Any:
    """Its merges, and one of two digits that a split into single ones never comes to."""
    page = json.loads(tokenizer.backend.to_str())
    model = page["model"]
    first, second = model["merges"][-1]
    del model["vocab"][first + second]
    model["vocab"]["12"] = tokenizer.vocab_size - 1
    model["merges"][-1] = ["1", "2"]
    return type(tokenizer.backend).from_str(json.dumps(page)).model


def split_by(tmp_path: Path, name: str) -> Tokenizer:
    """A tokenizer file as others write it, whose text is split in the way that llama.cpp calls ``name``."""
    steps: list[Any] = [pre_tokenizers.Split(Regex(one), "isolated") for one in SPLITS[name] if one != WORDS]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=WORDS in SPLITS[name]))
    backend = gpt2()
    backend.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    page = json.loads(backend.to_str())
    page["model"]["ignore_merges"] = name in WHOLE_WORDS
    return saved(tmp_path, page)


def saved(tmp_path: Path, page: dict[str, Any]) -> Tokenizer:
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(page), encoding="utf-8")
    return read_tokenizer(path)


def with_tokenizer(tmp_path: Path, tokenizer: Tokenizer) -> Source:
    source = make_source(tmp_path, *SHORT)
    model = source.trained.config.model.build(vocab_size=tokenizer.vocab_size).eval()
    return replace(source, trained=replace(source.trained, tokenizer=tokenizer, model=model))


@needs_llama_cpp
@pytest.mark.parametrize("name", ["bpe", "bpe_character", "byte"])
def test_the_tokenizers_of_cai_are_the_same_in_llama_cpp(name: str, tmp_path: Path) -> None:
    source = make_source(tmp_path, f"tokenizer={name}", *SHORT)
    gguf.refuse(source)
    gguf.write(source, tmp_path, "q8_0")
    assert vocabulary_of(source.trained.tokenizer).pre == "smollm"
    assert same_tokens(source.trained.tokenizer, gguf.reopen(tmp_path))
    assert same_tokens(source.trained.tokenizer, ReadBack(tmp_path / gguf.MODEL))


@needs_llama_cpp
@pytest.mark.parametrize("name", SPLITS)
def test_a_tokenizer_file_of_a_known_split_is_the_same_in_llama_cpp(name: str, tmp_path: Path) -> None:
    source = with_tokenizer(tmp_path, split_by(tmp_path, name))
    gguf.refuse(source)
    gguf.write(source, tmp_path, "q8_0")
    assert vocabulary_of(source.trained.tokenizer).pre == name
    assert same_tokens(source.trained.tokenizer, gguf.reopen(tmp_path))
    assert same_tokens(source.trained.tokenizer, ReadBack(tmp_path / gguf.MODEL))


@needs_llama_cpp
def test_llama_cpp_reads_ordinary_text_as_such_and_special_tokens_in_a_prompt(tmp_path: Path) -> None:
    source = make_source(tmp_path, *SHORT)
    tokenizer = source.trained.tokenizer
    gguf.write(source, tmp_path, "float32")
    llama_cpp = LlamaCpp(tmp_path / gguf.MODEL)
    for tag in tokenizer.tag_ids:
        assert llama_cpp.encode(f"a{tag} {tag}") == tokenizer.encode(f"a{tag} {tag}")
    (question, document), user = QUESTIONS[0], {"role": "user", "content": QUESTIONS[0][0]}
    for messages, parts in (
        ([user], prompt_parts(question)),
        ([user, {"role": "document", "content": document}], prompt_parts(question, document)),
    ):
        prompt = llama_cpp.ask("/apply-template", {"messages": messages})["prompt"]
        assert prompt == plain_text(parts)
        assert llama_cpp.ask("/tokenize", {"content": prompt, "add_special": True})["tokens"] == tokenizer.encode_parts(
            parts
        )


@needs_llama_cpp
@pytest.mark.parametrize("tag", ["<eos>", str(ANSWER_END)])
def test_llama_cpp_ends_where_an_answer_ends(tag: str, tmp_path: Path) -> None:
    source = make_source(tmp_path, *SHORT)
    gguf.write(source, tmp_path, "float32")
    llama_cpp = LlamaCpp(tmp_path / gguf.MODEL)
    forced = {"prompt": [9, 10], "n_predict": 4, "logit_bias": [[source.trained.tokenizer.tag_ids[tag], 1e6]]}
    assert llama_cpp.ask("/completion", forced)["stop_type"] == "eos"


@pytest.mark.parametrize("digits", [2, 3])
@pytest.mark.parametrize("tokenizer", ["bpe", "bpe_character"])
def test_digits_in_groups_are_refused(digits: int, tokenizer: str, tmp_path: Path) -> None:
    said = refusal(make_source(tmp_path, f"tokenizer={tokenizer}", f"tokenizer.digits={digits}"))
    assert said.startswith("`tokenizer.digits` must be 1 with to=gguf")
    assert f"but is {digits}. Train again with tokenizer.digits=1, or" in said


def test_a_tokenizer_that_llama_cpp_cannot_be_told_is_refused(tmp_path: Path) -> None:
    said = refusal(make_source(tmp_path, "tokenizer=char"))
    assert said.startswith("`tokenizer` must be byte-level BPE of the plain kind with to=gguf")
    assert "WordLevel" in said
    assert "tokenizer=bpe" in said
    for change, told in (
        ({"pre_tokenizer": None}, "splits by nothing"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "splits by the step Whitespace"),
        ({"normalizer": {"type": "NFKC"}}, "its normalizer is NFKC"),
        ({"model": {"end_of_word_suffix": "</w>"}}, "end_of_word_suffix=</w>"),
        ({"model": {"ignore_merges": True}}, "splits by GPT-2, and takes words that are tokens as they are"),
    ):
        page = json.loads(gpt2().to_str())
        page |= {key: page[key] | value if key == "model" else value for key, value in change.items()}
        with pytest.raises(ConfigError, match=re.escape(told)):
            vocabulary_of(adapted(page))


def adapted(page: dict[str, Any]) -> Tokenizer:
    """As ``read_tokenizer`` makes them, but without its promises."""
    backend = Backend.from_str(json.dumps(page))
    backend.add_special_tokens([AddedToken(tag, special=True) for tag in TAGS])
    return Tokenizer(backend)


def test_an_added_token_that_takes_blanks_along_is_refused(tmp_path: Path) -> None:
    backend = gpt2()
    backend.add_tokens([AddedToken("<x>", lstrip=True)])
    with pytest.raises(ConfigError, match="its added token '<x>' takes blanks along"):
        vocabulary_of(adapted(json.loads(backend.to_str())))


@needs_llama_cpp
def test_an_added_token_of_ordinary_text_is_one_in_llama_cpp(tmp_path: Path) -> None:
    backend = gpt2()
    backend.add_tokens([AddedToken("<x y>", special=False, normalized=False)])
    source = with_tokenizer(tmp_path, saved(tmp_path, json.loads(backend.to_str())))
    gguf.write(source, tmp_path, "q8_0")
    for reopened in (LlamaCpp(tmp_path / gguf.MODEL), ReadBack(tmp_path / gguf.MODEL)):
        assert reopened.encode("a<x y> b<x y>") == source.trained.tokenizer.encode("a<x y> b<x y>")
