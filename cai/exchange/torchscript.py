"""``to=torchscript``: ``model.pt``, which libtorch runs in C++ and PyTorch in Python, without CAI.

PyTorch has deprecated TorchScript in favour of ``torch.export`` (``to=torch_export``); it still works in 2.13.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from cai.exchange.base import Reopened, Source
from cai.exchange.graph import model_of, plain_program, quiet
from cai.run import TOKENIZER
from cai.tokenizer.base import Tokenizer

PRECISIONS = ("float32", "float16", "bfloat16")
SCRIPT, README = "model.pt", "README.md"
NOTE = """# A program of TorchScript

`model.pt` takes `input_ids` (rows, tokens), int64, 1 to {block_size} tokens, and gives logits (rows, tokens, {vocab_size}).

    model = torch.jit.load("model.pt")        # in C++: torch::jit::load("model.pt")

PyTorch has deprecated TorchScript in favour of torch.export: for something new rather take `cai export to=torch_export`.
"""


def refuse(source: Source) -> None:
    """Every model can be tried; ``write`` tells of one that PyTorch cannot follow."""


def write(source: Source, folder: Path, precision: str) -> None:
    """The program: ``input_ids (B, T)`` → logits ``(B, T, V)``, for any number of rows and 1 to ``block_size`` tokens."""
    program = plain_program(model_of(source, precision), source.block_size).exported
    with _deprecated():
        scripted(program).save(folder / SCRIPT)
    sizes = {"vocab_size": source.trained.tokenizer.vocab_size, "block_size": source.block_size}
    (folder / README).write_text(NOTE.format(**sizes), encoding="utf-8")


def scripted(program: ExportedProgram) -> Any:
    """The operations of an exported program as TorchScript.

    Not by ``torch.jit.trace``, which would take the sizes of the example for those of every input, and cannot save the
    gradients that some of CAI's functions have.
    """
    module = program.module(check_guards=False)
    graph = module.graph
    (ids,) = graph.find_nodes(op="placeholder")
    for node in list(graph.nodes):
        if node.op == "output":
            node.args = (node.args[0][0],)  # the logits, not a tuple of them
        elif node.target is torch.ops.aten._assert_tensor_metadata.default:
            graph.erase_node(node)
        elif isinstance(node.target, torch._ops.OpOverload):
            node.target = node.target.overloadpacket  # TorchScript chooses among overloads by itself
            if "device" in node.kwargs:  # where the ids are, not where this program was made
                with graph.inserting_before(node):
                    device = graph.call_function(getattr, (ids, "device"))
                node.kwargs = {**node.kwargs, "device": device}
    graph.set_codegen(fx.graph.CodeGen())
    return torch.jit.script(fx.GraphModule(module, graph))


@contextmanager
def _deprecated() -> Iterator[None]:
    """Without PyTorch's advice, which the folder repeats, and its doubts about a module whose class it did not write."""
    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch.jit.\w+` is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", "The TorchScript type system doesn't support instance-level", UserWarning)
        yield


def reopen(folder: Path) -> Reopened:
    """By PyTorch."""
    return _Script(folder)


class _Script(Reopened):
    by = f"TorchScript of PyTorch {torch.__version__}"

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.load(folder / TOKENIZER)
        with _deprecated():
            self._module = torch.jit.load(folder / SCRIPT)  # type: ignore[no-untyped-call]

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        logits: Tensor = self._module(torch.tensor([list(ids)]))[0]
        return logits
