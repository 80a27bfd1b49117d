"""``to=torchscript``: ``model.pt``, which libtorch runs in C++ and PyTorch in Python, without CAI.

PyTorch has deprecated TorchScript in favour of ``torch.export`` (``to=torch_export``); it still works in 2.13.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from cai.errors import ConfigError
from cai.exchange.base import Called, Reopened, Source, first_line
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
    """Every model can be tried; ``write`` tells of one that PyTorch cannot follow or say."""


def write(source: Source, folder: Path, precision: str) -> None:
    """The program: ``input_ids (B, T)`` → logits ``(B, T, V)``, for any number of rows and 1 to ``block_size`` tokens.

    Raises ``ConfigError`` for a model that cannot be said in it.
    """
    program = plain_program(model_of(source, precision), source.block_size).exported
    with _deprecated():
        scripted(program).save(folder / SCRIPT)
    sizes = {"vocab_size": source.trained.tokenizer.vocab_size, "block_size": source.block_size}
    (folder / README).write_text(NOTE.format(**sizes), encoding="utf-8")


def scripted(program: ExportedProgram) -> Any:
    """The operations of an exported program as TorchScript.

    Not by ``torch.jit.trace``, which would take the sizes of the example for those of every input, and cannot save the
    gradients that some of CAI's functions have. Raises ``ConfigError`` for an operation that it lacks.
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
    try:
        return torch.jit.script(fx.GraphModule(module, graph))
    except Exception as error:  # of many kinds: there is none of its own for an operation that TorchScript lacks
        raise ConfigError(
            f"`model` must be one of operations that TorchScript has, but is not: {first_line(error)}."
            " Try to=torch_export or to=safetensors."
        ) from error


@contextmanager
def _deprecated() -> Iterator[None]:
    """Without PyTorch's advice, which the folder repeats, and its doubts about a module whose class it did not write."""
    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch.jit.\w+` is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", "The TorchScript type system doesn't support instance-level", UserWarning)
        yield


def reopen(folder: Path, trusted: Collection[str] = ()) -> Reopened:
    """By PyTorch."""
    with _deprecated():
        module = torch.jit.load(folder / SCRIPT)  # type: ignore[no-untyped-call]
    return Called(f"TorchScript of PyTorch {torch.__version__}", Tokenizer.load(folder / TOKENIZER), module)
