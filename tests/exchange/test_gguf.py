"""A file for llama.cpp is the same model there; one that is not is caught, and what it cannot be told is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from cai.errors import RunError
from cai.exchange import gguf, gguf_runtime, gguf_weights
from cai.exchange.base import Source, format_of
from cai.exchange.check import QUESTIONS, TOLERANCE, Difference, difference, probes_of
from cai.exchange.gguf_reading import ReadBack
from cai.exchange.gguf_runtime import LlamaCpp
from cai.export import export
from cai.tokenizer.pretrained import PROBES
from tests.exchange.llama_cpp import SHORT, needs_llama_cpp, refusal
from tests.exchange.making import make_source

FAMILIES = ("llama", "qwen3", "gpt2")
MODELS = [(f"model={family}", f"model.tie_weights={tied}") for family in FAMILIES for tied in ("true", "false")]


def compared(source: Source, folder: Path, precision: str = "float32") -> Difference:
    gguf.refuse(source)
    gguf.write(source, folder, precision)
    return difference(source, gguf.reopen(folder))


def read(folder: Path) -> Any:
    return import_module("gguf").GGUFReader(folder / gguf.MODEL)


@needs_llama_cpp
@pytest.mark.parametrize("overrides", [*MODELS, ("model=gpt2", "model.bias=true")])
def test_llama_cpp_has_the_same_model(overrides: Sequence[str], tmp_path: Path) -> None:
    found = compared(make_source(tmp_path, *overrides), tmp_path)
    assert found.by.startswith("llama.cpp of xllamacpp ")
    assert found.texts == len(PROBES) + 2 * len(QUESTIONS)
    assert (found.same, found.written) == (400, 400)
    assert found.logits <= (TOLERANCE if "gpt2" not in overrides[0] else found.coarseness)
    assert found.within("float32")


@needs_llama_cpp
def test_of_gpt2_only_gelu_is_coarser_in_llama_cpp(tmp_path: Path) -> None:
    """Where GELU is straight (the identity above 10, 0 below -10) nothing is left of a hundred times the difference."""
    source = make_source(tmp_path, "model=gpt2", "model.bias=true")
    for name, parameter in source.trained.model.named_parameters():
        if name.endswith("c_fc.bias"):
            nn.init.constant_(parameter, 30.0)
            parameter.data[::2] *= -1
        elif name.endswith("mlp.c_proj.weight"):
            nn.init.normal_(parameter, std=0.01)
    gguf.write(source, tmp_path, "float32")
    llama_cpp = gguf.reopen(tmp_path)
    for probe in probes_of(source)[:2]:
        apart = float((llama_cpp.logits(probe.ids) - probe.logits.log_softmax(-1)).abs().max())
        assert apart <= TOLERANCE


@needs_llama_cpp
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("precision", "most"), [("float16", 0.05), ("q8_0", 1.0)])
def test_weights_of_fewer_bits_are_nearly_the_same_model(family: str, precision: str, most: float, tmp_path: Path) -> None:
    found = compared(make_source(tmp_path, f"model={family}", *SHORT), tmp_path, precision)
    assert found.texts > 0
    assert TOLERANCE < found.logits < most


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_and_positions_keep_all_their_bits(family: str, tmp_path: Path) -> None:
    source = make_source(tmp_path, f"model={family}", *SHORT)
    for precision, kind in (("float32", "F32"), ("float16", "F16"), ("q8_0", "Q8_0")):
        gguf.write(source, tmp_path, precision)
        kinds = {tensor.name: tensor.tensor_type.name for tensor in read(tmp_path).tensors}
        vectors = {name for name in kinds if "norm" in name or name.endswith("bias") or name.startswith("position")}
        assert len(vectors) >= 5
        assert {name for name, one in kinds.items() if one == "F32"} == (vectors if kind != "F32" else kinds.keys())
        assert set(kinds.values()) == {"F32", kind}


@needs_llama_cpp
def test_a_matrix_that_has_no_whole_blocks_is_of_float16(tmp_path: Path) -> None:
    source = make_source(tmp_path, "model=llama", "model.n_embd=40", *SHORT)
    found = compared(source, tmp_path, "q8_0")
    kinds = {tensor.name: (tensor.tensor_type.name, int(tensor.shape[0])) for tensor in read(tmp_path).tensors}
    assert kinds["blk.0.attn_q.weight"] == ("F16", 40)
    assert kinds["blk.0.ffn_down.weight"] == ("Q8_0", 64)
    assert found.logits < 1.0


@pytest.mark.parametrize("overrides", MODELS)
def test_without_llama_cpp_the_file_is_read_back(
    overrides: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_runtime, "has_llama_cpp", lambda: False)
    source = make_source(
        tmp_path, *overrides, "model.bias=false" if "gpt2" in overrides[0] else "model.rope_base=500", *SHORT
    )
    found = compared(source, tmp_path)
    assert found.by.endswith(", read back (no llama.cpp runtime installed)")
    assert found.texts == len(PROBES) + 2 * len(QUESTIONS)
    assert found.logits <= 1e-6  # fp32 rounds the options alone
    assert found.within("float32")
    assert type(gguf.reopen(tmp_path)) is ReadBack


def rows(turned: Callable[[str, Any], int]) -> Callable[[Source, pytest.MonkeyPatch], Source]:
    """A file whose rows are in another order."""

    def tampered(source: Source, monkeypatch: pytest.MonkeyPatch) -> Source:
        monkeypatch.setattr(gguf_weights, "_turned", turned)
        return source

    return tampered


def options(**changed: Any) -> Callable[[Source, pytest.MonkeyPatch], Source]:
    """A file with the same weights under another option."""

    def tampered(source: Source, _: pytest.MonkeyPatch) -> Source:
        config = source.trained.config.model_copy(update={"model": source.trained.config.model.model_copy(update=changed)})
        return replace(source, trained=replace(source.trained, config=config))

    return tampered


def by_queries(name: str, config: Any) -> int:
    """As many heads for the keys as for the queries."""
    return config.n_head if name.endswith(("attn_q.weight", "attn_k.weight")) else 0


TAMPERED = {
    "llama as it is": ("llama", rows(lambda name, config: 0)),
    "llama by queries": ("llama", rows(by_queries)),
    "qwen3 turned": ("qwen3", rows(by_queries)),
    "llama rope": ("llama", options(rope_base=500.0)),
    "qwen3 rope": ("qwen3", options(rope_base=500.0)),
    "qwen3 epsilon": ("qwen3", options(norm_eps=1e-2)),
    "gpt2 heads": ("gpt2", options(n_head=2)),
}


@needs_llama_cpp
@pytest.mark.parametrize("tampering", TAMPERED)
def test_a_file_of_another_model_is_caught(tampering: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family, tampered = TAMPERED[tampering]
    source = make_source(tmp_path, f"model={family}", *SHORT)
    gguf.write(tampered(source, monkeypatch), tmp_path, "float32")
    found = difference(source, gguf.reopen(tmp_path))
    assert found.logits > 20 * TOLERANCE
    assert not found.within("float32")


@needs_llama_cpp
def test_a_run_may_have_any_name(tmp_path: Path) -> None:
    """llama.cpp looks for tokens of Microsoft's if the file's name has "phi3" in it."""
    source = make_source(tmp_path, "name=phi3-modern-bert", *SHORT)
    gguf.write(source, tmp_path, "float32")
    assert LlamaCpp(tmp_path / gguf.MODEL).encode("a")


@needs_llama_cpp
def test_nothing_of_llama_cpp_is_left_running(tmp_path: Path) -> None:
    gguf.write(make_source(tmp_path, *SHORT), tmp_path, "float32")
    llama_cpp = LlamaCpp(tmp_path / gguf.MODEL)
    process, folder = llama_cpp.process, llama_cpp.socket.parent
    assert (process.poll(), folder.is_dir()) == (None, True)
    del llama_cpp
    assert (process.poll(), folder.exists()) == (0, False)
    crashed = LlamaCpp(tmp_path / gguf.MODEL)
    crashed.process.kill()
    crashed.process.wait()
    with pytest.raises(ValueError, match=r"llama.cpp does not answer"):
        crashed.encode("a")


@needs_llama_cpp
def test_a_damaged_file_is_told_with_its_cause(tmp_path: Path) -> None:
    source = make_source(tmp_path, *SHORT)
    gguf.write(source, tmp_path, "float32")
    path = tmp_path / gguf.MODEL
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"llama.cpp cannot load it \(.*not within the file bounds"):
        gguf.reopen(tmp_path)


@needs_llama_cpp
def test_an_export_that_is_another_model_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(tmp_path, *SHORT)
    assert export(source, format_of("gguf"), tmp_path, "float32").within("float32")
    source = rows(lambda name, config: 0)(source, monkeypatch)
    with pytest.raises(RunError, match=r"must be the same model, but is not: .*largest log-probability difference"):
        export(source, format_of("gguf"), tmp_path, "float32")


def test_a_model_that_llama_cpp_does_not_have_is_refused(tmp_path: Path) -> None:
    said = refusal(make_source(tmp_path, "model=modern", "model.n_head=2"))
    assert said.startswith(
        "`model` must be one that llama.cpp has an architecture for (gpt2, llama, qwen3) with to=gguf, but"
    )
    assert "ModernConfig" in said
    assert all(remedy in said for remedy in ("model=llama", "model=qwen3", "to=huggingface", "to=onnx"))


def test_the_package_that_writes_is_named_if_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert 'pip install "cai[gguf]"' in refusal(make_source(tmp_path))
