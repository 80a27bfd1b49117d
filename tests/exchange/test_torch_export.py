"""``to=torch_export``: the same function for any number of rows and tokens, without CAI. And what cannot be followed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from cai.errors import ConfigError
from cai.exchange import torch_export
from cai.exchange.base import Source
from cai.exchange.check import difference
from cai.exchange.torch_export import PROGRAM
from cai.export import export
from tests.exchange.making import make_source

MODELS = {
    "gpt2 tied": ("model=gpt2", "model.tie_weights=true"),
    "gpt2 untied": ("model=gpt2", "model.tie_weights=false"),
    "llama tied": ("model=llama", "model.n_layer=1", "model.tie_weights=true"),
    "llama untied": ("model=llama", "model.n_layer=1", "model.tie_weights=false"),
    "qwen3 tied": ("model=qwen3", "model.n_layer=1", "model.tie_weights=true"),
    "qwen3 untied": ("model=qwen3", "model.n_layer=1", "model.tie_weights=false"),
    "modern": ("model=modern", "model.n_layer=1"),
}
"""Of 168 positions, where the longest prompt of the check and a hundred tokens more have room."""
TINY = ("model=gpt2", "model.n_layer=1", "model.block_size=16")

ALONE = """
import sys
sys.modules["cai"] = None  # cannot be imported
import torch
torch.set_num_threads(1)
print(torch.export.load(sys.argv[1]).module()(torch.tensor([[1, 2, 3]])).argmax(-1)[0].tolist())
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_same_model(tmp_path: Path, name: str) -> None:
    source = make_source(tmp_path, *MODELS[name])
    found = export(source, torch_export, tmp_path, "float32")
    assert found.logits < 5e-5
    assert (found.same, found.written) == (400, 400)
    assert found.texts > 10
    assert found.by.startswith("torch.export 2.")
    assert str(Path(torch_export.__file__).parents[1]).encode() not in (tmp_path / PROGRAM).read_bytes()
    program = torch.export.load(tmp_path / PROGRAM)
    takes_any_number_of_rows_and_tokens(source, program)
    holds_operations_of_pytorch_alone(program)
    is_found_out_if_it_is_another(source, program, tmp_path)


@torch.no_grad()
def takes_any_number_of_rows_and_tokens(source: Source, program: ExportedProgram) -> None:
    trained, module = source.trained, program.module()
    for rows, length in [(1, 1), (3, 1), (1, 2), (2, 7), (1, 168)]:
        ids = torch.randint(trained.tokenizer.vocab_size, (rows, length))
        torch.testing.assert_close(module(ids), trained.model(ids), atol=5e-5, rtol=0)
    with pytest.raises(AssertionError, match=r"input_ids\.size\(\)\[1\] <= 168"):
        module(torch.zeros(1, 169, dtype=torch.long))


def holds_operations_of_pytorch_alone(program: ExportedProgram) -> None:
    targets = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert len(targets) > 40
    own = [target for target in targets if not isinstance(target, torch._ops.OpOverload)]
    assert {getattr(target, "__module__", "") for target in own} <= {"_operator"}


def is_found_out_if_it_is_another(source: Source, program: ExportedProgram, folder: Path) -> None:
    name = next(name for name in program.state_dict if "mlp" in name and name.endswith("weight"))
    program.state_dict[name].data.mul_(1.01)
    torch.export.save(program, folder / PROGRAM)
    assert not difference(source, torch_export.reopen(folder)).within("float32")


@pytest.mark.slow
@torch.no_grad()
def test_it_runs_without_cai(tmp_path: Path) -> None:
    source = make_source(tmp_path, "model=modern", "model.n_layer=1")
    torch_export.write(source, tmp_path, "float32")
    words = [sys.executable, "-c", ALONE, str(tmp_path / PROGRAM)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == f"{source.trained.model(torch.tensor([[1, 2, 3]])).argmax(-1)[0].tolist()}\n"


class Bigrams(nn.Module):
    """A model that knows of no context."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.table(ids)
        return out


class Choosy(Bigrams):
    """It looks into its input, which nobody knows when a graph is made."""

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids if int(ids.sum()) % 2 else ids + 1)


def own(source: Source, kind: type[Bigrams]) -> Source:
    """``source`` with a model of somebody's own."""
    model = kind(source.trained.tokenizer.vocab_size)
    return replace(source, trained=replace(source.trained, model=model))


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    source = own(make_source(tmp_path, *TINY), Bigrams)
    found = export(source, torch_export, tmp_path, "float32")
    assert found.logits == 0
    assert found.same == found.written


def test_weights_of_fewer_bits(tmp_path: Path) -> None:
    source = own(make_source(tmp_path, *TINY), Bigrams)
    found = export(source, torch_export, tmp_path, "bfloat16")
    assert 0 < found.logits < 0.1
    program = torch.export.load(tmp_path / PROGRAM)
    assert {tensor.dtype for tensor in program.state_dict.values()} == {torch.bfloat16}
    assert program.module()(torch.tensor([[1, 2]])).dtype == torch.float32


def test_a_model_that_cannot_be_followed_is_told(tmp_path: Path) -> None:
    source = own(make_source(tmp_path, *TINY), Choosy)
    with pytest.raises(ConfigError, match=r"`model` must be one that torch\.export can follow .* Try to=safetensors\."):
        torch_export.write(source, tmp_path, "float32")
    assert not (tmp_path / PROGRAM).exists()
