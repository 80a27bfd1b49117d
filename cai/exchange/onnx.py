"""``to=onnx``: two graphs for ONNX Runtime, in Python, JavaScript and wherever else it runs, and what a cache consists of.

``model.onnx``: ``input_ids (B, T)`` → ``logits (B, T, V)``. ``model_cached.onnx`` reads each token once: it takes, beside
the ids, the ``past_...`` of all tokens before them, which at the beginning is empty, and gives it back longer, as
``present_...``. All rows of a batch are of the same length. ``onnx.json`` lists both graphs' inputs and outputs.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cai.errors import ConfigError
from cai.exchange.base import Reopened, Source, first_line, needs_package
from cai.exchange.check import allowed
from cai.exchange.graph import BATCH, PAST, Kept, Program, cached_program, kept_by, model_of, plain_program, quiet
from cai.files import write_whole
from cai.markup import ANSWER_END
from cai.run import TOKENIZER
from cai.tokenizer.base import Tokenizer

PRECISIONS = ("float32", "float16")
PLAIN, CACHED, CONTENTS = "model.onnx", "model_cached.onnx", "onnx.json"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def refuse(source: Source) -> None:
    """Every model can be tried; ``write`` tells of one that PyTorch cannot follow."""
    _no_telemetry()
    for package in PACKAGES:
        needs_package(package, "onnx", "to=onnx")


def write(source: Source, folder: Path, precision: str) -> None:
    """Both graphs; that with a cache only for a model that can have one."""
    model = model_of(source, precision)
    tokenizer = source.trained.tokenizer
    contents: dict[str, Any] = {
        "block_size": source.block_size,
        "vocab_size": tokenizer.vocab_size,
        "stop_ids": [tokenizer.eos_id, tokenizer.tag_ids[ANSWER_END]],
    }
    contents[PLAIN] = _save(plain_program(model, source.block_size), [], folder / PLAIN)
    if kept := kept_by(model):
        contents[CACHED] = _save(cached_program(model, kept, source.block_size), kept, folder / CACHED)
    write_whole(folder / CONTENTS, json.dumps(contents, indent=1) + "\n")


def _save(program: Program, kept: Sequence[Kept], path: Path) -> dict[str, Any]:
    """Write a graph. Weights of more than 1.5 GiB stand beside it, in ``<name>.data``. Returns its inputs and outputs."""
    names = [name for name, _ in kept]
    with _silent():
        graph = _graph(program, names)
        for node in graph.model.graph:
            node.metadata_props.clear()  # where in PyTorch it came from: as large as the weights of a small model
        graph.save(path)
    return {side: [_told(value) for value in getattr(graph.model.graph, side)] for side in ("inputs", "outputs")}


def _graph(program: Program, names: Sequence[str]) -> Any:
    """Raises ``ConfigError`` for an operation that ONNX lacks."""
    try:
        return torch.onnx.export(
            program.exported,
            dynamo=True,
            verbose=False,
            dynamic_shapes=program.dims,
            input_names=["input_ids", *(f"past_{name}" for name in names)],
            output_names=["logits", *(f"present_{name}" for name in names)],
        )
    except torch.onnx.OnnxExporterError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # the last is the one that names the operation
            cause = cause.__cause__
        raise ConfigError(
            f"`model` must be one of operations that ONNX has, but is not: {first_line(cause)}."
            " Try to=safetensors or to=torch_export."
        ) from error


def _told(value: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else str(size.value) for size in value.shape]
    return {"name": value.name, "type": value.dtype.numpy().name, "shape": shape}


@contextmanager
def _silent() -> Iterator[None]:
    """Without warnings that nobody can do anything about: of the exporter's own code, and of another package's operators."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)  # "torchvision is not installed"
    try:
        with quiet(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "# The axis name: .* will not be used", UserWarning)
            yield
    finally:
        logger.setLevel(level)


def _no_telemetry() -> None:
    """Asked before it is imported: ONNX Runtime reports its use to its maker by default."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def reopen(folder: Path, trusted: Collection[str] = ()) -> Reopened:
    """By ONNX Runtime on the CPU."""
    return _Graphs(folder)


class _Graphs(Reopened):
    def __init__(self, folder: Path) -> None:
        _no_telemetry()
        runtime = import_module("onnxruntime")
        self.by = f"onnxruntime {runtime.__version__}"
        self._tokenizer = Tokenizer.load(folder / TOKENIZER)
        contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._graphs = {
            name: runtime.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"])
            for name in (PLAIN, CACHED)
            if name in contents
        }
        self._kept = contents[CACHED]["inputs"][1:] if CACHED in contents else []
        self._kind = self._kept[0]["type"] if self._kept else "float32"

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)

    def logits(self, ids: Sequence[int]) -> Tensor:
        """By the graph without a cache. Raises ``ValueError`` if the other, given the ids in two parts, says otherwise."""
        (found,) = self._graphs[PLAIN].run(None, {"input_ids": _row(ids)})
        logits = torch.from_numpy(found[0])
        if CACHED in self._graphs:
            cut, past, parts = len(ids) // 2, self._empty(), []
            for part in filter(None, (ids[:cut], ids[cut:])):
                of_part, past = self._read(part, past)
                parts.append(of_part)
            apart = float((torch.cat(parts) - logits).abs().max())
            if not apart <= allowed(self._kind, logits):
                raise ValueError(f"{CACHED} differs from {PLAIN}: logits by {apart:.1e}")
        return logits

    def greedy(self, ids: Sequence[int], count: int) -> list[int]:
        if CACHED not in self._graphs:
            return super().greedy(ids, count)
        written: list[int] = []
        past = self._empty()
        while len(written) < count:
            logits, past = self._read(written[-1:] or ids, past)
            written.append(int(logits[-1].argmax()))
        return written

    def _empty(self) -> dict[str, np.ndarray]:
        """The past before the first token of one row."""
        sizes = {BATCH: 1, PAST: 0}
        shapes = [[sizes.get(size, size) for size in kept["shape"]] for kept in self._kept]
        return {kept["name"]: np.zeros(shape, kept["type"]) for kept, shape in zip(self._kept, shapes, strict=True)}

    def _read(self, ids: Sequence[int], past: dict[str, np.ndarray]) -> tuple[Tensor, dict[str, np.ndarray]]:
        """Logits ``(T, V)``, and the past of the next call."""
        logits, *present = self._graphs[CACHED].run(None, {"input_ids": _row(ids), **past})
        return torch.from_numpy(logits[0]), dict(zip(past, present, strict=True))


def _row(ids: Sequence[int]) -> np.ndarray:
    return np.array([ids], dtype=np.int64)
