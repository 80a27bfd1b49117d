"""``to=onnx``: both graphs in ONNX Runtime, as a program of somebody else's would use them."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cai.errors import ConfigError
from cai.exchange import base, onnx
from cai.exchange.base import Source
from cai.exchange.check import difference
from cai.exchange.onnx import CACHED, CONTENTS, PLAIN
from cai.export import export
from cai.run import TOKENIZER
from tests.exchange.making import make_source
from tests.exchange.test_torch_export import MODELS, TINY, Bigrams, own

CHOICES = {**MODELS, "modern": (*MODELS["modern"], "model.token_shift=2", "model.block_shift=1")}


class Session:
    """One graph, opened by nothing but its file and ``onnx.json``."""

    def __init__(self, folder: Path, name: str) -> None:
        self.contents: dict[str, Any] = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))[name]
        runtime = import_module("onnxruntime")
        self.session = runtime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])

    def empty(self, rows: int) -> dict[str, np.ndarray]:
        sizes = {"batch": rows, "past": 0}
        kept = self.contents["inputs"][1:]
        return {one["name"]: np.zeros([sizes.get(size, size) for size in one["shape"]], one["type"]) for one in kept}

    def __call__(self, ids: Tensor, past: Mapping[str, np.ndarray]) -> tuple[Tensor, dict[str, np.ndarray]]:
        logits, *_ = found = self.session.run(None, {"input_ids": ids.numpy(), **past})
        names = [one["name"].replace("present", "past") for one in self.contents["outputs"]]
        return torch.from_numpy(logits), dict(zip(names[1:], found[1:], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOICES)
def test_both_graphs_are_the_model(tmp_path: Path, name: str) -> None:
    """In one test, as to make them takes seconds."""
    source = make_source(tmp_path, *CHOICES[name])
    found = export(source, onnx, tmp_path, "float32")
    assert found.logits < 5e-5
    assert (found.same, found.written) == (400, 400)
    assert found.texts > 10
    assert found.by.startswith("onnxruntime 1.")
    takes_any_number_of_rows_and_tokens(source, Session(tmp_path, PLAIN))
    for lengths in ([40], [1] * 6, [5, 1, 1, 3, 30], [1, 2]):
        continues_where_it_ended(source, Session(tmp_path, CACHED), lengths)
    tells_its_inputs_and_outputs(Session(tmp_path, PLAIN))
    tells_its_inputs_and_outputs(Session(tmp_path, CACHED))
    keeps_what_each_layer_reaches_back_to(name, Session(tmp_path, CACHED))
    tells_no_path_of_this_machine(tmp_path)
    is_found_out_if_it_is_another(source, tmp_path)


@torch.no_grad()
def takes_any_number_of_rows_and_tokens(source: Source, graph: Session) -> None:
    for rows, length in [(1, 1), (3, 1), (1, 2), (2, 7), (1, source.block_size)]:
        ids = torch.randint(source.trained.tokenizer.vocab_size, (rows, length))
        torch.testing.assert_close(graph(ids, {})[0], source.trained.model(ids), atol=5e-5, rtol=0)


@torch.no_grad()
def continues_where_it_ended(source: Source, graph: Session, lengths: list[int]) -> None:
    for rows in (1, 3):
        ids = torch.randint(source.trained.tokenizer.vocab_size, (rows, sum(lengths)))
        past, parts = graph.empty(rows), []
        for part in ids.split(lengths, dim=1):
            logits, past = graph(part, past)
            parts.append(logits)
        torch.testing.assert_close(torch.cat(parts, dim=1), source.trained.model(ids), atol=5e-5, rtol=0)


def tells_its_inputs_and_outputs(graph: Session) -> None:
    for side, found in (("inputs", graph.session.get_inputs()), ("outputs", graph.session.get_outputs())):
        told = graph.contents[side]
        kinds = {"int64": "tensor(int64)", "float32": "tensor(float)"}
        expected = [(one["name"], [_sum(size) for size in one["shape"]], kinds[one["type"]]) for one in told]
        assert [(one.name, [_sum(size) for size in one.shape], one.type) for one in found] == expected


def _sum(size: int | str) -> Any:
    """The terms of a sum in any order."""
    return size if isinstance(size, int) else set(size.split(" + "))


def keeps_what_each_layer_reaches_back_to(name: str, graph: Session) -> None:
    shapes = {one["name"]: one["shape"] for one in graph.contents["inputs"]}
    heads = 2 if name.startswith(("llama", "qwen3")) else 4
    for layer in range(2 if name.startswith("gpt2") else 1):
        assert shapes.pop(f"past_key_{layer}") == shapes.pop(f"past_value_{layer}") == ["batch", heads, "past", 8]
    assert shapes.pop("input_ids") == ["batch", "length"]
    shifts = {f"past_shift_{place}": ["batch", reach, 32] for place, reach in enumerate((2, 1, 1))}
    assert shapes == (shifts if name == "modern" else {})


def tells_no_path_of_this_machine(folder: Path) -> None:
    for name in (PLAIN, CACHED):
        content = (folder / name).read_bytes()
        assert b"input_ids" in content
        assert str(Path(onnx.__file__).parents[1]).encode() not in content
    contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
    assert (contents["block_size"], contents["vocab_size"], contents["stop_ids"]) == (168, 400, [0, 7])


def is_found_out_if_it_is_another(source: Source, folder: Path) -> None:
    spoil(folder / CACHED)
    with pytest.raises(ValueError, match=r"model_cached\.onnx differs from model\.onnx: logits by \d"):
        difference(source, onnx.reopen(folder))
    spoil(folder / PLAIN)
    assert not difference(source, onnx.reopen(folder)).within("float32")


def spoil(path: Path, factor: float = 1.01) -> None:
    """Change the last matrix of a graph."""
    library = import_module("onnx")
    graph = library.load(path)
    matrix = [one for one in graph.graph.initializer if len(one.dims) == 2][-1]
    matrix.CopyFrom(library.numpy_helper.from_array(library.numpy_helper.to_array(matrix) * factor, matrix.name))
    library.save(graph, path)


@pytest.mark.slow
def test_weights_of_fewer_bits_and_nothing_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source = make_source(tmp_path, *TINY)
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", said.append)
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.addHandler(handler)
    found = export(source, onnx, tmp_path, "float16")
    logger.removeHandler(handler)
    assert 0 < found.logits < 0.1
    kinds = [one["type"] for one in Session(tmp_path, CACHED).contents["inputs"]]
    assert kinds == ["int64", "float16", "float16"]
    assert Session(tmp_path, CACHED).contents["outputs"][0]["type"] == "float32"
    assert (capfd.readouterr(), said) == (("", ""), [])
    assert logger.level == level
    spoil(tmp_path / CACHED, 3.0)
    with pytest.raises(ValueError, match=r"model_cached\.onnx differs from model\.onnx: logits by \d"):
        difference(source, onnx.reopen(tmp_path))


def test_a_model_without_a_cache(tmp_path: Path) -> None:
    source = own(make_source(tmp_path, *TINY), Bigrams)
    found = export(source, onnx, tmp_path, "float32")
    assert found.logits == 0
    assert found.same == found.written
    assert not (tmp_path / CACHED).exists()
    assert CACHED not in json.loads((tmp_path / CONTENTS).read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    source = make_source(tmp_path, *TINY)
    onnx.refuse(source)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf'to=onnx needs the package {package}, .* pip install "cai\[onnx\]"'):
        onnx.refuse(source)


class Bessel(Bigrams):
    """It has an operation that torch.export follows, and ONNX does not have."""

    def forward(self, ids: Tensor) -> Tensor:
        return torch.special.bessel_j0(super().forward(ids))


def test_an_operation_that_onnx_lacks_is_told_in_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = own(make_source(tmp_path, *TINY), Bessel)
    with pytest.raises(ConfigError, match=r"`model` must be one of operations that ONNX has, .*bessel_j0") as caught:
        onnx.write(source, tmp_path, "float32")
    said = str(caught.value)
    assert said.endswith(" Try to=safetensors or to=torch_export.")
    assert "\n" not in said
    assert "\x1b" not in said
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_the_runtime_is_told_to_report_nothing_before_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str | None] = []

    def watched(name: str) -> ModuleType:
        if name == "onnxruntime":
            found.append(os.environ.get("ORT_DISABLE_TELEMETRY"))
        return import_module(name)

    source = own(make_source(tmp_path, *TINY), Bigrams)
    (tmp_path / CONTENTS).write_text("{}")
    source.trained.tokenizer.save(tmp_path / TOKENIZER)
    for module in (base, onnx):
        monkeypatch.setattr(module, "import_module", watched)
    for imports in (lambda: onnx.refuse(source), lambda: onnx.reopen(tmp_path)):
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
        imports()
    assert found == ["1", "1"]
